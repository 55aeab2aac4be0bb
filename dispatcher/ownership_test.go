package dispatcher_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// movingStore is shared with other processes, which have some accounts.
type movingStore struct {
	dispatcher.Store
	mu       sync.Mutex
	away     map[string]bool
	accounts func() // when they have been read
	n        int    // how often they were
}

func (s *movingStore) reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *movingStore) PendingAccounts(ctx context.Context, after string, limit int) ([]string, error) {
	all, err := s.Store.PendingAccounts(ctx, after, limit)
	own := slices.DeleteFunc(all, func(account string) bool { return !s.May(account) })
	s.mu.Lock()
	s.n++
	s.mu.Unlock()
	if s.accounts != nil {
		s.accounts()
	}
	return own, err
}

func (s *movingStore) May(account string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.away[account]
}

// move gives accounts to other processes, or takes them back.
func (s *movingStore) move(away bool, accounts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range accounts {
		s.away[a] = away
	}
}

func newMovingRig(t *testing.T) (*rig, *movingStore) {
	s := &movingStore{away: map[string]bool{}}
	r := newRig(t, func(c *dispatcher.Config) { s.Store, c.Store = c.Store, s })
	return r, s
}

func is(account string) func(string) bool { return func(a string) bool { return a == account } }

func TestLostAccountIsSettledWhenItsAttemptsHaveEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newMovingRig(t)
		r.account("a")
		r.account("b")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if strings.HasPrefix(c.ID, "a") {
				return hang(ctx, c)
			}
			return ok(ctx, c)
		})
		hangs := r.accept("a", "m", "m")[0]
		r.after(time.Second)
		s.move(true, "a")
		settled, left := r.disp.Lost(is("a"))
		r.after(8 * time.Second)
		other := r.accept("b", "m")
		r.settle()
		select {
		case <-settled:
			t.Error("settled while an attempt is under way")
		default:
		}
		if got := left(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("left are %v, want a, of which an attempt is under way", got)
		}
		r.after(time.Second)
		select {
		case <-settled:
		default:
			t.Error("not settled, though the attempt has ended")
		}
		if got := left(); len(got) > 0 {
			t.Errorf("left are %v, want none", got)
		}
		r.after(time.Hour)
		r.wantCalls(append([]string{hangs}, other...)...)
		if d, _ := r.delivery("a", hangs); d.Failures != 1 || d.State != store.Pending {
			t.Errorf("%s after %d failures, want PENDING after 1: recorded before it was settled", d.State, d.Failures)
		}
		if n := r.disp.Stats().Lanes; n != 0 {
			t.Errorf("%d lanes, want none", n)
		}
		r.recv.set(ok)
		s.move(false, "a")
		r.disp.Gained()
		r.after(time.Second)
		r.wantStates(map[store.State]int64{store.Delivered: 3})
	})
}

// Another process had something under way of the account when this one took those around
// it. What was accepted meanwhile is in the store alone.
func TestFreedAccountIsReadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newMovingRig(t)
		r.account("a")
		r.account("b")
		first := r.accept("a", "m")
		r.after(time.Second)
		r.wantCalls(first...)
		s.move(true, "a")
		r.disp.Lost(is("a"))
		r.after(time.Second)
		r.store.Listen(nil)
		behind := r.accept("a", "m", "m")
		r.store.Listen(r.disp)
		scans := s.reads()
		s.move(false, "a")
		r.disp.Freed([]string{"a"})
		r.after(100 * time.Millisecond)
		r.wantCalls(append(first, behind...)...)
		if n := s.reads() - scans; n > 0 {
			t.Errorf("the accounts were read %d times, want never: the others are known", n)
		}
	})
}

func TestAccountGainedDuringTheScanIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newMovingRig(t)
		r.account("a")
		r.stop()
		r.accept("a", "m")
		s.move(true, "a")
		s.accounts = func() {
			s.accounts = nil
			s.move(false, "a")
			r.disp.Gained()
		}
		r.start()
		r.after(time.Second)
		r.wantStates(map[store.State]int64{store.Delivered: 1})
	})
}

func TestAccountLostDuringTheScanIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newMovingRig(t)
		r.account("a")
		r.stop()
		r.accept("a", "m")
		s.accounts = func() {
			s.accounts = nil
			s.move(true, "a")
			r.disp.Lost(is("a"))
		}
		r.start()
		r.after(time.Second)
		r.wantCalls()
		if n := r.disp.Stats().Lanes; n != 0 {
			t.Errorf("%d lanes, want none", n)
		}
	})
}

// A lane that is still there when its account comes back has not been told of what
// was changed elsewhere.
func TestPutAfterARotationElsewhereIsNotTakenForARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newMovingRig(t)
		r.account("a")
		r.recv.set(unavailableForLong)
		ev := r.accept("a", "m")[0]
		r.settle()
		r.recv.set(hang)
		r.accept("a", "n")
		r.after(time.Second)
		s.move(true, "a")
		r.disp.Lost(is("a"))
		r.store.Listen(nil)
		now := time.Now()
		if _, err := r.store.RotateSecret(t.Context(), "a", store.NewSecret(), now.Add(time.Hour), now); err != nil {
			t.Fatal(err)
		}
		r.store.Listen(r.disp)
		s.move(false, "a")
		r.disp.Gained()
		r.recv.set(ok)
		r.after(time.Second)
		r.wantState("a", ev, store.Pending)
		r.replace("a", url("a"))
		r.after(time.Minute) // the attempt under way takes the lane's only slot
		r.wantState("a", ev, store.Delivered)
	})
}

// While the lease has run out nothing begins, whoever has something to do, and the
// store is asked now and then.
func TestExpiredLeaseIsAskedForNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leasedStore{}
		r := newRig(t, func(c *dispatcher.Config) { s.Store, c.Store = c.Store, s })
		const accounts = 1000
		r.manyAccounts(accounts)
		s.expire(true)
		r.acceptForAll(accounts)
		r.after(time.Second)
		if n := s.asked(); n > 25 {
			t.Errorf("asked %d times in a second for %d accounts, want 25 at most", n, accounts)
		}
		r.wantCalls()
		s.expire(false)
		r.after(time.Second)
		r.wantStates(map[store.State]int64{store.Delivered: accounts + 2})
	})
}

// stopping is a process that is stopped between when an attempt is allowed to proceed and
// when it has been sent.
type stopping struct {
	dispatcher.Sender
	stop func()
}

func (s stopping) Post(ctx context.Context, r *egress.Request) egress.Result {
	res := s.Sender.Post(ctx, r)
	s.stop()
	r.Sent()
	return res
}

func TestAttemptsSentAfterTheLeaseHasRunOutAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := &leasedStore{}, func() {}
		r := newRig(t, func(c *dispatcher.Config) {
			s.Store, c.Store = c.Store, s
			c.Sender = stopping{c.Sender, func() { stop() }}
		})
		r.account("a")
		want := func(when string, want uint64) {
			t.Helper()
			if n := r.disp.Stats().Late; n != want {
				t.Errorf("%s: %d late attempts, want %d", when, n, want)
			}
		}
		r.accept("a", "m")
		r.after(time.Second)
		want("within the lease", 0)
		stop = func() { s.expire(true) }
		r.accept("a", "n")
		r.after(time.Second)
		want("the lease ran out before it was sent", 1)
		stop = func() {}
		r.accept("a", "o")
		r.after(time.Second)
		want("none begins after that", 1)
		s.expire(false)
		r.after(time.Second)
		want("within the next lease", 1)
		r.wantStates(map[store.State]int64{store.Delivered: 3})
	})
}

// leasedStore counts how often it is asked whether an attempt may begin.
type leasedStore struct {
	dispatcher.Store
	mu      sync.Mutex
	expired bool
	n       int
}

func (s *leasedStore) May(string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return !s.expired
}

func (s *leasedStore) expire(expired bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired = expired
}

func (s *leasedStore) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}
