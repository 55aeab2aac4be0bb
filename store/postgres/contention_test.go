package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/postgres/pgtest"
)

// Others may see at the same time that a node was silent. One of them takes it for dead.
func TestANodeIsTakenForDeadOnce(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url)
	execute(t, url, `INSERT INTO nodes (slot, epoch, alive, beat, pos, applied, pending, delivered, failed, cancelled, host, since)
		SELECT 7, 1, true, beat, pos, applied, 0, 0, 0, 0, host, since FROM nodes`) // nothing renews its lease
	conn, end := connect(t, url)
	defer end()
	silent := node{slot: 7, epoch: 1}
	if err := conn.QueryRow(t.Context(), `SELECT beat FROM nodes WHERE slot = 7`).Scan(&silent.beat); err != nil {
		t.Fatal(err)
	}
	p := &pulse{store: s, conn: conn}
	wrote := silent // since it was looked at
	wrote.beat--
	if err := p.evict(t.Context(), &wrote); err != nil || s.Nodes().Evicted != 0 {
		t.Errorf("a node that has written: taken for dead %d times (%v), want that it is not", s.Nodes().Evicted, err)
	}
	if err := errors.Join(p.evict(t.Context(), &silent), p.evict(t.Context(), &silent)); err != nil {
		t.Fatal(err)
	}
	if n := s.Nodes().Evicted; n != 1 {
		t.Errorf("it counts as taken for dead %d times, want once", n)
	}
}

// Another node does what evict does, while this one has an attempt under way.
// A node stops, another takes its accounts, and it goes on: what it has attempted before
// is the other's now, though it is recorded only after the node is a node again.
func TestANodeRecordsNothingOfAccountsThatAnotherHasTaken(t *testing.T) {
	url := pgtest.Database(t)
	var stopped atomic.Bool
	s := open(t, url, func(c *Config) {
		c.share = func(int) int {
			if stopped.Load() {
				return 0
			}
			return numShards
		}
	})
	other := open(t, url, none)
	ready(t, s, "a")
	d := pendingOne(t, s, "e1")
	stopped.Store(true)
	execute(t, url, `BEGIN`, fmt.Sprintf(`UPDATE nodes SET alive = false WHERE slot = %d`, s.w.mySlot()), fmt.Sprintf(`UPDATE shards SET slot = %d`, other.w.mySlot()), `COMMIT`)
	if err := acceptOne(s, "e2"); err != nil { // as a node that has nothing
		t.Fatal(err)
	}
	outcome := store.Outcome{Delivery: &d, State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: t0, StatusCode: 204}}
	if err := s.Record(t.Context(), []store.Outcome{outcome}, t0); err != nil {
		t.Errorf("Record: %v", err)
	}
	if now, attempts, err := s.Delivery(t.Context(), "a", "e1"); err != nil || now.State != store.Pending || len(attempts) > 0 {
		t.Errorf("e1 is %s, with %d attempts (%v); want PENDING, without any", now.State, len(attempts), err)
	}
}

