package dispatcher_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// waits says what an account's PENDING deliveries wait for, by event: the word,
// and in how long the next attempt is.
func (r *rig) waits(account string) map[string]string {
	r.t.Helper()
	var pending []store.Delivery
	page, err := r.store.Deliveries(context.Background(), store.DeliveryQuery{AccountID: account, States: []store.State{store.Pending}, Limit: 1000})
	if err != nil {
		r.t.Fatalf("Deliveries: %v", err)
	}
	pending = page.Deliveries
	var webhook *store.Webhook
	if w, err := r.store.Webhook(context.Background(), account); err == nil {
		webhook = &w
	}
	now := time.Now()
	out := map[string]string{}
	for i, w := range r.disp.Waits(account, webhook, pending, now) {
		out[pending[i].EventID] = string(w.For)
		if !w.NextAttempt.IsZero() {
			out[pending[i].EventID] = fmt.Sprint(w.For, " ", w.NextAttempt.Sub(now))
		}
	}
	return out
}

func (r *rig) wantWaits(account string, want map[string]string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.waits(account)); diff != "" {
		r.t.Errorf("%v after the start, the deliveries of %s wait for (-want +got):\n%s", time.Since(r.recv.start), account, diff)
	}
}

func TestWaitsForItsTurnAndForTheEndOfAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(4 * time.Second)
			return ok(ctx, c)
		})
		ev := r.accept("a", "m", "m", "n") // the first lane has one slot
		r.settle()
		r.wantWaits("a", map[string]string{ev[0]: "IN_FLIGHT", ev[1]: "EARLIER_EVENT", ev[2]: "QUEUE"})
		r.after(5 * time.Second)
		got := r.waits("a")
		if got[ev[0]] != "" || got[ev[1]] == "EARLIER_EVENT" {
			t.Errorf("after the first was acknowledged the others wait for %v", got)
		}
	})
}

func TestWaitsForItsRetryAndForAnEarlierEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(failing(func(c call) bool { return c.ID == "a-m-1" }))
		ev := r.accept("a", "m", "m")
		r.settle()
		r.wantWaits("a", map[string]string{ev[0]: "RETRY 5s", ev[1]: "EARLIER_EVENT"})
		r.after(2 * time.Second)
		ev = append(ev, r.accept("a", "m")...)
		r.settle()
		r.wantWaits("a", map[string]string{ev[0]: "RETRY 3s", ev[1]: "EARLIER_EVENT", ev[2]: "EARLIER_EVENT"})
		r.stop()
		r.start() // and so by the rows alone
		r.wantWaits("a", map[string]string{ev[0]: "RETRY 3s", ev[1]: "EARLIER_EVENT", ev[2]: "EARLIER_EVENT"})
		r.after(4 * time.Second)
		r.wantWaits("a", map[string]string{ev[0]: "RETRY 29s", ev[1]: "EARLIER_EVENT", ev[2]: "EARLIER_EVENT"})
	})
}

// Nothing is said to wait for an earlier event that it may overtake.
func TestWaitsForItsTurnBeforeAnEarlierEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(failing(func(c call) bool { return c.ID == "a-m-1" }))
		ev := r.accept("a", "m")
		r.after(90 * time.Second)
		r.stop()
		ev = append(ev, r.accept("a", "m")...)
		r.wantWaits("a", map[string]string{ev[0]: "RETRY 1m5s", ev[1]: "QUEUE"})
	})
}

// Nothing is said to wait for an earlier event while a later one is under way that has
// overtaken it.
func TestWaitsForItsTurnBehindALaterEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(failing(func(c call) bool { return c.ID == "a-m-1" }))
		ev := r.accept("a", "m")
		r.after(150 * time.Second)
		r.wantWaits("a", map[string]string{ev[0]: "RETRY 5s"})
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(8 * time.Second)
			return ok(ctx, c)
		})
		ev = append(ev, r.accept("a", "m")...)
		r.after(6 * time.Second)
		r.wantWaits("a", map[string]string{ev[0]: "QUEUE", ev[1]: "IN_FLIGHT"})
	})
}

func TestWaitsForAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(500))
		ev := r.accept("a", append(many(10), "m10", "m0")...)
		probed := func(oldest string) map[string]string {
			want := map[string]string{}
			for _, id := range ev {
				want[id] = "PROBE"
			}
			want[ev[0]] = oldest
			return want
		}
		r.settle()
		r.wantWaits("a", probed("PROBE 5s")) // the breaker has just opened
		r.after(6 * time.Second)
		r.wantWaits("a", probed("PROBE 9s"))
		r.recv.set(hang)
		r.after(12 * time.Second)
		r.wantWaits("a", probed("IN_FLIGHT"))
		r.after(10 * time.Second)
		r.wantWaits("a", probed("PROBE 17s"))
		r.recv.set(ok)
		r.after(18 * time.Second)
		r.wantWaits("a", map[string]string{})
	})
}

// A probe goes with a replay only as long as there is no new event.
func TestReplayDoesNotWaitForTheProbeOfANewEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		old := r.ended("a", many(10)...)
		r.recv.set(status(500))
		r.replay("a", old...)
		r.after(4 * time.Minute) // the breaker opens, and the probe goes with the first replay
		if got := r.waits("a")[old[0]]; !strings.HasPrefix(got, "PROBE ") {
			t.Fatalf("the oldest replay waits for %q, want for a PROBE at some time", got)
		}
		fresh := r.accept("a", "new")[0]
		r.settle()
		if got := r.waits("a"); got[old[0]] != "PROBE" || !strings.HasPrefix(got[fresh], "PROBE ") {
			t.Errorf("the oldest replay waits for %q, want for a PROBE with another; the new event waits for %q, want for one at some time", got[old[0]], got[fresh])
		}
	})
}

func TestWaitsForAPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(500))
		ev := r.accept("a", "m")
		r.after(time.Second)
		r.recv.set(status(410))
		ev = append(ev, r.accept("a", "n", "n")...)
		r.settle()
		suspended := map[string]string{ev[0]: "SUSPENDED", ev[1]: "SUSPENDED", ev[2]: "SUSPENDED"}
		r.wantWaits("a", suspended)
		r.stop()
		r.wantWaits("a", suspended)
		r.start()
		r.wantWaits("a", suspended)
	})
}

// A PUT makes the retries due: their old times say nothing any more.
func TestWaitsForNoTimeThatAPutHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newHookedRig(t)
		r.account("a")
		r.recv.set(status(500))
		ev := r.accept("a", "m", "m")
		r.after(time.Second)
		s.page = func() { time.Sleep(time.Minute) } // so that nothing is read
		r.replace("a", url("a"))
		r.wantWaits("a", map[string]string{ev[0]: "QUEUE", ev[1]: "EARLIER_EVENT"})
		r.settle()
		r.wantWaits("a", map[string]string{ev[0]: "QUEUE", ev[1]: "EARLIER_EVENT"})
	})
}

func TestWaitsForNothingWithoutAWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(500))
		ev := r.accept("a", "m")
		r.after(time.Second)
		page, err := r.store.Deliveries(context.Background(), store.DeliveryQuery{AccountID: "a", Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		got := r.disp.Waits("a", nil, page.Deliveries, time.Now())
		if want := []store.Wait{{For: store.ForTurn}}; !cmp.Equal(want, got) {
			t.Errorf("%s, which is about to be cancelled: got %v, want %v", ev[0], got, want)
		}
	})
}
