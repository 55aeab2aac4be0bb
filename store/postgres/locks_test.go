package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/postgres/pgtest"
)

// awaitNothingToWrite returns when the only node that takes shards has written all that its pulse
// asks for by itself.
func awaitNothingToWrite(t *testing.T, s *Store) {
	t.Helper()
	eventually(t, "the node to have its share", func() bool { return len(s.shards.in(owned)) == numShards })
	eventually(t, "the others to know that it takes shards", func() bool {
		var leaving bool
		if err := s.one(t.Context(), `SELECT leaving FROM nodes WHERE slot = $1`, []any{s.w.mySlot()}, &leaving); err != nil {
			t.Fatal(err)
		}
		return !leaving
	})
	known := int64(boot())
	eventually(t, "the node to have no more to write", func() bool { return s.pulse.toldAt.Load() > known })
}

// What is undone with its transaction has told others of the transaction nothing.
func TestNothingIsAnsweredOfWhatWasNotWritten(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url, func(c *Config) { c.patience = time.Nanosecond })
	ready(t, s, "a")
	ready(t, s, "b")
	lock(t, url, `SELECT FROM accounts WHERE id = 'b' FOR UPDATE`)
	awaitNothingToWrite(t, s)
	release := s.w.heldUp(t)
	removed := make(chan error, 1)
	go func() { removed <- s.DeleteWebhook(context.Background(), "a", t0) }()
	eventually(t, "the removal to be handed in", func() bool { return len(s.w.runs) == 1 })
	a := replacing(t, s, "a")
	eventually(t, "a change of the same webhook to be handed in", func() bool { return len(s.w.runs) == 2 })
	b := replacing(t, s, "b")
	eventually(t, "a change whose row is locked to be handed in", func() bool { return len(s.w.runs) == 3 })
	release()
	for name, done := range map[string]<-chan error{"the removal": removed, "the change of the same webhook": a, "that whose row is locked": b} {
		if err := <-done; !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: got %v, want that it cannot be written, as nothing was", name, err)
		}
	}
}

// Two nodes tell the platform of one account at the same time, so that both give one sequence.
func TestAChangeThatGivesASequenceOfAnotherNodeIsMadeAgain(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url)
	ready(t, s, store.Operations)
	ready(t, s, "a") // of which the platform is told
	conn, end := connect(t, url)
	defer end()
	for _, statement := range []string{`BEGIN`, `INSERT INTO deliveries (seq, accepted_at, account, sequence, part, src, shard, channel, event_id, message_id, payload)
		SELECT seq + 1, accepted_at, account, sequence + 1, part, src, shard, channel, 'other', message_id, payload FROM deliveries WHERE account = 0`} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	done := replacing(t, s, "a")
	waitsForLock(t, s)
	if _, err := conn.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("ReplaceCallbackURL: got %v, want that it is made again with the next sequence", err)
	}
}