// Two nodes change one webhook at the same time: no change is lost.
func TestChangesOfAWebhookAtTwoNodesAreMadeOneAfterTheOther(t *testing.T) {
	url := pgtest.Database(t)
	nodes := []*Store{open(t, url), open(t, url)}
	if _, _, err := nodes[0].PutAccount(t.Context(), "a", t0); err != nil {
		t.Fatal(err)
	}
	const each = 20
	var made atomic.Int64
	var all sync.WaitGroup
	for i, s := range nodes {
		all.Go(func() {
			w := store.Webhook{AccountID: "a", ID: store.NewID("wh_"), CallbackURL: "https://a.example/", Status: store.Active, Secret: store.NewSecret(), Version: 1, CreatedAt: t0, UpdatedAt: t0}
			switch _, err := s.CreateWebhook(t.Context(), w); {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, store.ErrConflict):
				t.Errorf("CreateWebhook: %v", err)
			}
			for n := 0; n < each; {
				switch _, err := s.ReplaceCallbackURL(t.Context(), "a", fmt.Sprint("https://a.example/", i, n), t0); {
				case err == nil:
					n++
				case codeOf(err) != lockTimeout: // a slow machine
					t.Errorf("ReplaceCallbackURL: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	w, err := nodes[0].Webhook(t.Context(), "a")
	if err != nil || made.Load() != 1 || w.Version != 1+2*each {
		t.Errorf("made %d times, and changed to version %d (%v); want once, and version %d", made.Load(), w.Version, err, 1+2*each)
	}
}

func TestInsertsThatAreMadeAgainAreCounted(t *testing.T) {
	s := open(t, pgtest.Database(t))
	ready(t, s, "a")
	for i, want := range []uint64{0, 0, 1, 2} {
		if err := acceptOne(s, []string{"e1", "e2", "e1", "e2"}[i]); err != nil {
			t.Fatal(err)
		}
		if n := s.Nodes().SlowInserts; n != want {
			t.Errorf("after %d of e1, e2, e1, e2: %d, want %d", i+1, n, want)
		}
	}
}

// lock has another session execute something, and keep what it locks until it is to give it
// back, or the test ends.
func lock(t *testing.T, url, statement string) (unlock func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	unlock = sync.OnceFunc(func() { _ = conn.Close(context.Background()) })
	t.Cleanup(unlock)
	for _, each := range []string{`BEGIN`, statement} {
		if _, err := conn.Exec(t.Context(), each); err != nil {
			t.Fatal(err)
		}
	}
	return unlock
}

// The platform is told of every change of a webhook. If that locked its row, changes of all
// accounts would wait for each other.
func TestChangesOfDifferentAccountsWaitForNoRow(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url)
	ready(t, s, "a")
	ready(t, s, store.Operations)
	lock(t, url, `SELECT FROM accounts WHERE id <> 'a' FOR NO KEY UPDATE`)
	if _, err := s.ReplaceCallbackURL(t.Context(), "a", "https://b.example/", t0); err != nil {
		t.Errorf("ReplaceCallbackURL, while others are changed: %v", err)
	}
	if n := s.Stats().Deliveries[store.Pending]; n != 1 {
		t.Errorf("the platform is told of %d changes, want 1", n)
	}
}

// A row that another process keeps locked delays one change, and not the node.
func TestALockThatIsNotGivenBackFailsOneChange(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url, func(c *Config) { c.patience = time.Nanosecond })
	ready(t, s, "a")
	lock(t, url, `SELECT FROM accounts WHERE id = 'a' FOR UPDATE`)
	if _, err := s.ReplaceCallbackURL(t.Context(), "a", "https://b.example/", t0); !errors.Is(err, store.ErrUnavailable) || codeOf(err) != lockTimeout {
		t.Errorf("ReplaceCallbackURL: got %v, want that it cannot be written, as the row is locked", err)
	}
	if err := acceptOne(s, "e1"); err != nil {
		t.Errorf("Accept: %v", err)
	}
}

// inVain counts how often a store has waited for a lock in vain. It does so for ever.
type inVain struct{ atomic.Int64 }

func (v *inVain) count(c *Config) {
	c.patience = time.Hour
	c.OnCommit = func(done store.Commit) {
		if codeOf(done.Err) == lockTimeout {
			v.Add(1)
		}
	}
}

// replacing changes the URL of an account's webhook meanwhile.
func replacing(t *testing.T, s *Store, account string) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := s.ReplaceCallbackURL(context.WithoutCancel(t.Context()), account, "https://b.example/", t0)
		done <- err
	}()
	return done
}

// Nothing was written by what has waited for a lock in vain.
func TestAChangeIsMadeOnceALockIsGivenBack(t *testing.T) {
	for name, statement := range map[string]string{
		"of an account": `SELECT FROM accounts WHERE id = 'a' FOR UPDATE`,
		"of cluster":    `UPDATE cluster SET changes = changes`,
	} {
		t.Run(name, func(t *testing.T) {
			url := pgtest.Database(t)
			var vain inVain
			s := open(t, url, vain.count)
			ready(t, s, "a")
			unlock := lock(t, url, statement)
			done := replacing(t, s, "a")
			eventually(t, "the change to wait for the lock in vain, twice", func() bool { return vain.Load() > 1 || len(done) > 0 })
			if err := acceptOne(s, "e1"); err != nil {
				t.Errorf("Accept meanwhile: %v", err)
			}
			unlock()
			if err := <-done; err != nil {
				t.Errorf("ReplaceCallbackURL: got %v, want that it is tried again", err)
			}
			if w, err := s.Webhook(t.Context(), "a"); err != nil || w.Version != 2 {
				t.Errorf("the webhook has version %d (%v), want 2: changed once", w.Version, err)
			}
		})
	}
}

// heldUp has the writer do something until it is released. What is handed in meanwhile is
// gathered together.
func (w *writer) heldUp(t *testing.T) (release func()) {
	t.Helper()
	holds, held := make(chan struct{}), make(chan struct{})
	go func() { _ = w.do(context.Background(), func(*txn) error { close(holds); <-held; return nil }) }()
	<-holds
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	return release
}

// Both are of one group. The one that waits for the lock is tried apart from then on.
func TestAChangeWhoseRowIsLockedKeepsNoOthers(t *testing.T) {
	url := pgtest.Database(t)
	var vain inVain
	s := open(t, url, vain.count)
	ready(t, s, "a")
	ready(t, s, "b")
	unlock := lock(t, url, `SELECT FROM accounts WHERE id = 'a' FOR UPDATE`)
	release := s.w.heldUp(t)
	a, b := replacing(t, s, "a"), replacing(t, s, "b")
	eventually(t, "both to be handed in", func() bool { return len(s.w.runs) >= 2 })
	release()
	eventually(t, "the change of the other account", func() bool { return len(b) > 0 || vain.Load() > 20 })
	if len(b) == 0 {
		t.Error("the change of the other account is not made as long as this one's row is locked")
	}
	unlock()
	if err := <-b; err != nil {
		t.Errorf("of the account whose row was not locked: %v", err)
	}
	if err := <-a; err != nil {
		t.Errorf("of the account whose row was locked: %v", err)
	}
}

// Under an overload there are more events than one commit takes.
func TestAChangeOvertakesEvents(t *testing.T) {
	var order []string // the writer's
	s := open(t, pgtest.Database(t), func(c *Config) {
		c.OnCommit = func(done store.Commit) {
			if done.Events > 0 {
				order = append(order, "events")
			}
		}
	})
	ready(t, s, "a")
	release := s.w.heldUp(t)
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() {
			in := &intake{events: []store.Event{event("a", fmt.Sprint("e", i))}, at: micros(t0), verdicts: make([]store.Verdict, 1)}
			if err := s.w.submit(&operation{ctx: t.Context(), rows: maxRows, intake: in}); err != nil {
				t.Errorf("events: %v", err)
			}
		})
	}
	eventually(t, "the events to be handed in", func() bool { return len(s.w.queue) == 2 })
	all.Go(func() {
		if err := s.w.do(t.Context(), func(*txn) error { order = append(order, "change"); return nil }); err != nil {
			t.Errorf("the change: %v", err)
		}
	})
	eventually(t, "the change to be handed in", func() bool { return len(s.w.runs) > 0 })
	release()
	all.Wait()
	if diff := cmp.Diff([]string{"change", "events", "events"}, order); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
}

