package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/recapito/recapito/store"
)

// A copy that is made while events are accepted holds what was accepted before
// it was begun, and is whole.
func TestBackupBesideAServerIsWhole(t *testing.T) {
	path := file(t)
	s := open(t, path, smallLog)
	withWebhook(t, s)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if _, err := s.Accept(t.Context(), []store.Event{event(fmt.Sprint("e", i))}, now); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for i := range 5 {
		least := s.Stats().Deliveries[store.Pending]
		to := filepath.Join(t.TempDir(), "backup.db")
		c, err := Backup(t.Context(), path, to)
		if err != nil {
			t.Fatalf("backup %d: %v", i, err)
		}
		if c.Pending < least || c.Pending != c.Deliveries {
			t.Errorf("backup %d holds %d deliveries, %d of them PENDING; want at least %d, all of them PENDING", i, c.Deliveries, c.Pending, least)
		}
		wantHeld(t, to, c.Pending)
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestDamagedStoreIsNotBackedUp(t *testing.T) {
	path := file(t)
	s := open(t, path)
	withWebhook(t, s)
	acceptMore(t, s, "e", 200)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	overwritePage(t, path, "deliveries_event")
	to := filepath.Join(t.TempDir(), "backup.db")
	if _, err := Backup(t.Context(), path, to); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Backup: %v, want that the store is damaged", err)
	}
	if _, _, err := Restore(t.Context(), path, to); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Restore: %v, want that the backup is damaged", err)
	}
	left, err := os.ReadDir(filepath.Dir(to))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v, want nothing", left, err)
	}
}

// overwritePage damages the root page of a table or index.
func overwritePage(t *testing.T, path, name string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	var page int64
	err = db.QueryRow(`SELECT rootpage FROM sqlite_schema WHERE name = ?`, name).Scan(&page)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte(strings.Repeat("\xa5", 100)), 4096*(page-1))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// What is not closed is restored over only with what it was, beside it.
func TestRestoreKeepsWhatWasThere(t *testing.T) {
	path := file(t)
	s := open(t, path)
	withWebhook(t, s)
	acceptMore(t, s, "before", 3)
	backup := filepath.Join(t.TempDir(), "backup.db")
	if _, err := Backup(t.Context(), path, backup); err != nil {
		t.Fatal(err)
	}
	acceptMore(t, s, "after", 3)
	if _, _, err := Restore(t.Context(), backup, path); !errors.Is(err, errInUse) {
		t.Errorf("Restore of a store that is served: %v, want %v", err, errInUse)
	}
	left := crashed(t, s)
	_, kept, err := Restore(t.Context(), backup, left)
	if err != nil {
		t.Fatal(err)
	}
	wantHeld(t, left, 3)
	wantHeld(t, kept, 6)
	for _, suffix := range []string{"-wal", "-shm", ".part"} {
		if _, err := os.Stat(left + suffix); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", suffix, err)
		}
	}
	// Without its log, the file can be had all the same.
	alone := file(t)
	copyFile(t, crashed(t, s), alone)
	c, kept, err := Restore(t.Context(), alone, file(t))
	if err != nil || !c.WithoutLog || kept != "" {
		t.Errorf("Restore of a file without its log: %+v, kept %q, %v; want that it was without", c, kept, err)
	}
}
