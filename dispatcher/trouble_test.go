package dispatcher_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// hookedStore lets a test do something in the middle of a read.
type hookedStore struct {
	dispatcher.Store
	backlog  func() error          // before it is read
	page     func()                // after it was
	accounts func()                // after they were read
	record   func([]store.Outcome) // before it is done
	recorded func([]store.Outcome) // when it is on disk
	makeDue  func() error          // before it
	damaged  string                // event
}

// spoil returns what is read, of which one delivery is damaged.
func (s *hookedStore) spoil(b store.Backlog) store.Backlog {
	for _, read := range [][]store.Delivery{b.Due, b.Fresh} {
		for i := range read {
			if read[i].EventID == s.damaged {
				read[i].Damaged, read[i].Body = true, nil
			}
		}
	}
	return b
}

func (s *hookedStore) Oldest(ctx context.Context, account string) (store.Backlog, error) {
	b, err := s.Store.Oldest(ctx, account)
	return s.spoil(b), err
}

func (s *hookedStore) Record(ctx context.Context, o []store.Outcome, now time.Time) error {
	if s.record != nil {
		s.record(o)
	}
	err := s.Store.Record(ctx, o, now)
	if s.recorded != nil {
		s.recorded(o)
	}
	return err
}

func (s *hookedStore) MakeDue(ctx context.Context, account string, now time.Time, limit int) (int, error) {
	if s.makeDue != nil {
		if err := s.makeDue(); err != nil {
			return 0, err
		}
	}
	return s.Store.MakeDue(ctx, account, now, limit)
}

func (s *hookedStore) Backlog(ctx context.Context, q store.BacklogQuery) (store.Backlog, error) {
	if s.backlog != nil {
		if err := s.backlog(); err != nil {
			return store.Backlog{}, err
		}
	}
	b, err := s.Store.Backlog(ctx, q)
	if s.page != nil {
		s.page()
	}
	return s.spoil(b), err
}

func (s *hookedStore) PendingAccounts(ctx context.Context, after string, limit int) ([]string, error) {
	defer func() {
		if s.accounts != nil {
			s.accounts()
		}
	}()
	return s.Store.PendingAccounts(ctx, after, limit)
}

func newHookedRig(t *testing.T) (*rig, *hookedStore) {
	var s *hookedStore
	r := newRig(t, func(c *dispatcher.Config) {
		s = &hookedStore{Store: c.Store}
		c.Store = s
	})
	return r, s
}

// acceptUntold commits an event, of which the dispatcher learns nothing but that
// some commit is uncertain.
func (r *rig) acceptUntold(account, message string) string {
	r.store.Listen(nil)
	defer r.store.Listen(r.disp)
	id := r.accept(account, message)[0]
	r.disp.Uncertain([]string{account})
	return id
}

func TestFailedReadIsRepeatedAtOnceThoughNothingIsDueForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newHookedRig(t)
		r.account("a")
		r.recv.set(unavailableForLong)
		r.accept("a", "m0")
		r.settle()
		r.recv.set(ok)
		fails := 1
		s.backlog = func() error {
			if fails--; fails >= 0 {
				return errors.New("the disk is away")
			}
			return nil
		}
		ev := r.acceptUntold("a", "m1")
		r.after(5 * time.Second)
		r.wantState("a", ev, store.Delivered)
	})
}

// The events behind a probe that has become an attempt, as by a PUT, follow it at
// once: each that is put off costs two writes and a read more.
func TestPutDuringAProbePutsOffNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newHookedRig(t)
		r.account("a")
		r.accept("a", "x")
		r.settle()
		r.recv.set(status(500))
		r.accept("a", "m", "n", "n", "n")
		r.after(10 * time.Minute)
		probes := len(r.recv.got())
		r.accept("a", "m")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(time.Second)
			return ok(ctx, c)
		})
		for len(r.recv.got()) == probes {
			r.after(100 * time.Millisecond)
		}
		s.record = func(outcomes []store.Outcome) {
			for _, o := range outcomes {
				if o.Behind {
					t.Errorf("%s was put off", o.Delivery.EventID)
				}
			}
		}
		r.replace("a", "https://a.example/new")
		r.after(20 * time.Second)
		r.wantStates(map[store.State]int64{store.Delivered: 6})
	})
}

// A page that is read while the probe connects passes over the probe's delivery,
// because it is in memory.
func TestProbeWithdrawnByANewURLIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.RetrySchedule = slices.Repeat([]time.Duration{time.Millisecond}, 20) })
		r.account("a")
		r.recv.set(status(500))
		ev := r.accept("a", "m")[0]
		r.after(time.Second)
		r.recv.set(ok)
		r.recv.connect.Store(int64(time.Second))
		r.after(4500 * time.Millisecond) // the probe connects since 5 s
		r.replace("a", "https://new.example/")
		r.after(time.Minute)
		r.wantState("a", ev, store.Delivered)
	})
}

