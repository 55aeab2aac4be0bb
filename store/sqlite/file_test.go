package sqlite

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/recapito/recapito/store"
)

// What a migration was when it was first used is what databases are made of.
func TestMigrationsAreFrozen(t *testing.T) {
	want := map[string]string{
		"00001_init.sql":           "3fb75c77b8b6984e64fae19521c803900faf519588c411eeee4a4a1fb50c023a",
		"00002_old_secrets.sql":    "d276da8bc33c92edd06e999f5e4907806ca7d42f875cab213fc2315d3c261b64",
		"00003_attempt_detail.sql": "64bebd4aca551fbc7ff5714c4499a403e556d22b7b95b9f2e2fe847433785d4f",
		"00004_log.sql":            "c2bf8ffb2d1263e31afdffe4de50318446f35779dba79b230551abb9f2bc725a",
		"00006_checksums.sql":      "f791f9557f54ca7aa62c9197e1fd5b358df9f9c700c9ed26eecedd8c4ed901d5",
		"00007_erasing.sql":        "4df46433d2dc80b845398701cf714e56ec0fc213570608bdde2f4e036f931917",
		"00008_attempts.sql":       "b9d9d21ca2f18e427e9a272b1ea92315ed755421a25765793dda64872ac88f02",
		"00009_attempt_phases.sql": "08a3546c7958851aa1c20fbc1bc6d8c6b18f76b0fcc54068a9f3ee3446e0b3a4",
		"00010_feed.sql":           "768211a855a60b6f6ffdcf2f19d749b823b9119a5d7ed7c95ba54e5b5cc97ed8",
		"00011_replays.sql":        "cf4a6db09456a694ab45ad9a457182a02e6ee901de08bfc0c1e068278b5cab8c",
		"00012_bulk_replays.sql":   "23774d0c0f7b5a5c4f0ff8e9b15a3e1dacec54a3a961858211f7c48d7d3645e0",
		"00013_health.sql":         "8be5f647d9c705db3d3e2d2d99b4477fed4f9b52f5da45f4f0ba782534ae3be9",
		"00014_tallies.sql":        "5fe8cdc2060094fcac13ccfea0c3f2cbc19b454bbf8dfa06d87b6b95c7fd140e",
		"00015_notices.sql":        "eada1cb2c47832f84c711546029a26a9151f92b8c2911ff883b011297be4d2d9",
		"00016_pending_bytes.sql":  "1f5a84dcca872e6fdb76d9d75f340e26eee2dd7d711f6141ca519f7c87ab52f9",
		"00017_traceparent.sql":    "3c907180347fd8e7fa70b5e78e1e0f9fd486917b8dab31d0dbec21fa7e56337d",
		"00018_make_due.sql":       "744552c801e07f3c3faac157ee371e30fe1af0a03f9a2767546f1770502e13d8",
		"00019_key_expiry.sql":     "6c7b7c2cd86bf353253605e9868ba635c8ed9eb432030b4a1c2d9844467d54b5",
	}
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := migrations.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(text)); want[filepath.Base(name)] != got {
			t.Errorf("the SHA-256 of %s is %s, want %q: a migration is never changed; a new one is added here", name, got, want[filepath.Base(name)])
		}
		delete(want, filepath.Base(name))
	}
	for name := range want {
		t.Errorf("%s is gone: a migration is never removed", name)
	}
}

// acceptMore accepts n events.
func acceptMore(t *testing.T, s *Store, name string, n int) {
	t.Helper()
	for i := range n {
		if _, err := s.Accept(t.Context(), []store.Event{event(fmt.Sprint(name, i))}, now); err != nil {
			t.Fatal(err)
		}
	}
}

// crashed copies what a crash at this moment leaves of an open store, while the
// writer does nothing else.
func crashed(t *testing.T, s *Store) (copied string) {
	t.Helper()
	copied = file(t)
	if err := s.w.do(t.Context(), func(*txn) error {
		return errors.Join(overwrite(copied, s.path), overwrite(copied+"-wal", s.path+"-wal"))
	}); err != nil {
		t.Fatal(err)
	}
	return copied
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := overwrite(to, from); err != nil {
		t.Fatal(err)
	}
}

func wantRefused(t *testing.T, path, want string) {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: path})
	if err == nil {
		_ = s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open: %v, want one line with %q", err, want)
	}
}

