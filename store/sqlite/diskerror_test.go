package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/sqlite/crashvfs"
)

// diskError is a way in which a disk fails.
type diskError struct {
	name  string
	fails func(op crashvfs.Op, name string) bool
	code  crashvfs.Code
	every int  // one in so many fails
	quiet bool // nobody is refused anything
}

func inLog(name string) bool { return strings.HasSuffix(name, "-wal") }

var diskErrors = []diskError{
	{"every sync", func(op crashvfs.Op, _ string) bool { return op == crashvfs.Sync }, crashvfs.IOError, 1, false},
	{"every write", func(op crashvfs.Op, _ string) bool { return op == crashvfs.Write }, crashvfs.IOError, 1, false},
	{"no space", func(op crashvfs.Op, _ string) bool { return op == crashvfs.Write }, crashvfs.Full, 1, false},
	{"some syncs", func(op crashvfs.Op, _ string) bool { return op == crashvfs.Sync }, crashvfs.IOError, 3, false},
	{"some operations", func(crashvfs.Op, string) bool { return true }, crashvfs.IOError, 50, false},
	{"the log empties badly", func(op crashvfs.Op, name string) bool { return !inLog(name) || op == crashvfs.Truncate }, crashvfs.IOError, 1, true},
	{"the log empties badly at times", func(op crashvfs.Op, name string) bool { return !inLog(name) || op == crashvfs.Truncate }, crashvfs.IOError, 7, true},
}

// outage watches a store whose disk fails.
type outage struct {
	uncertain
	faults, refused, acknowledged atomic.Int64
	over                          atomic.Bool
}

// endure lives on, repeating what was not acknowledged, until it is over.
func (o *outage) endure(t *tenant, s *Store) error {
	for !o.over.Load() {
		st := t.step()
		if t.doubt != nil {
			st = t.doubt
		}
		err := t.try(s, st)
		switch {
		case err == nil:
			o.acknowledged.Add(1)
		case errors.As(err, new(wrong)):
			return err
		default:
			o.refused.Add(1)
		}
	}
	return nil
}

// linger reads for a while again and again, so that commits and checkpoints are
// made beside it.
func (o *outage) linger(s *Store, rng *rand.Rand) {
	for !o.over.Load() {
		_ = s.snapshot(context.Background(), func(tx *readTxn) error {
			_, err := tx.number(s.reads.nextDue, "a", 0)
			for end := time.Now().Add(time.Duration(rng.IntN(20)) * time.Millisecond); time.Now().Before(end) && !o.over.Load(); {
				time.Sleep(time.Millisecond)
			}
			return err
		})
		time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
	}
}

// fault fails at random, lest it meet the same operation of each commit. The
// disk calls it with a lock.
func (o *outage) fault(e diskError, rng *rand.Rand) crashvfs.Fault {
	return func(op crashvfs.Op, name string) crashvfs.Code {
		if !e.fails(op, name) {
			return crashvfs.OK
		}
		if rng.IntN(e.every) != 0 {
			return crashvfs.OK
		}
		o.faults.Add(1)
		return e.code
	}
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never came: ", what)
		}
	}
}

// more awaits n more.
func more(t *testing.T, what string, counter *atomic.Int64, n int64) {
	t.Helper()
	want := counter.Load() + n
	await(t, what, func() bool { return counter.Load() >= want })
}

// A disk that fails refuses, loses nothing that was acknowledged, and the store
// goes on by itself; nor does a power cut later lose anything.
func TestDiskErrors(t *testing.T) {
	seed := runSeed(t)
	for i, e := range diskErrors {
		t.Run(e.name, func(t *testing.T) {
			m := newMachine(t, seed+uint64(i))
			if err := m.start(); err != nil {
				t.Fatal(err)
			}
			withWebhook(t, m.store)
			o := &outage{}
			m.store.Listen(o)
			ended := make(chan error, 1)
			go func() { ended <- together(m.tenants, func(t *tenant) error { return o.endure(t, m.store) }) }()
			lingered := make(chan struct{})
			go func() {
				defer close(lingered)
				o.linger(m.store, rand.New(rand.NewPCG(seed, uint64(i))))
			}()
			more(t, "what is acknowledged", &o.acknowledged, 40)
			m.vfs.Fail(o.fault(e, rand.New(rand.NewPCG(seed, uint64(i)))))
			more(t, "faults", &o.faults, 10)
			if ready := m.store.Ready(t.Context()); e.every == 1 && ready == nil != e.quiet {
				t.Errorf("ready while the disk fails: %v", ready)
			}
			if !e.quiet {
				more(t, "refusals", &o.refused, 5)
				// The tenants' steps may all be such as nobody is told of, and an
				// operation may fail before its commit.
				await(t, "words to the listener", func() bool {
					_, _ = m.store.ReplaceCallbackURL(t.Context(), "a", "https://a.example/", now)
					return o.n.Load() > 0
				})
			}
			m.vfs.Fail(nil)
			more(t, "what is acknowledged again", &o.acknowledged, 40)
			if err := m.store.Ready(t.Context()); err != nil {
				t.Errorf("not ready again: %v", err)
			}
			o.over.Store(true)
			<-lingered
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if o.n.Load() == 0 != e.quiet {
				t.Errorf("%d operations were refused and the listener was told %d times that it must read anew", o.refused.Load(), o.n.Load())
			}
			if err := check(m.tenants, m.store); err != nil {
				t.Fatalf("after the errors: %v", err)
			}
			if err := m.cut(t); err != nil {
				t.Fatalf("after a power cut: %v", err)
			}
		})
	}
}

