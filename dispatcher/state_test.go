package dispatcher_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/store"
)

// recorded is the account's health in the store.
func (r *rig) recorded(account string) store.Health {
	r.t.Helper()
	w, err := r.store.Webhook(context.Background(), account)
	if err != nil {
		r.t.Fatal(err)
	}
	return w.Health
}

func (r *rig) wantRecorded(account string, state store.HealthState, since time.Duration) {
	r.t.Helper()
	h := r.recorded(account)
	if at := h.Since.Sub(r.recv.start); h.State != state || at != since {
		r.t.Errorf("recorded is %s since %v, want %s since %v", h.State, at, state, since)
	}
}

// A restart changes nothing of what is known: the breaker stays open, and probes at
// once with the oldest.
func TestRestartKeepsTheBreakerOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(500))
		ev := r.accept("a", many(50)...)
		r.after(time.Minute)
		r.wantRecorded("a", store.HealthProbing, 0)
		r.stop()
		before := len(r.recv.got())
		r.start()
		r.after(2 * time.Second)
		if calls := r.recv.got()[before:]; len(calls) != 1 || calls[0].ID != ev[0] {
			t.Errorf("attempts after the restart: %+v, want one probe with %s", calls, ev[0])
		}
		r.wantRecorded("a", store.HealthProbing, 0)
		r.recv.set(ok)
		r.after(10 * time.Minute)
		if h := r.recorded("a"); h.State != store.HealthHealthy || !h.Since.After(r.recv.start.Add(time.Minute)) {
			t.Errorf("recorded is %+v, want HEALTHY since it acknowledged", h)
		}
	})
}

// An account without a lane goes on with what was recorded of it, at its next event.
func TestNextLaneTakesUpWhatWasRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.RetrySchedule = []time.Duration{} })
		r.account("a")
		r.recv.set(status(500))
		r.accept("a", many(4)...)
		r.after(time.Hour)
		if n := r.disp.Stats().Lanes; n != 0 {
			t.Fatalf("%d lanes, want none: everything was given up", n)
		}
		r.wantRecorded("a", store.HealthFailing, 0)
		r.accept("a", many(8)...)
		r.after(2 * time.Second)
		if !r.disp.IsOpen("a") {
			t.Error("the breaker is closed after 12 failures in a row, want it open")
		}
	})
}

// An endpoint that hangs is told to be slowed a second later, not at its deadline.
func TestStatesAreRecordedWithinASecondOfAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []store.HealthChange
		r := newRig(t, func(c *dispatcher.Config) {
			c.Tell.Health = func(h store.HealthChange) { changes = append(changes, h) }
		})
		r.account("a")
		r.recv.set(hang)
		r.accept("a", "m")
		r.after(2500 * time.Millisecond) // one is slow after a second, and is looked at 250 ms later
		if h := r.recorded("a"); h.State != store.HealthSlowed {
			t.Errorf("recorded is %s after 2.5 s, want SLOWED", h.State)
		}
		r.recv.set(ok)
		r.after(time.Minute)
		r.recv.set(status(503))
		r.accept("a", "n", "o", "p")
		r.after(time.Second)
		r.recv.set(ok)
		r.after(time.Hour)
		type seen struct {
			From, To store.HealthState
			Error    store.ErrorKind
			Status   int
		}
		var got []seen
		for _, c := range changes {
			next := seen{c.From, c.To, c.Error, c.StatusCode}
			if n := len(got); n > 0 && c.From == store.HealthSlowed && c.To == store.HealthFailing {
				next.From, got = got[n-1].From, got[:n-1] // on its way to FAILING it may be recorded as SLOWED
			}
			got = append(got, next)
		}
		want := []seen{
			{store.HealthHealthy, store.HealthSlowed, "", 0}, {store.HealthSlowed, store.HealthHealthy, "", 0},
			{store.HealthHealthy, store.HealthFailing, store.HTTPStatus, 503}, {store.HealthFailing, store.HealthHealthy, "", 0},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}
