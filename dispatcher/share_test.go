package dispatcher_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// dead answers for healthy endpoints and hangs for those with "dead" in their
// URL.
func dead(ctx context.Context, c call) egress.Result {
	if strings.Contains(c.URL, "dead") {
		return hang(ctx, c)
	}
	return ok(ctx, c)
}

func TestMemoryIsBoundedHoweverManyLanesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound, lanes, each = 16 << 10, 100, 30
		r := newRig(t, func(c *dispatcher.Config) { c.MaxInFlight, c.WindowBytes = 64, bound })
		r.recv.set(hang)
		held := 0
		for i := range lanes {
			r.account(fmt.Sprint("a", i))
			r.accept(fmt.Sprint("a", i), many(each)...)
			held = max(held, r.disp.Stats().HeldBytes)
		}
		for range 100 {
			r.after(700 * time.Millisecond)
			held = max(held, r.disp.Stats().HeldBytes)
		}
		if held > bound || held < bound/8 {
			t.Errorf("%d bytes waited in memory, want some, and %d at most", held, bound)
		}
		r.recv.set(ok)
		r.after(30 * time.Hour)
		r.wantStates(map[store.State]int64{store.Delivered: lanes * each})
	})
}

func TestSuspendedAccountWithNothingLeftIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(410))
		r.accept("a", many(3)...)
		r.after(time.Hour)
		if s := r.disp.Stats(); s.Lanes != 1 || s.Suspended != 1 {
			t.Errorf("%+v, want one lane, suspended", s)
		}
		r.after(72 * time.Hour)
		r.wantStates(map[store.State]int64{store.Failed: 3})
		if s := r.disp.Stats(); s.Lanes != 0 || s.Suspended != 0 {
			t.Errorf("%+v, want no lane", s)
		}
		ev := r.accept("a", "m")[0]
		r.after(time.Second)
		r.recv.set(ok)
		r.replace("a", url("a"))
		r.after(time.Second)
		r.wantState("a", ev, store.Delivered)
	})
}

func TestLanesThatBecomeSuspectGiveMemoryBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = 32 << 10
		r := newRig(t, func(c *dispatcher.Config) { c.WindowBytes = bound })
		for i := range 100 {
			r.account(fmt.Sprint("a", i))
			r.accept(fmt.Sprint("a", i), "m")
		}
		r.settle()
		r.recv.set(hang)
		for i := range 100 {
			r.accept(fmt.Sprint("a", i), many(30)...)
		}
		if held := r.disp.Stats().HeldBytes; held < bound*3/4 {
			t.Fatalf("%d bytes wait in memory, want nearly %d", held, bound)
		}
		r.after(4 * time.Second) // all are suspect now
		if held := r.disp.Stats().HeldBytes; held > bound/4+100 {
			t.Errorf("suspect lanes hold %d bytes, want %d at most", held, bound/4)
		}
	})
}

func TestLaneHoldsNoMoreThanItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(hang)
		for range 10 {
			r.accept("a", many(100)...)
		}
		if held := r.disp.Stats().HeldBytes; held > 64*30 {
			t.Errorf("%d bytes wait in memory, want those of 64 deliveries at most", held)
		}
	})
}

// A page that is read leaves memory to the others, however long the backlog and
// however large the window.
func TestPageKeepsHalfOfTheMemoryAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newHookedRig(t)
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(10 * time.Millisecond)
			return ok(ctx, c)
		})
		kept := 0
		s.page = func() { kept = max(kept, r.disp.Stats().HeldBytes) }
		r.accept("a", many(10000)...)
		r.after(10 * time.Second)
		const bodies = 4096 * 30 // of a whole window
		if most := 16<<20 + bodies; kept > most || kept < 16<<20 {
			t.Errorf("%d bytes held while a page was read, want 16 MiB and at most %d", kept, most)
		}
	})
}

// restartWithDeadLanes starts with so many accounts whose endpoints hang and
// have hung before, read from a store that takes its time.
func restartWithDeadLanes(t *testing.T, lanes int, failedBefore bool) *rig {
	r, s := newHookedRig(t)
	r.recv.set(dead)
	for i := range lanes {
		r.account(fmt.Sprint("dead", i))
		if failedBefore {
			r.accept(fmt.Sprint("dead", i), "first")
		}
	}
	r.after(5 * time.Minute)
	r.stop()
	for i := range lanes {
		r.accept(fmt.Sprint("dead", i), many(3)...)
	}
	s.backlog = func() error { time.Sleep(time.Millisecond); return nil }
	return r
}

func TestNewEventDoesNotWaitForTheScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := restartWithDeadLanes(t, 1500, false)
		r.start()
		for i := range 50 {
			account := fmt.Sprint("new", i)
			r.account(account)
			r.after(97 * time.Millisecond)
			at := time.Now()
			ev := r.accept(account, "m")[0]
			r.after(10 * time.Millisecond)
			if d, _ := r.delivery(account, ev); d.State != store.Delivered {
				t.Fatalf("%v after the start: an event is %s 10 ms after it was accepted", at.Sub(r.recv.start), d.State)
			}
		}
	})
}

func TestHealthyBacklogDoesNotWaitForDeadEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := restartWithDeadLanes(t, 1500, true)
		r.account("healthy")
		ev := r.accept("healthy", "m")[0]
		r.start()
		r.after(2 * time.Second)
		r.wantState("healthy", ev, store.Delivered)
	})
}