// The server may still be at work for a connection that is lost. What such a commit
// accepted would be before a position that other nodes have passed, and told to nobody.
func TestACommitOfALostConnectionFailsWhenTheNodeHasAnother(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url)
	ready(t, s, "a")
	old, end := connect(t, url)
	defer end()
	for _, statement := range []string{`BEGIN`, `SELECT nextval('blocks')`} {
		if _, err := old.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	var epoch int64
	if err := s.w.do(t.Context(), func(tx *txn) error { epoch = tx.w.lease.epoch; return tx.w.conn.Close(t.Context()) }); err == nil {
		t.Fatal("a commit without a connection: got no error")
	}
	if err := acceptOne(s, "e1"); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Exec(t.Context(), fenceAccepted, s.w.mySlot(), epoch, 0, 0, 0, 0, 0, 0); codeOf(err) != divisionByZero {
		t.Errorf("the old commit: got %v, want that its fence fails", err)
	}
}

// It is a node with the next epoch then, and does not know.
func TestANodeGoesOnIfTheAnswerToItsReturnIsLost(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url)
	ready(t, s, "a")
	if err := s.w.do(t.Context(), func(tx *txn) error {
		before := s.w.lease.epoch
		conn, err := s.connect(tx.ctx, &unwaited{})
		if err != nil {
			return err
		}
		if err := tx.w.conn.Close(tx.ctx); err != nil {
			return err
		}
		if err := s.w.again(tx.ctx, conn); err != nil {
			t.Errorf("again: %v", err)
		}
		s.w.lease.epoch = before
		return conn.Close(tx.ctx)
	}); err == nil {
		t.Fatal("a commit without a connection: got no error")
	}
	if err := acceptOne(s, "e1"); err != nil {
		t.Fatal(err)
	}
	if n := s.fences.Load(); n != 0 {
		t.Errorf("the node has begun anew %d times, want that it goes on", n)
	}
}