func wantHeld(t *testing.T, path string, want int64) {
	t.Helper()
	s := open(t, path)
	if got := s.Stats().Deliveries[store.Pending]; got != want {
		t.Errorf("%d deliveries are held, want %d", got, want)
	}
	if err := checkTables(s); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// smallLog makes a checkpoint every few commits.
func smallLog(c *Config) { c.logPages = 16 }

func TestCrashedFileWithItsLogIsWhole(t *testing.T) {
	path := file(t)
	s := open(t, path, smallLog)
	withWebhook(t, s)
	for i := range 40 {
		acceptMore(t, s, fmt.Sprint(i, "-"), 3)
		wantHeld(t, crashed(t, s), int64(3*(i+1)))
	}
}

func TestMissingLogAfterACrashIsRefused(t *testing.T) {
	path := file(t)
	s := open(t, path)
	withWebhook(t, s) // nothing but the start has put anything into the file
	acceptMore(t, s, "e", 3)
	for name, take := range map[string]func(log string) error{
		"removed": os.Remove,
		"emptied": func(log string) error { return os.Truncate(log, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			left := crashed(t, s)
			if err := take(left + "-wal"); err != nil {
				t.Fatal(err)
			}
			wantRefused(t, left, "its log (the file with -wal behind its name) is missing")
		})
	}
	t.Run("put into the file by another program", func(t *testing.T) {
		left := crashed(t, s)
		execute(t, left, `PRAGMA wal_checkpoint(TRUNCATE)`)
		if _, err := os.Stat(left + "-wal"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the log is still there: %v", err)
		}
		wantHeld(t, left, 3)
	})
	t.Run("the database is removed", func(t *testing.T) {
		left := crashed(t, s)
		if err := os.Remove(left); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, left, "is missing, but its log")
	})
}

// A restore as people do it: the backup is copied over the file, beside whose
// log it then lies.
func TestBackupBesideTheOldLogIsRefused(t *testing.T) {
	path := file(t)
	s := open(t, path, smallLog)
	withWebhook(t, s)
	acceptMore(t, s, "before", 3)
	vacuumed := filepath.Join(t.TempDir(), "backup.db")
	execute(t, path, fmt.Sprintf(`VACUUM INTO '%s'`, vacuumed))
	await(t, "the commit after the checkpoint", func() bool { return !s.w.totals.Load().logNeeded })
	pages := crashed(t, s)
	execute(t, pages, `PRAGMA wal_checkpoint(TRUNCATE)`) // what .backup and Litestream make of it: the same pages
	at := s.w.logRun(t)
	for i := 0; s.w.logRun(t) == at; i++ { // the log is begun anew
		acceptMore(t, s, fmt.Sprint("after", i), 1)
	}
	old := crashed(t, s)
	for name, backup := range map[string]string{"VACUUM INTO": vacuumed, ".backup": pages} {
		t.Run(name, func(t *testing.T) {
			restored := file(t)
			copyFile(t, backup, restored)
			wantHeld(t, restored, 3)
			copyFile(t, backup, restored)
			copyFile(t, old+"-wal", restored+"-wal")
			wantRefused(t, restored, "of another database file")
		})
	}
	t.Run("a newer backup beside an older log", func(t *testing.T) {
		older := crashed(t, s)
		for i := 0; s.w.logRun(t) == at; i++ {
			acceptMore(t, s, fmt.Sprint("later", i), 1)
		}
		acceptMore(t, s, "last", 1)
		await(t, "the commit after the checkpoint", func() bool { return !s.w.totals.Load().logNeeded })
		newer := crashed(t, s)
		execute(t, newer, `PRAGMA wal_checkpoint(TRUNCATE)`)
		copyFile(t, older+"-wal", newer+"-wal")
		wantRefused(t, newer, "of another database file")
	})
}

// logRun is what the log's header says of when it was begun anew last.
func (w *writer) logRun(t *testing.T) string {
	t.Helper()
	log, err := os.ReadFile(w.store.path + "-wal")
	if err != nil || len(log) < logHeader {
		t.Fatalf("the log has %d bytes: %v", len(log), err)
	}
	return string(log[16:24])
}

func TestDatabaseOfAnotherFormIsRefused(t *testing.T) {
	for name, change := range map[string]string{
		"an index is missing":  `DROP INDEX outcomes_ended`,
		"a table is missing":   `DROP TABLE settings`,
		"a column has another": `ALTER TABLE accounts RENAME COLUMN created_at TO made_at`,
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t)
			if err := open(t, path).Close(); err != nil {
				t.Fatal(err)
			}
			execute(t, path, change)
			wantRefused(t, path, "has another form")
		})
	}
	t.Run("tables of a program that replicates it are let be", func(t *testing.T) {
		path := file(t)
		if err := open(t, path).Close(); err != nil {
			t.Fatal(err)
		}
		execute(t, path, `CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)`)
		wantHeld(t, path, 0)
	})
}

func TestBrokenSchemaPageIsRefused(t *testing.T) {
	path := file(t)
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := content[100:4096]
	if page[0] == 5 { // the schema is on other pages
		page = content[4096*(binary.BigEndian.Uint32(page[8:])-1):][:4096]
	}
	for i := range page {
		page[i] = 0xa5
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, path, "is damaged: restore a backup")
}

