package dispatcher_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

func (r *rig) replay(account string, events ...string) {
	r.t.Helper()
	for _, e := range events {
		if err := r.store.Replay(context.Background(), account, e, time.Now()); err != nil {
			r.t.Fatalf("Replay(%s): %v", e, err)
		}
	}
}

// ended makes events that have been acknowledged.
func (r *rig) ended(account string, messages ...string) []string {
	r.t.Helper()
	var all []string
	for i := 0; i < len(messages); i += 500 {
		all = append(all, r.accept(account, messages[i:min(i+500, len(messages))]...)...)
		r.after(time.Minute)
	}
	for _, e := range all {
		r.wantState(account, e, store.Delivered)
	}
	return all
}

func taking(d time.Duration, answer func(context.Context, call) egress.Result) func(context.Context, call) egress.Result {
	return func(ctx context.Context, c call) egress.Result {
		time.Sleep(d)
		return answer(ctx, c)
	}
}

// Its attempts count on, and its schedule begins anew.
func TestReplayHasAScheduleOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.RetrySchedule = []time.Duration{5 * time.Second, 30 * time.Second} })
		r.account("a")
		r.recv.set(status(500))
		e := r.accept("a", "m")[0]
		r.after(time.Hour)
		r.wantState("a", e, store.Failed)
		r.after(100 * time.Hour) // beyond the horizon of its first run
		began := time.Since(r.recv.start)
		r.replay("a", e)
		r.after(time.Hour)
		r.wantState("a", e, store.Failed)
		var got []string
		for _, c := range r.recv.got()[3:] {
			got = append(got, fmt.Sprint(c.ID, " ", c.Attempt, " ", c.At-began))
		}
		if want := "[" + e + " 4 0s " + e + " 5 5s " + e + " 6 35s]"; fmt.Sprint(got) != want {
			t.Errorf("its replay: got %v, want %v", got, want)
		}
		if d, attempts := r.delivery("a", e); len(attempts) != 6 || d.Failures != 3 {
			t.Errorf("%d attempts and %d failures, want 6 and 3", len(attempts), d.Failures)
		}
	})
}

func TestReplaysGoOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		all := r.ended("a", many(200)...)
		r.stop()
		r.replay("a", all...)
		r.start()
		r.after(time.Minute)
		r.wantStates(map[store.State]int64{store.Delivered: 200})
		if n := len(r.recv.got()); n != 400 {
			t.Errorf("%d arrivals, want each of 200 events twice", n)
		}
	})
}

// However many there are, a lane makes half as many attempts of them as it may.
func TestReplaysTakeHalfOfTheirLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		all := r.ended("a", many(3000)...)
		r.recv.set(taking(100*time.Millisecond, ok))
		r.recv.clearPeak()
		r.accept("a", many(640)...) // which bring the limit to its greatest
		r.after(5 * time.Second)
		if peak := r.recv.peak[url("a")]; peak != 64 {
			t.Fatalf("%d new events at a time, want 64", peak)
		}
		r.recv.clearPeak()
		r.replay("a", all...)
		r.after(time.Minute)
		r.wantStates(map[store.State]int64{store.Delivered: 3640})
		if peak := r.recv.peak[url("a")]; peak != 32 {
			t.Errorf("%d replays at a time, want 32", peak)
		}
	})
}

// Replays alone find out how many an endpoint takes.
func TestReplaysRaiseTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		all := r.ended("a", many(3000)...)
		r.stop()
		r.start() // the limit is 1 again
		r.recv.connect.Store(int64(50 * time.Millisecond))
		r.recv.set(func(ctx context.Context, c call) egress.Result { // so that few end together
			time.Sleep(time.Duration(50+len(c.ID)*int(c.ID[len(c.ID)-1])%97) * time.Millisecond)
			return ok(ctx, c)
		})
		r.recv.clearPeak()
		r.replay("a", all...)
		r.after(time.Minute)
		if peak := r.recv.peak[url("a")]; peak < 16 {
			t.Errorf("%d replays at a time have a connection, want 16 at least", peak)
		}
	})
}

