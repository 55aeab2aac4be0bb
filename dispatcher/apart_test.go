package dispatcher_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

var errBroken = errors.New("a row that cannot be written")

// pickyStore fails to record, or to suspend, for some accounts.
type pickyStore struct {
	dispatcher.Store
	mu       sync.Mutex
	fails    func(account string) error
	suspends func(account string) error // default: it does not fail
	unready  bool                       // it says so while it fails
	tries    int                        // of Record
}

func (s *pickyStore) set(fails func(account string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = fails
}

func (s *pickyStore) check(account string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fails(account)
}

func (s *pickyStore) Record(ctx context.Context, outcomes []store.Outcome, now time.Time) error {
	s.mu.Lock()
	s.tries++
	s.mu.Unlock()
	for i := range outcomes {
		if err := s.check(outcomes[i].Delivery.AccountID); err != nil {
			return err
		}
	}
	return s.Store.Record(ctx, outcomes, now)
}

func (s *pickyStore) SuspendWebhook(ctx context.Context, seen store.Webhook, now time.Time) error {
	s.mu.Lock()
	suspends := s.suspends
	s.mu.Unlock()
	if suspends != nil {
		if err := suspends(seen.AccountID); err != nil {
			return err
		}
	}
	return s.Store.SuspendWebhook(ctx, seen, now)
}

func (s *pickyStore) Ready(context.Context) error {
	if !s.unready {
		return nil
	}
	return s.check("any")
}

func failsFor(bad string) func(string) error {
	return func(account string) error {
		if account == bad {
			return errBroken
		}
		return nil
	}
}

func newPickyRig(t *testing.T) (*rig, *pickyStore) {
	s := &pickyStore{fails: failsFor("")}
	r := newRig(t, func(c *dispatcher.Config) {
		s.Store, c.Store = c.Store, s
	})
	return r, s
}

// manyAccounts makes so many, and one that is called bad.
func (r *rig) manyAccounts(n int) {
	for i := range n {
		r.account(fmt.Sprint("a", i))
	}
	r.account("bad")
}

func (r *rig) acceptForAll(n int) {
	for i := range n {
		if i == n/2 {
			r.accept("bad", "m", "n")
		}
		r.accept(fmt.Sprint("a", i), "m")
	}
}

func TestOutcomeThatCannotBeRecordedStopsNobodyElse(t *testing.T) {
	for _, panics := range []bool{false, true} {
		t.Run(fmt.Sprintf("panics %t", panics), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s := newPickyRig(t)
				const accounts = 300
				r.manyAccounts(accounts)
				s.set(func(account string) error {
					if panics && account == "bad" {
						panic("a row that cannot be written")
					}
					return failsFor("bad")(account)
				})
				r.acceptForAll(accounts)
				r.after(10 * time.Second)
				r.wantStates(map[store.State]int64{store.Delivered: accounts, store.Pending: 2})
				n := len(r.recv.got())
				r.accept("bad", many(100)...)
				r.after(10 * time.Minute)
				if got := len(r.recv.got()); got != n {
					t.Errorf("%d attempts for the account whose outcomes cannot be recorded, want none", got-n)
				}
				if err := r.disp.Check(); err != nil {
					t.Error(err)
				}
				s.set(failsFor(""))
				r.after(15 * time.Second)
				r.wantStates(map[store.State]int64{store.Delivered: accounts + 102})
				if got := r.disp.Stats(); got.Unrecorded != 0 {
					t.Errorf("%d outcomes unrecorded, want none", got.Unrecorded)
				}
			})
		})
	}
}

func TestSuspensionThatFailsStopsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &pickyStore{fails: failsFor(""), suspends: failsFor("bad")}
		r := newRig(t, func(c *dispatcher.Config) { s.Store, c.Store = c.Store, s })
		r.manyAccounts(10)
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if strings.HasPrefix(c.ID, "bad") {
				return status(410)(ctx, c)
			}
			return ok(ctx, c)
		})
		r.acceptForAll(10)
		r.after(10 * time.Minute)
		r.acceptForAll(10)
		r.settle()
		r.wantStates(map[store.State]int64{store.Delivered: 20, store.Pending: 4})
		if n := len(r.recv.got()); n != 21 {
			t.Errorf("%d attempts, want 21: one that was answered 410, and none after it", n)
		}
		s.mu.Lock()
		s.suspends = nil
		s.mu.Unlock()
		r.after(10 * time.Second)
		if w, err := r.store.Webhook(t.Context(), "bad"); err != nil || w.Status != store.Suspended {
			t.Errorf("webhook %s (%v), want %s", w.Status, err, store.Suspended)
		}
	})
}