func TestADeadlockOnAConnectionThatIsLostEndsNothing(t *testing.T) {
	s := open(t, pgtest.Database(t))
	err := s.w.do(t.Context(), func(tx *txn) error {
		return errors.Join(&pgconn.PgError{Code: deadlock}, tx.w.conn.Close(t.Context()))
	})
	if codeOf(err) != deadlock {
		t.Errorf("got %v, want the deadlock", err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// One whose lock is not given back would keep the others for as long as it is tried.
func TestWhatHasWaitedInVainLessOftenGoesFirst(t *testing.T) {
	run := func(*txn) error { return nil }
	ops := []*operation{{account: "a", run: run, locked: 2}, {account: "b", run: run, locked: 1}, {intake: &intake{}, locked: 1}, {intake: &intake{}}, {account: "c", run: run}}
	want := []*operation{ops[4], ops[3], ops[2], ops[1], ops[0]}
	if slices.SortStableFunc(ops, inTurn); !slices.Equal(ops, want) {
		t.Errorf("done in another order than what has not waited, an event, and then what has waited in vain, the less often the earlier")
	}
}

// storing is how another node stores the event e and a number of account a.
func storing(n int) string {
	return fmt.Sprintf(`INSERT INTO deliveries (seq, accepted_at, account, sequence, part, src, shard, channel, event_id, message_id, payload)
		SELECT %d, 1, no, 1, 0, 99, shard, 'SMS', 'e%[1]d', 'other%[1]d', '' FROM accounts WHERE id = 'a'`, n)
}

// Another node has stored the same events, and stopped in the middle of its commit.
func TestEventsThatWaitForLocksKeepTheLease(t *testing.T) {
	const n = 3
	url := pgtest.Database(t)
	var failed []bool // the writer's: commits that have waited for a lock in vain
	s := open(t, url, func(c *Config) {
		c.patience = time.Nanosecond
		c.OnCommit = func(done store.Commit) { failed = append(failed, codeOf(done.Err) == lockTimeout) }
	})
	ready(t, s, "a")
	for i := range n {
		lock(t, url, storing(i))
	}
	release := s.w.heldUp(t)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if err := acceptOne(s, fmt.Sprint("e", i)); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("Accept: got %v, want that it cannot be written, as the event is locked", err)
			}
		})
	}
	eventually(t, "the events to be handed in", func() bool { return len(s.w.queue) == n })
	release()
	all.Wait()
	var total int
	if err := s.w.do(t.Context(), func(*txn) error { // the writer's goroutine
		for i, is := range failed[:len(failed)-1] {
			if is {
				total++
			}
			if is && total > 1 && failed[i+1] {
				t.Errorf("two commits in a row have waited for a lock in vain, want that the lease is renewed in between: %t", failed)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if total < n {
		t.Errorf("%d commits have waited for a lock, want at least %d", total, n)
	}
}

// While the server is slow, one that looks often would fill the queue, and changes wait behind it.
func TestANodeCatchesUpOnceAtATime(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url, func(c *Config) { c.share = func(int) int { return numShards } })
	other := open(t, url, none)
	ready(t, s, "a")
	awaitNothingToWrite(t, s)
	s.w.heldUp(t)
	if err := acceptOne(other, "e1"); err != nil {
		t.Fatal(err)
	}
	looks, last := 0, int64(0)
	eventually(t, "the node to look at the other", func() bool {
		if at := s.pulse.toldAt.Load(); at != last {
			looks, last = looks+1, at
		}
		return looks > 30
	})
	if n := len(s.w.runs); n > 1 {
		t.Errorf("it is to catch up %d times, want once", n)
	}
}

// waitsForLock returns when a session waits for what another has locked.
func waitsForLock(t *testing.T, s *Store) {
	t.Helper()
	eventually(t, "a session to wait for a lock", func() bool {
		var waits bool
		if err := s.one(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)`, nil, &waits); err != nil {
			t.Fatal(err)
		}
		return waits
	})
}

func none(c *Config) { c.share = func(int) int { return 0 } }

func giveUpAtOnce(c *Config) { c.patience = time.Nanosecond }

// The lock may be that of a node that has stopped, which the pulse is to take for dead.
func TestThePulseDoesNotTryAgainWhatWaitsForALock(t *testing.T) {
	url := pgtest.Database(t)
	var vain inVain
	s := open(t, url, vain.count, none)
	unlock := lock(t, url, `SELECT FROM shards FOR UPDATE`)
	taken := make(chan error, 1)
	go func() { taken <- s.take(context.Background(), []int16{1}) }()
	eventually(t, "the taking to be answered", func() bool { return len(taken) > 0 || vain.Load() > 2 })
	if len(taken) == 0 {
		t.Error("the pulse still waits for a lock that was waited for in vain")
	}
	unlock()
	if err := <-taken; codeOf(err) != lockTimeout {
		t.Errorf("take: got %v, want that the rows are locked", err)
	}
}

// It is the node's, and no other node's: somebody must attempt for it.
func TestAShardWhoseTakingIsAnsweredTooLateIsTheNodes(t *testing.T) {
	url := pgtest.Database(t)
	s, l := open(t, url, none), &listener{}
	s.Listen(l)
	unlock := lock(t, url, `SELECT FROM shards FOR UPDATE`)
	ctx, cancel := context.WithCancel(t.Context())
	taken := make(chan error, 1)
	go func() { taken <- s.take(ctx, []int16{1}) }()
	waitsForLock(t, s)
	cancel()
	if err := <-taken; !errors.Is(err, context.Canceled) {
		t.Fatalf("take: got %v, want that nobody waits for it", err)
	}
	unlock()
	eventually(t, "the listener to be told of the shard", func() bool { _, _, _, gained := l.told(); return gained > 0 })
}

// with is a URL with another parameter.
func with(url, parameter string) string {
	if strings.Contains(url, "?") {
		return url + "&" + parameter
	}
	return url + "?" + parameter
}

// What is asked of the others may fail as well, and be refused for a lock.
func TestAChangeThatIsMadeIsNotMadeAgain(t *testing.T) {
	url := pgtest.Database(t)
	var made, runs atomic.Int64
	var unlock func()
	s := open(t, with(url, "lock_timeout=1"), func(c *Config) {
		c.OnCommit = func(store.Commit) {
			if made.CompareAndSwap(1, 2) {
				unlock = lock(t, url, `LOCK TABLE cluster IN ACCESS EXCLUSIVE MODE`)
			}
		}
		c.OnChange = func(time.Duration) { unlock() }
	})
	err := s.w.do(t.Context(), func(tx *txn) error {
		made.CompareAndSwap(0, 1)
		runs.Add(1)
		tx.note("a", webhookChanged, t0)
		return nil
	})
	if !errors.Is(err, store.ErrUnavailable) || runs.Load() != 1 {
		t.Errorf("got %v, done %d times; want that it is not known whether every node knows of it, done once", err, runs.Load())
	}
}

func TestAURLMaySayThatStatementsHaveNoNames(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, with(url, "statement_cache_capacity=0"))
	ready(t, s, "a")
}

// The server waits for the rest of the batch, and ends none of what it has begun.
func TestANodeThatStoppedInTheMiddleOfABatchKeepsNothingLocked(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url, none)
	other := open(t, url, none, giveUpAtOnce)
	ready(t, other, "a")
	var begins string
	if err := s.w.do(t.Context(), func(*txn) error { begins = s.w.bounds(); return nil }); err != nil {
		t.Fatal(err)
	}
	stops(t, url, `BEGIN`, begins, storing(1))
	if err := acceptOne(other, "e1"); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("Accept: got %v, want that it cannot be written, as the event is locked", err)
	}
	s.w.heldUp(t)
	acceptedAtLast(t, other, "e1")
	if n := other.evictions.Load(); n != 1 {
		t.Errorf("%d nodes were taken for dead, want the one that stopped", n)
	}
}

// A connection that is lost may be one that the server still has.
func TestANodeThatConnectsAnewEndsItsOldSession(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url, none, giveUpAtOnce)
	ready(t, s, "a")
	if err := s.w.do(t.Context(), func(*txn) error {
		stops(t, url, `BEGIN`, s.w.bounds(), storing(1))
		return s.w.conn.Close(t.Context())
	}); err == nil {
		t.Fatal("committed on a connection that is closed")
	}
	acceptedAtLast(t, s, "e1")
}

// acceptedAtLast accepts an event that is locked for a while. Each refusal waits for the lock.
func acceptedAtLast(t *testing.T, s *Store, id string) {
	t.Helper()
	var err error
	for range 20 {
		if err = acceptOne(s, id); err == nil {
			return
		}
	}
	t.Errorf("Accept: got %v 20 times, want that it is locked for a while only", err)
}

// stops executes statements on a connection of its own, as the first ones of a batch whose
// rest does not come.
func stops(t *testing.T, url string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.PgConn().Conn().Close() })
	batch := conn.PgConn().StartPipeline(t.Context())
	for _, s := range statements {
		batch.SendQueryParams(s, nil, nil, nil, nil)
	}
	batch.SendFlushRequest()
	if err := batch.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		result, err := batch.GetResults()
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if _, err := result.(*pgconn.ResultReader).Close(); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// The one that is silent may be the one that keeps them locked.
func TestANodeIsTakenForDeadWhileShardsAreLocked(t *testing.T) {
	url := pgtest.Database(t)
	silent := open(t, url, none)
	lock(t, url, `SELECT FROM shards FOR UPDATE`)
	var vain inVain
	s := open(t, url, vain.count, func(c *Config) { c.share = func(int) int { return numShards } })
	eventually(t, "the taking of shards to wait in vain", func() bool { return vain.Load() > 0 })
	silent.w.heldUp(t)
	eventually(t, "the silent node to be taken for dead", func() bool { return s.evictions.Load() > 0 || vain.Load() > 20 })
	if s.evictions.Load() == 0 {
		t.Error("it is not taken for dead as long as shards are locked")
	}
}