// A page may show a PUT before the dispatcher is told of it.
func TestPutThatAPageShowedFirstIsNotTakenForNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(unavailableForLong)
		ev := r.accept("a", "m")[0]
		r.settle()
		r.recv.set(failing(func(c call) bool { return c.Attempt == 1 }))
		r.accept("a", "n") // to be read at its retry
		r.after(4 * time.Second)
		r.store.Listen(nil)
		r.replace("a", "https://new.example/")
		r.store.Listen(r.disp)
		r.after(2 * time.Second)
		w, err := r.store.Webhook(context.Background(), "a")
		if err != nil {
			t.Fatal(err)
		}
		r.disp.WebhookChanged("a", &w)
		r.after(time.Second)
		r.wantState("a", ev, store.Delivered)
	})
}

func TestUncertainCommitDuringTheScanIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newHookedRig(t)
		r.account("a")
		r.stop()
		var ev string
		s.accounts = func() {
			s.accounts = nil
			ev = r.acceptUntold("a", "m")
		}
		r.start()
		r.after(2 * time.Second)
		r.wantState("a", ev, store.Delivered)
	})
}

// That this process can open no file is not the endpoint's fault.
func TestExhaustionUsesUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(func(context.Context, call) egress.Result {
			time.Sleep(250 * time.Millisecond) // as the real one does
			return egress.Result{Kind: egress.Exhausted, Err: errors.New("too many open files")}
		})
		ev := r.accept("a", many(100)...)
		r.after(time.Minute)
		if s := r.disp.Stats(); s.Open != 0 || s.Suspect != 0 {
			t.Errorf("%+v, want no open breaker and no suspect lane", s)
		}
		r.recv.set(ok)
		r.after(time.Second)
		for _, id := range ev {
			r.wantState("a", id, store.Delivered)
			if _, attempts := r.delivery("a", id); len(attempts) != 1 {
				t.Errorf("%s: %d attempts, want 1", id, len(attempts))
			}
		}
	})
}

func TestLateSuccessesLeaveNoSuspicionBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(time.Millisecond)
			return ok(ctx, c)
		})
		r.accept("a", many(100)...) // so that it takes many at a time
		r.after(time.Second)
		late := func(ctx context.Context, c call) egress.Result {
			switch {
			case strings.HasPrefix(c.ID, "a-slow-"):
				time.Sleep(2 * time.Second)
			case strings.HasPrefix(c.ID, "a-slower-"):
				time.Sleep(3 * time.Second)
			}
			return ok(ctx, c)
		}
		r.recv.set(late)
		r.accept("a", "slow", "slower")
		r.after(1500 * time.Millisecond)
		r.recv.set(status(500))
		r.accept("a", many(10)...) // the breaker opens
		r.settle()
		r.recv.set(late)
		if s := r.disp.Stats(); s.Open != 1 {
			t.Fatalf("%+v, want one open breaker", s)
		}
		r.after(time.Second) // the first success, late, closes it
		if s := r.disp.Stats(); s.Open != 0 || s.Suspect != 1 {
			t.Fatalf("%+v, want a closed breaker and one slow attempt", s)
		}
		r.after(2 * time.Second) // the second one
		r.accept("a", "m")
		r.settle()
		if s := r.disp.Stats(); s.Suspect != 0 {
			t.Errorf("%+v, want no suspicion after a quick success", s)
		}
		if err := r.disp.Check(); err != nil {
			t.Error(err)
		}
	})
}

func TestNewSecretAfterARestartChangesNoSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(500))
		r.accept("a", many(3)...)
		r.settle()
		r.stop()
		r.start()
		if _, err := r.store.RotateSecret(context.Background(), "a", store.NewSecret(), time.Now().Add(time.Hour), time.Now()); err != nil {
			t.Fatal(err)
		}
		r.after(4 * time.Second)
		if n := len(r.recv.got()); n != 3 {
			t.Errorf("%d attempts within 4 s, want 3: the retries are due after 5 s", n)
		}
	})
}

func TestStoreThatFailsAtShutdownIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.Store = &flakyStore{Store: c.Store} })
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(time.Second)
			return ok(ctx, c)
		})
		ev := r.accept("a", "m")[0]
		r.settle()
		r.stop()
		r.wantState("a", ev, store.Delivered)
	})
}

// A PUT makes everything due: that which was still on its way to the store, and
// that which was under way, as well.
func TestPutRetriesAtOnceWhatIsNotRecordedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newHookedRig(t)
		r.account("a")
		r.recv.set(unavailableForLong)
		s.record = func([]store.Outcome) { time.Sleep(time.Second) }
		ev := r.accept("a", "m")[0]
		r.after(500 * time.Millisecond)
		r.recv.set(ok)
		r.replace("a", "https://new.example/")
		r.after(5 * time.Second)
		r.wantState("a", ev, store.Delivered)
	})
}