// A store that fails wholly is asked once a second at most, and goes on where it
// was.
func TestStoreThatRecordsNothingIsNotStormed(t *testing.T) {
	for _, ready := range []bool{false, true} {
		t.Run(fmt.Sprintf("says it is ready %t", ready), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &pickyStore{fails: failsFor(""), unready: !ready}
				r := newRig(t, func(c *dispatcher.Config) { s.Store, c.Store = c.Store, s })
				const accounts = 300
				r.manyAccounts(accounts)
				s.set(func(string) error { return errBroken })
				r.acceptForAll(accounts)
				const outage = 5 * time.Minute
				r.after(outage)
				s.mu.Lock()
				tries := s.tries
				s.mu.Unlock()
				if most := int(outage/time.Second) + 20; tries > most {
					t.Errorf("%d tries in %v, want %d at most", tries, outage, most)
				}
				s.set(failsFor(""))
				r.after(30 * time.Second)
				r.wantStates(map[store.State]int64{store.Delivered: accounts + 2})
			})
		})
	}
}

func TestPanicInAnAttemptFailsThatAttemptAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := newRig(t, func(c *dispatcher.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		r.account("a")
		r.account("b")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if strings.HasPrefix(c.ID, "a-poison") {
				panic("poison")
			}
			return ok(ctx, c)
		})
		poison := r.accept("a", "poison")[0]
		for range 10 {
			r.accept("a", "m", "poisonous")
			r.accept("b", "m")
		}
		r.after(time.Second)
		r.recv.set(ok)
		r.after(6 * time.Second)
		r.wantState("a", poison, store.Delivered)
		_, attempts := r.delivery("a", poison)
		if len(attempts) != 2 || attempts[0].Error != store.InternalError {
			t.Errorf("attempts %+v, want two, the first of them %s", attempts, store.InternalError)
		}
		r.after(time.Minute)
		r.wantStates(map[store.State]int64{store.Delivered: 31})
		if s := r.disp.Stats(); s.SlotsInUse != 0 || s.Open != 0 || s.Suspect != 0 {
			t.Errorf("%+v, want no slot in use and no lane suspect", s)
		}
		if err := r.disp.Check(); err != nil {
			t.Error(err)
		}
		if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "apart_test.go") {
			t.Errorf("log:\n%s\nwant the stack at level ERROR", text)
		}
	})
}

// An event that makes each of its probes panic does not keep its lane probing for
// ever.
func TestPanicInAProbeUsesUpItsSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(500))
		first := r.accept("a", many(20)...)[0]
		r.settle()
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if c.ID == first {
				panic("poison")
			}
			return ok(ctx, c)
		})
		r.after(2 * time.Hour)
		r.wantStates(map[store.State]int64{store.Delivered: 19, store.Failed: 1})
	})
}

// panickyStore panics when it is asked for an account.
type panickyStore struct {
	dispatcher.Store
	account string
}

func (s *panickyStore) Backlog(ctx context.Context, q store.BacklogQuery) (store.Backlog, error) {
	if q.AccountID == s.account {
		panic("a row that breaks its reader")
	}
	return s.Store.Backlog(ctx, q)
}

func TestPanicInAReadStopsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.Store = &panickyStore{c.Store, "bad"} })
		r.account("a")
		r.account("bad")
		r.stop()
		r.accept("bad", "m")
		r.accept("a", "m")
		r.start()
		r.after(time.Minute)
		r.wantStates(map[store.State]int64{store.Delivered: 1, store.Pending: 1})
	})
}

func TestPanicsOpenNoBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(func(context.Context, call) egress.Result { panic("poison") })
		r.accept("a", many(20)...)
		r.settle()
		if s := r.disp.Stats(); s.Open != 0 || s.Suspect != 0 {
			t.Errorf("%+v, want no breaker open and no lane suspect: it is not the endpoint's fault", s)
		}
		r.recv.set(ok)
		r.after(6 * time.Second)
		r.wantStates(map[store.State]int64{store.Delivered: 20})
	})
}
