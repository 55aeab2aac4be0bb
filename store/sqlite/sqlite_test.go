package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/storetest"
)

func open(t *testing.T, path string, change ...func(*Config)) *Store {
	t.Helper()
	cfg := Config{Path: path}
	for _, c := range change {
		c(&cfg)
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func file(t *testing.T) string { return filepath.Join(t.TempDir(), "recapito.db") }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, file(t)) })
	storetest.RunQuota(t, func(t *testing.T, q store.Quota) store.Store {
		return open(t, file(t), func(c *Config) { c.Quota = q })
	})
}

func TestConformanceWithSmallTail(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return open(t, file(t), func(c *Config) { c.tailSize = 2 })
	})
	storetest.RunQuota(t, func(t *testing.T, q store.Quota) store.Store {
		return open(t, file(t), func(c *Config) { c.tailSize, c.Quota = 2, q })
	})
}

func TestConformanceWithSecretKey(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	storetest.Run(t, func(t *testing.T) store.Store {
		return open(t, file(t), func(c *Config) { c.SecretKeys = [][]byte{key} })
	})
}

func TestWriterIsDurable(t *testing.T) {
	s := open(t, file(t))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "application_id": fmt.Sprint(applicationID)} {
		var got string
		if err := s.w.conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
	if _, err := s.w.conn.ExecContext(t.Context(), "PRAGMA synchronous = NORMAL"); err != nil {
		t.Fatal(err)
	}
	if err := s.w.assertDurable(t.Context()); err == nil {
		t.Error("synchronous=NORMAL passed for durable")
	}
}

var now = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