// New events go at once, however many replays wait: in memory and in the store.
func TestNewEventsDoNotWaitForReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		all := r.ended("a", many(5000)...)
		r.recv.set(taking(100*time.Millisecond, ok))
		r.accept("a", many(640)...)
		r.after(5 * time.Second)
		r.replay("a", all...)
		r.after(time.Second)
		for i := range 20 {
			accepted := time.Since(r.recv.start)
			e := r.accept("a", fmt.Sprint("new", i))[0]
			r.after(50 * time.Millisecond)
			at := slices.IndexFunc(r.recv.got(), func(c call) bool { return c.ID == e })
			if at < 0 || r.recv.got()[at].At != accepted {
				t.Errorf("%s has not begun at once", e)
			}
		}
	})
}

func TestReplayHoldsBackNoNewEventOfItsMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		old := r.ended("a", "m", "m")
		r.accept("a", many(20)...) // which raise the limit
		r.settle()
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if c.ID == old[0] {
				time.Sleep(5 * time.Second)
				return status(500)(ctx, c)
			}
			return ok(ctx, c)
		})
		r.replay("a", old...)
		r.settle()
		for range 2 { // while the replay is under way, and while it waits for its retry
			fresh := r.accept("a", "m")
			r.settle()
			r.wantState("a", fresh[0], store.Delivered)
			r.after(8 * time.Second)
		}
		r.wantState("a", old[1], store.Pending) // behind the earlier one that is sent again
		if w := r.waitFor("a", old[1]); w.For != store.ForEarlierEvent || w.EventID != old[0] {
			t.Errorf("the later one waits for %+v, want for %s", w, old[0])
		}
		r.recv.set(ok)
		r.after(30 * time.Second)
		got := ids(r.recv.got())
		if want := []string{old[0], old[1]}; fmt.Sprint(got[len(got)-2:]) != fmt.Sprint(want) {
			t.Errorf("the last arrivals: %v, want %v", got[len(got)-2:], want)
		}
	})
}

// An event that a DELETE has cancelled is replayed while its attempt is still under
// way: it is sent again when that has ended.
func TestReplayOfWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(taking(5*time.Second, ok))
		e := r.accept("a", "m")[0]
		r.settle()
		if err := r.store.DeleteWebhook(context.Background(), "a", time.Now()); err != nil {
			t.Fatal(err)
		}
		r.account("a")
		r.replay("a", e)
		r.after(3 * time.Second)
		r.wantCalls(e)
		r.after(3 * time.Second)
		r.wantCalls(e, e)
		r.after(5 * time.Second)
		r.wantState("a", e, store.Delivered)
	})
}

func (r *rig) waitFor(account, event string) store.Wait {
	r.t.Helper()
	d, _ := r.delivery(account, event)
	w, err := r.store.Webhook(context.Background(), account)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.disp.Waits(account, &w, []store.Delivery{d}, time.Now())[0]
}

// A lane with nothing but replays leaves slots to new events of others.
func TestReplaysLeaveSlotsToNewEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.MaxInFlight = 16 })
		var all [10][]string
		for i := range all {
			account := fmt.Sprint("a", i)
			r.account(account)
			all[i] = r.ended(account, many(200)...)
		}
		r.account("b")
		r.ended("b", "first")
		r.recv.set(taking(500*time.Millisecond, ok))
		for i := range all {
			r.replay(fmt.Sprint("a", i), all[i]...)
		}
		r.after(5 * time.Second)
		if s := r.disp.Stats(); s.InUseBy["replaying"] != 6 || s.SlotsInUse != 6 {
			t.Errorf("slots in use: %+v, want 6 of 16, by replays", s.InUseBy)
		}
		accepted := time.Since(r.recv.start)
		e := r.accept("b", "m")[0]
		r.settle()
		if got := r.recv.got(); got[len(got)-1].ID != e || got[len(got)-1].At != accepted {
			t.Errorf("the last arrival is %+v, want %s at %v", got[len(got)-1], e, accepted)
		}
		r.recv.set(ok)
		r.after(time.Minute)
	})
}