// Whoever did not look for a while does not know whether the others were silent, or the
// database was.
func TestANodeThatDidNotLookTakesNobodyForDead(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url)
	s.w.lease.ttl.Store(int64(time.Hour)) // its own pulse takes nobody for dead meanwhile
	execute(t, url, `INSERT INTO nodes (slot, epoch, alive, beat, pos, applied, pending, delivered, failed, cancelled, host, since)
		SELECT 7, 1, true, 1, pos, applied, 0, 0, 0, 0, host, since FROM nodes`)
	conn, end := connect(t, url)
	defer end()
	silent := map[int16]silence{7: {epoch: 1, beat: 1, since: boot() - 2*time.Hour}}
	p := &pulse{store: s, conn: conn, nodes: []node{{slot: 7, epoch: 1, beat: 1, alive: true}}, silent: silent, last: boot() - 2*maxBlind}
	if err := p.evictSilent(t.Context()); err != nil || s.Nodes().Evicted != 0 {
		t.Errorf("by a node that did not look: taken for dead %d times (%v), want never", s.Nodes().Evicted, err)
	}
	p.silent, p.last = silent, boot()+time.Hour // it looked all the time, however slow the machine
	if err := p.evictSilent(t.Context()); err != nil || s.Nodes().Evicted != 1 {
		t.Errorf("by a node that looked all the time: taken for dead %d times (%v), want once", s.Nodes().Evicted, err)
	}
}

// unsettled is a listener that still has attempts under way.
type unsettled struct {
	*listener
	settled chan struct{}
}

func (l unsettled) Lost(func(string) bool) (<-chan struct{}, func() []string) {
	return l.settled, func() []string { return nil }
}

func TestAShardIsFreeWhenWhatIsUnderWayInItHasEnded(t *testing.T) {
	var leaves atomic.Bool
	s := open(t, pgtest.Database(t), func(c *Config) {
		c.holdAfter = time.Hour
		c.share = func(int) int {
			if leaves.Load() {
				return 0
			}
			return numShards
		}
	})
	l := unsettled{&listener{}, make(chan struct{})}
	s.Listen(l)
	free := func() (n int) {
		if err := s.one(t.Context(), `SELECT count(*) FROM shards WHERE slot IS NULL`, nil, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	leaves.Store(true)
	eventually(t, "shards to be given back", func() bool { return len(s.shards.in(leaving)) == giveAtOnce })
	for range 20 {
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := free(); n > 0 {
			t.Fatalf("%d shards are free while something is under way in them, want none", n)
		}
	}
	close(l.settled)
	eventually(t, "all shards to be free", func() bool { return free() == numShards })
}