// The PUT makes due what failed before it, not what fails at the new URL.
func TestWithdrawnAttemptWaitsUntilThePutHasMadeAllDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newHookedRig(t)
		r.account("a")
		r.recv.set(status(500))
		s.record = func([]store.Outcome) {
			s.record = nil
			time.Sleep(3 * time.Second)
		}
		r.accept("a", "m0")
		r.settle()
		r.recv.connect.Store(int64(time.Second))
		ev := r.accept("a", "m1")[0]
		r.settle() // it connects
		r.replace("a", "https://new.example/")
		r.after(15 * time.Second)
		var at []time.Duration
		for _, c := range r.recv.got() {
			if c.ID == ev {
				at = append(at, c.At)
			}
		}
		if len(at) != 2 || at[1]-at[0] < 5*time.Second {
			t.Errorf("attempts at %v, want two, 5 s apart or more", at)
		}
	})
}

func TestPutOfTheSameURLRetriesAtOnceWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		for range 3 { // so that it takes many at a time
			r.accept("a", many(20)...)
			r.settle()
		}
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if strings.HasPrefix(c.ID, "a-gone-") {
				return status(410)(ctx, c)
			}
			time.Sleep(time.Second)
			return unavailableForLong(ctx, c)
		})
		ev := r.accept("a", "m")
		r.settle()
		ev = append(ev, r.accept("a", "gone")...)
		r.after(500 * time.Millisecond)
		r.recv.set(ok)
		r.replace("a", url("a"))
		r.after(5 * time.Second)
		r.wantState("a", ev[0], store.Delivered)
		r.wantState("a", ev[1], store.Delivered)
	})
}

func unavailableForLong(context.Context, call) egress.Result {
	return egress.Result{Kind: egress.HTTPStatus, StatusCode: 503, RetryAfter: "36000"}
}

func (r *rig) replace(account, url string) {
	r.t.Helper()
	if _, err := r.store.ReplaceCallbackURL(context.Background(), account, url, time.Now()); err != nil {
		r.t.Fatal(err)
	}
}

func TestOpenBreakerProbesOnAfterAnUncertainCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(500))
		r.accept("a", many(20)...)
		r.after(time.Minute)
		r.disp.Uncertain([]string{"a"})
		r.after(time.Second) // it has been read anew
		r.recv.set(ok)
		r.after(6 * time.Minute)
		r.wantStates(map[store.State]int64{store.Delivered: 20})
	})
}

func TestWhatWasRecordedWhileAPageWasReadIsNotTakenFromIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newHookedRig(t)
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(time.Second)
			return ok(ctx, c)
		})
		ev := r.accept("a", "m")
		r.settle()
		s.page = func() { time.Sleep(2 * time.Second) }
		r.disp.Uncertain([]string{"a"}) // so that a page is read while the attempt is under way
		r.after(5 * time.Second)
		r.wantCalls(ev...)
		r.wantStates(map[store.State]int64{store.Delivered: 1})
	})
}

// late is a listener that tells the dispatcher of nothing yet.
type late struct {
	store.Listener
	accepted []store.Acceptance
}

func (l *late) Accepted(batch []store.Acceptance) { l.accepted = append(l.accepted, batch...) }

func TestWhatAPageHadIsNotTakenAgainAtItsHandOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		l := &late{Listener: r.disp}
		r.store.Listen(l)
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(2 * time.Second) // no outcome is recorded before the hand-off
			return ok(ctx, c)
		})
		ev := r.accept("a", "m", "n")
		r.disp.Uncertain([]string{"a"}) // so that a page is read, which has both
		r.after(time.Second)
		r.disp.Accepted(l.accepted)
		r.after(time.Minute)
		r.wantCalls(ev...)
	})
}

// What is read back damaged is never sent, and holds up neither what comes after
// it nor the probes.
func TestDamagedDeliveryFailsUnsent(t *testing.T) {
	for name, n := range map[string]int{"at its retry": 5, "as a probe": 20} { // ten failures open the breaker
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s := newHookedRig(t)
				r.account("a")
				r.recv.set(status(503))
				events := r.accept("a", many(n)...)
				r.after(time.Second)
				if open := r.disp.IsOpen("a"); open != (n >= 10) {
					t.Fatalf("the breaker is open: %t, after %d failures", open, n)
				}
				s.damaged = events[0]
				_, before := r.delivery("a", events[0])
				r.recv.set(ok)
				r.after(time.Hour)
				r.wantStates(map[store.State]int64{store.Delivered: int64(n) - 1, store.Failed: 1})
				_, attempts := r.delivery("a", events[0])
				if len(attempts) != len(before)+1 || attempts[len(before)].Error != store.PayloadDamaged {
					t.Errorf("attempts of the damaged delivery: %+v, want one more that is %s", attempts, store.PayloadDamaged)
				}
				for _, c := range r.recv.got() {
					if c.ID == events[0] && c.Attempt == len(attempts) {
						t.Errorf("the damaged delivery was sent: %+v", c)
					}
				}
			})
		})
	}
}