func withWebhook(t *testing.T, s *Store) {
	t.Helper()
	if _, _, err := s.PutAccount(t.Context(), "a", now); err != nil {
		t.Fatal(err)
	}
	w := store.Webhook{AccountID: "a", ID: "wh_1", CallbackURL: "https://a.example/?token=to be found", Status: store.Active, Secret: []byte("a secret that is to be found"), CreatedAt: now, UpdatedAt: now}
	if _, err := s.CreateWebhook(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}

func event(id string) store.Event {
	return store.Event{AccountID: "a", ID: id, MessageID: "m" + id, Channel: "SMS", Payload: []byte(`{"v":1}`)}
}

// A process that never lives long enough to enter a whole tail gets there all
// the same: else each start would read more than the one before.
func TestTailOfShortLives(t *testing.T) {
	const size, lives = 8, 60
	path := file(t)
	first := open(t, path)
	withWebhook(t, first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range lives {
		s := open(t, path, func(c *Config) { c.tailSize = size })
		if n := len(s.w.tail.entries); n > 2*size {
			t.Fatalf("life %d: the tail has %d entries, want %d at most", i, n, 2*size)
		}
		if _, err := s.Accept(t.Context(), []store.Event{event(fmt.Sprint(i))}, now); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, path)
	b, err := s.Backlog(t.Context(), store.BacklogQuery{AccountID: "a", Now: now, Fresh: 2 * lives})
	if err != nil || len(b.Fresh) != lives {
		t.Fatalf("%d are fresh (%v), want %d", len(b.Fresh), err, lives)
	}
	list, err := s.Deliveries(t.Context(), store.DeliveryQuery{AccountID: "a", Limit: 2 * lives})
	if err != nil || len(list.Deliveries) != lives {
		t.Errorf("%d are listed (%v), want %d", len(list.Deliveries), err, lives)
	}
}

func TestReopenedStoreGoesOn(t *testing.T) {
	path := file(t)
	s := open(t, path)
	withWebhook(t, s)
	if _, err := s.Accept(t.Context(), []store.Event{event("e1"), event("e2")}, now); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if _, err := s.Accept(t.Context(), []store.Event{event("e2"), event("e3")}, now); err != nil {
		t.Fatal(err)
	}
	b, err := s.Backlog(t.Context(), store.BacklogQuery{AccountID: "a", Now: now, Fresh: 10})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range b.Fresh {
		got = append(got, fmt.Sprint(d.EventID, d.Seq))
	}
	if want := "[e11 e22 e33]"; fmt.Sprint(got) != want {
		t.Errorf("events and their Seq: %v, want %s", got, want)
	}
}

func TestOneProcessServesAFile(t *testing.T) {
	path := file(t)
	s := open(t, path)
	withWebhook(t, s)
	if _, err := Open(t.Context(), Config{Path: path}); err == nil || !strings.Contains(err.Error(), "in use by another") {
		t.Errorf("second Open: %v, want that it is in use", err)
	}
	shared := open(t, path, func(c *Config) { c.Shared = true })
	if _, _, err := shared.PutAccount(t.Context(), "b", now); err != nil {
		t.Errorf("provisioning beside the server: %v", err)
	}
	if _, err := s.Account(t.Context(), "b"); err != nil {
		t.Errorf("what was provisioned beside the server: %v", err)
	}
}

func TestFilesThatAreNotOursAreLeftAlone(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
		want string
	}{
		{"text", func(t *testing.T, path string) { writeFile(t, path, strings.Repeat("not a database\n", 20)) }, "is not a SQLite database"},
		{"short", func(t *testing.T, path string) { writeFile(t, path, "x") }, "is not a SQLite database"},
		{"another program's", foreign, "is a SQLite database of another program"},
		{"a directory", func(t *testing.T, path string) { mkdir(t, path) }, "is a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := file(t)
			tt.make(t, path)
			before, _ := os.ReadFile(path)
			_, err := Open(t.Context(), Config{Path: path})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Open: %v, want one line saying that it %s", err, tt.want)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
	t.Run("newer schema", func(t *testing.T) {
		path := file(t)
		newer(t, path)
		if _, err := Open(t.Context(), Config{Path: path}); err == nil || !strings.Contains(err.Error(), "was written by a newer recapito") {
			t.Errorf("Open: %v, want that it was written by a newer recapito", err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		if _, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "no", "x.db")}); err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("Open: %v, want that the directory does not exist", err)
		}
	})
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func execute(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

// hold executes a statement and keeps the file open.
func hold(t *testing.T, path, statement string) (end func()) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err == nil {
		_, err = db.Exec(statement)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = db.Close() }
}

func foreign(t *testing.T, path string) {
	t.Helper()
	execute(t, path, `CREATE TABLE theirs (x)`)
}

func newer(t *testing.T, path string) {
	t.Helper()
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	execute(t, path, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`)
}

// wantNothingToBeFound of what withWebhook stores.
func wantNothingToBeFound(t *testing.T, path string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		content, _ := os.ReadFile(path + suffix)
		if bytes.Contains(content, []byte("to be found")) {
			t.Errorf("%s holds a secret in clear", path+suffix)
		}
	}
}

func TestSecretsAreNotInTheFileInClear(t *testing.T) {
	path := file(t)
	key := bytes.Repeat([]byte{1}, 32)
	s := open(t, path, func(c *Config) { c.SecretKeys = [][]byte{key} })
	withWebhook(t, s)
	if _, err := s.RotateSecret(t.Context(), "a", []byte("another that is to be found"), now.Add(time.Hour), now); err != nil {
		t.Fatal(err)
	}
	if err := s.AddAPIKey(t.Context(), store.APIKey{AccountID: "a", ID: "key_1", Hash: store.HashKey("the key that is to be found"), CreatedAt: now}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantNothingToBeFound(t, path)
	for name, wrong := range map[string][]byte{"none": nil, "another": bytes.Repeat([]byte{2}, 32)} {
		if _, err := Open(t.Context(), Config{Path: path, SecretKeys: [][]byte{wrong}}); !errors.Is(err, store.ErrSealed) {
			t.Errorf("secret key %s: %v, want ErrSealed", name, err)
		}
	}
}

func TestConcurrentWritesShareCommits(t *testing.T) {
	var commits atomic.Int64
	s := open(t, file(t), func(c *Config) { c.OnCommit = func(store.Commit) { commits.Add(1) } })
	withWebhook(t, s)
	commits.Store(0)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 10 {
				if _, err := s.Accept(context.Background(), []store.Event{event(fmt.Sprintf("%d-%d", i, j))}, now); err != nil {
					t.Errorf("Accept: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := commits.Load(); n > 320 {
		t.Errorf("%d commits for 640 concurrent calls, want them to share", n)
	}
}

// uncertain counts how many accounts the listener is told to read anew.
type uncertain struct {
	store.Listener
	n atomic.Int64
}

func (u *uncertain) Accepted([]store.Acceptance)           {}
func (u *uncertain) ReplayStarted()                        {}
func (u *uncertain) Replayed(*store.Webhook, []int64)      {}
func (u *uncertain) WebhookChanged(string, *store.Webhook) {}
func (u *uncertain) HealthChanged([]store.HealthChange)    {}
func (u *uncertain) Uncertain(accounts []string)           { u.n.Add(int64(len(accounts))) }

// handed collects what the listener is handed.
type handed struct {
	uncertain
	deliveries []*store.Delivery
}

func (h *handed) Accepted(batch []store.Acceptance) {
	for i := range batch {
		h.deliveries = append(h.deliveries, &batch[i].Delivery)
	}
}

func TestFullDatabaseIsAnErrorAndGoesOnWhenThereIsSpace(t *testing.T) {
	s := open(t, file(t))
	withWebhook(t, s)
	limit := func(pages int) {
		err := s.w.do(t.Context(), func(tx *txn) error {
			_, err := tx.w.conn.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // as many as there are
	var accepted []string
	var failed error
	for i := 0; failed == nil && i < 10_000; i++ {
		id := fmt.Sprint("e", i)
		if _, failed = s.Accept(t.Context(), []store.Event{event(id)}, now); failed == nil {
			accepted = append(accepted, id)
		}
	}
	if failed == nil || errors.Is(failed, store.ErrNotFound) {
		t.Fatalf("a full database: %v, want an error", failed)
	}
	limit(1 << 30)
	if _, err := s.Accept(t.Context(), []store.Event{event("late")}, now); err != nil {
		t.Errorf("after there was space: %v", err)
	}
	if got := s.Stats().Deliveries[store.Pending]; got != int64(len(accepted)+1) {
		t.Errorf("%d PENDING, want the %d accepted ones", got, len(accepted)+1)
	}
}

// A row that stays as it was is not written at all: then a disk that fails
// would be called ready.
func TestReadyReachesTheDisk(t *testing.T) {
	path := file(t)
	s := open(t, path)
	for i := range 3 {
		before := logSize(t, path)
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := logSize(t, path); after <= before {
			t.Errorf("call %d: the log has %d bytes and had %d, want it to have grown", i+1, after, before)
		}
	}
}

func logSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestFailedCommitIsUncertainAndTheWriterRecovers(t *testing.T) {
	s := open(t, file(t))
	withWebhook(t, s)
	u := &uncertain{}
	s.Listen(u)
	// The transaction is ended behind the writer's back, so that its COMMIT
	// fails, as it does when the disk does.
	for _, writes := range []bool{false, true} {
		err := s.w.do(t.Context(), func(tx *txn) error {
			if writes {
				tx.setWebhook("a", nil)
			}
			_, err := tx.w.conn.ExecContext(t.Context(), "ROLLBACK")
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "unknown") {
			t.Fatalf("a failed commit: %v, want that the outcome is unknown", err)
		}
	}
	if n := u.n.Load(); n != 1 {
		t.Errorf("%d accounts uncertain, want the one of which there was something to tell", n)
	}
	if _, err := s.Accept(t.Context(), []store.Event{event("e1")}, now); err != nil {
		t.Errorf("Accept afterwards: %v", err)
	}
}

// A caller that stops waiting must not share memory with the writer, which may
// do the work all the same (the race detector watches).
func TestCallerThatStopsWaitingSharesNothing(t *testing.T) {
	s := open(t, file(t))
	withWebhook(t, s)
	var wg sync.WaitGroup
	for i := range 200 {
		ctx, cancel := context.WithCancel(context.Background())
		wg.Go(func() {
			verdicts, err := s.Accept(ctx, []store.Event{event(fmt.Sprint("e", i))}, now)
			n, _ := s.MakeDue(ctx, "a", now, 10)
			if err == nil && len(verdicts) != 1 || n != 0 {
				t.Errorf("Accept: %v, MakeDue: %d; want one verdict and 0", verdicts, n)
			}
		})
		wg.Go(cancel)
	}
	wg.Wait()
}

// What SQLite counts as done of an incomplete checkpoint has not been synced.
func TestLogIsEmptiedCompletelyOnceReadersLetIt(t *testing.T) {
	const pages, bound = 16, logBound * 16
	s, err := Open(t.Context(), Config{Path: file(t), logPages: pages})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	withWebhook(t, s)
	grow := func(from string) (length, done int) {
		for i := range 25 {
			e := event(fmt.Sprint(from, i))
			e.Payload = append(append([]byte(`{"v":"`), bytes.Repeat([]byte("x"), 10_000)...), `"}`...)
			if _, err := s.Accept(t.Context(), []store.Event{e}, now); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Ready(t.Context()); err != nil { // begins after the log was looked at
			t.Fatal(err)
		}
		var busy int
		if err := s.history.QueryRow(`PRAGMA wal_checkpoint(NOOP)`).Scan(&busy, &length, &done); err != nil {
			t.Fatal(err)
		}
		return length, done
	}
	// read begins a read, which goes on until it is ended.
	read := func() (end func()) {
		begun, ending, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			err := s.snapshot(t.Context(), func(tx *readTxn) error {
				_, err := tx.number(s.reads.nextDue, "a", 0)
				close(begun)
				<-ending
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}()
		<-begun
		return func() {
			close(ending)
			<-ended
		}
	}

	length, before := grow("free")
	if length > 2*pages {
		t.Errorf("the log has %d pages without a reader, want at most %d", length, 2*pages)
	}
	end := read()
	if length, done := grow("held"); length < bound || done != before {
		t.Errorf("the log has %d pages beside a reader and %d of them are done; want more than %d, and %d", length, done, bound, before)
	}
	end()
	if length, _ := grow("released"); length > 2*pages {
		t.Errorf("the log has %d pages after the reader, want at most %d", length, 2*pages)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // one read begins before the other has ended
		defer close(stopped)
		for end := read(); ; {
			next := read()
			end()
			end = next
			select {
			case <-stop:
				end()
				return
			default:
			}
		}
	}()
	if length, _ := grow("overlapping"); length > bound+2*pages {
		t.Errorf("the log has %d pages with a reader all the time, want at most %d", length, bound+2*pages)
	}
	close(stop)
	<-stopped
}

func TestSharedOpenDoesNotMigrateUnderAServer(t *testing.T) {
	path := file(t)
	execute(t, path, `PRAGMA journal_mode = WAL`)
	conn := hold(t, path, `PRAGMA user_version = 1`) // which leaves a log
	defer conn()
	unlock, err := lockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := Open(t.Context(), Config{Path: path, Shared: true}); !errors.Is(err, errInUse) {
		t.Errorf("Open: %v, want that it is in use", err)
	}
}

func TestRewriteKeepsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	want := bytes.Repeat([]byte("0123456789"), 1<<18) // more than it writes at a time
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rewrite(path); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes and %v, want the same %d", len(got), err, len(want))
	}
}