// What is served by one name is served by no other, whatever is removed.
func TestSecondServerIsRefusedByWhateverName(t *testing.T) {
	path := file(t)
	s := open(t, path)
	withWebhook(t, s)
	dir := filepath.Dir(path)
	symbolic, hard := filepath.Join(dir, "symbolic.db"), filepath.Join(dir, "hard.db")
	if err := errors.Join(os.Symlink(path, symbolic), os.Link(path, hard)); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(path + ".lock")
	for _, other := range []string{path, symbolic, hard} {
		wantRefused(t, other, "is in use by another recapito process")
	}
	if _, err := Open(t.Context(), Config{Path: hard, Shared: true}); err == nil || !strings.Contains(err.Error(), "by another name") {
		t.Errorf("provisioning by a hard link: %v, want that the file is in use by another name", err)
	}
	if _, _, err := open(t, symbolic, func(c *Config) { c.Shared = true }).PutAccount(t.Context(), "b", now); err != nil {
		t.Errorf("provisioning by a symbolic link: %v", err)
	}
	left := crashed(t, s)
	if err := os.Link(left, left+"2"); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, left+"2", "is missing") // the log has the other name
}

func TestFilesTakenAwayUnderTheServer(t *testing.T) {
	elsewhere := func(t *testing.T, path string) string { return filepath.Join(t.TempDir(), filepath.Base(path)) }
	for _, tt := range []struct {
		name string
		take func(t *testing.T, path string) error
		back func(path string) error // nil: it cannot be undone
		want error
	}{
		{"removed", func(_ *testing.T, path string) error { return os.Remove(path) }, nil, errMoved},
		{"renamed", func(_ *testing.T, path string) error { return os.Rename(path, path+"2") }, func(path string) error { return os.Rename(path+"2", path) }, errMoved},
		{"replaced", func(t *testing.T, path string) error {
			other := elsewhere(t, path)
			return errors.Join(open(t, other).Close(), os.Rename(other, path))
		}, nil, errMoved},
		{"overwritten with a backup", func(t *testing.T, path string) error {
			backup := elsewhere(t, path)
			execute(t, path, fmt.Sprintf(`VACUUM INTO '%s'`, backup))
			return overwrite(path, backup)
		}, nil, errOverwritten},
		{"emptied", func(_ *testing.T, path string) error { return os.Truncate(path, 0) }, nil, errOverwritten},
		{"log removed", func(_ *testing.T, path string) error { return os.Remove(path + "-wal") }, nil, errLogMoved},
		{"log renamed", func(_ *testing.T, path string) error { return os.Rename(path+"-wal", path+"-old") }, func(path string) error { return os.Rename(path+"-old", path+"-wal") }, errLogMoved},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, log := file(t), &logLines{}
			s := open(t, path, func(c *Config) { c.Logger = log.logger() })
			withWebhook(t, s)
			if err := tt.take(t, path); err != nil {
				t.Fatal(err)
			}
			await(t, "a line in the log", func() bool { return log.count("ERROR") > 0 })
			if _, err := s.Accept(t.Context(), []store.Event{event("e1")}, now); !errors.Is(err, tt.want) {
				t.Errorf("Accept: %v, want %v", err, tt.want)
			}
			if err := s.Ready(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("Ready: %v, want %v", err, tt.want)
			}
			if n := log.count("ERROR"); n != 1 {
				t.Errorf("%d lines tell it, want 1: %s", n, log)
			}
			if tt.back == nil {
				return
			}
			if err := tt.back(path); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Accept(t.Context(), []store.Event{event("e1")}, now); err != nil {
				t.Errorf("Accept when it is back: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			wantHeld(t, path, 1)
		})
	}
}

// What the log held when it was removed goes into the file when the server ends.
func TestRemovedLogIsPutIntoTheFileAtTheEnd(t *testing.T) {
	path := file(t)
	s := open(t, path)
	withWebhook(t, s)
	acceptMore(t, s, "e", 3)
	if err := os.Remove(path + "-wal"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accept(t.Context(), []store.Event{event("late")}, now); !errors.Is(err, errLogMoved) {
		t.Errorf("Accept: %v, want %v", err, errLogMoved)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, path, 3)
}

func overwrite(path, with string) error {
	content, err := os.ReadFile(with)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

func TestNothingIsMadeWhereAStoreMustExist(t *testing.T) {
	path := file(t)
	if _, err := Open(t.Context(), Config{Path: path, MustExist: true}); !errors.Is(err, errNotMade) {
		t.Errorf("Open: %v, want %v", err, errNotMade)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file was made: %v", err)
	}
}