// acceptLarge accepts n events, each of which takes several pages, or fails.
func acceptLarge(t *testing.T, s *Store, from, n int) (err error) {
	t.Helper()
	for i := range n {
		e := event(fmt.Sprintf("e%06d", from+i))
		e.Payload = fmt.Appendf(nil, `{"v":"%s"}`, strings.Repeat("x", 10_000))
		_, failed := s.Accept(t.Context(), []store.Event{e}, now)
		err = errors.Join(err, failed)
	}
	return err
}

// checkLarge looks for damage, and for the events.
func checkLarge(t *testing.T, s *Store, n int) error {
	t.Helper()
	if err := checkTables(s); err != nil {
		return err
	}
	for i := range n {
		d, _, err := s.Delivery(t.Context(), "a", fmt.Sprintf("e%06d", i))
		if err != nil || len(d.Body) < 10_000 {
			return fmt.Errorf("event %d of %d: %d bytes, %w", i, n, len(d.Body), err)
		}
	}
	return nil
}

func allDelivered(ds []store.Delivery) (outcomes []store.Outcome) {
	for i := range ds {
		outcomes = append(outcomes, store.Outcome{Delivery: &ds[i], State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: now, StatusCode: 204}})
	}
	return outcomes
}

// startLarge starts with a log of a known size.
func (m *machine) startLarge(t *testing.T) (err error) {
	t.Helper()
	m.store, err = Open(t.Context(), Config{Path: m.path, logPages: 64, vfs: m.vfs.Name(), rewrite: m.vfs.Rewrite})
	if err != nil {
		m.store = nil
	}
	return err
}

func failSyncs(which func(name string) bool) crashvfs.Fault {
	return func(op crashvfs.Op, name string) crashvfs.Code {
		if op == crashvfs.Sync && which(name) {
			return crashvfs.IOError
		}
		return crashvfs.OK
	}
}

// A reader keeps a checkpoint from being complete; then the database file's sync
// fails, and only the next one succeeds.
func TestPowerCutAfterAFailedSyncBesideAReader(t *testing.T) {
	m := newMachine(t, runSeed(t))
	if err := m.startLarge(t); err != nil {
		t.Fatal(err)
	}
	withWebhook(t, m.store)
	err := acceptLarge(t, m.store, 0, 10)
	err = errors.Join(err, m.store.snapshot(t.Context(), func(tx *readTxn) error {
		_, err := tx.number(m.store.reads.nextDue, "a", 0)
		return errors.Join(err, acceptLarge(t, m.store, 10, 20))
	}))
	m.vfs.Fail(failSyncs(func(name string) bool { return !inLog(name) }))
	err = errors.Join(err, acceptLarge(t, m.store, 30, 1))
	m.vfs.Fail(nil)
	if err := errors.Join(err, acceptLarge(t, m.store, 31, 40)); err != nil {
		t.Fatal(err)
	}
	if err := m.restart(t); err != nil {
		t.Fatal(err)
	}
	if err := checkLarge(t, m.store, 71); err != nil {
		t.Fatal("after a power cut: ", err)
	}
}

// After a sync that failed the kernel calls pages of the log clean that are not
// on the disk. A process that is started anew reads them, and would build on
// them: the power goes while it starts, or before its first commit.
func TestPowerCutAfterAFailedSyncAndAKill(t *testing.T) {
	seed := runSeed(t)
	for i := range 40 {
		m := newMachine(t, seed+uint64(i))
		if err := m.startLarge(t); err != nil {
			t.Fatal(err)
		}
		withWebhook(t, m.store)
		if err := acceptLarge(t, m.store, 0, 30); err != nil {
			t.Fatal(err)
		}
		b, err := m.store.Backlog(t.Context(), store.BacklogQuery{AccountID: "a", Now: now, Fresh: 30})
		if err != nil {
			t.Fatal(err)
		}
		m.vfs.Fail(failSyncs(inLog))
		// It changes pages that are not in the log, and one that is.
		if m.store.Record(t.Context(), allDelivered(b.Fresh), now) == nil {
			t.Fatal("recorded though the log could not be synced")
		}
		m.kill(t)
		m.vfs.CutAfter(1 + i)
		_ = m.startLarge(t) // if it gets that far
		if err := m.restart(t); err != nil {
			t.Fatal(err)
		}
		if err := checkLarge(t, m.store, 30); err != nil {
			t.Fatalf("after a power cut at operation %d of the start: %v", 1+i, err)
		}
		m.shut()
		m.store, m.vfs = nil, nil
	}
}
