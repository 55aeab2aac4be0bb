package lane_test

import (
	"context"
	"time"

	"pgregory.net/rapid"

	"github.com/recapito/recapito/dispatcher/lane"
	"github.com/recapito/recapito/store"
)

// noteChange holds that changes of state are recorded one after the other, with a
// second between them.
func (w *life) noteChange(c *lane.HealthChange) {
	if c == nil {
		return
	}
	if w.changing != nil || w.now.Sub(w.emitted) < time.Second && c.To != store.HealthProbing {
		w.Fatalf("%+v is to be recorded %v after the last change; before it: %+v", c.HealthChange, w.now.Sub(w.emitted), w.changing)
	}
	w.changing, w.emitted = c, w.now
}

// recordChange records the change of state that waits for it, or fails to.
func (w *life) recordChange(fails bool) {
	w.ready()
	c := w.changing
	if c == nil {
		return
	}
	w.tell()
	w.changing = nil
	if fails {
		w.lane.HealthRefused(c, w.now)
		w.emitted = w.now // it is tried again a second later
		return
	}
	w.must(w.store.RecordHealth(context.Background(), []store.HealthChange{c.HealthChange}))
	w.lane.HealthRecorded(c)
}

// countFailure notes what an attempt said of the endpoint.
func (w *life) countFailure(a *lane.Attempt, res *lane.Result, current bool) {
	switch {
	case !current || res.Internal || res.Attempt.StatusCode == 410:
	case res.Attempt.Error != "":
		if !a.Probe {
			w.failures++
		}
	default:
		w.failures = 0
		if s := w.lane.State(); s == store.HealthFailing || s == store.HealthProbing {
			w.Fatalf("the state is %s after an acknowledgement", s)
		}
	}
}

// checkState holds what is told of the endpoint against what the lane does, and what is
// recorded against both: no later than a second after a change.
func (w *life) checkState() {
	state := w.lane.State()
	if state == "" {
		return
	}
	switch failing := state == store.HealthFailing || state == store.HealthProbing; {
	case state == store.HealthSuspended && w.lane.Runnable(w.now), state != store.HealthSuspended && (w.lane.Suspended() || w.gone):
		w.Fatalf("the state is %s; the webhook is suspended: %t, has answered 410: %t, and its lane may go on: %t", state, w.lane.Suspended(), w.gone, w.lane.Runnable(w.now))
	case state == store.HealthSuspended:
	case (state == store.HealthProbing) != w.lane.Open():
		w.Fatalf("the state is %s; the breaker is open: %t", state, w.lane.Open())
	case w.failures >= 3 && !failing:
		w.Fatalf("the state is %s after %d failures in a row", state, w.failures)
	case state == store.HealthHealthy && w.lane.Doubted(), failing && !w.lane.Doubted():
		w.Fatalf("the state is %s; the lane is suspect: %t", state, w.lane.Doubted())
	}
	w.ready()
	h := w.webhook().Health
	if w.changing != nil || w.now.Sub(w.emitted) < time.Second || state == store.HealthSuspended {
		return
	}
	if shown := w.lane.Shown(); shown.State != state || h.State != state || !h.Since.Equal(shown.Since) {
		w.Fatalf("the state is %s, told is %s since %v, and recorded %s since %v", state, shown.State, shown.Since, h.State, h.Since)
	}
}

// restart kills the process. The next one goes on with what was recorded, so that
// nothing changes of the state.
func (w *life) restart(t *rapid.T) {
	w.tell()
	w.ready()
	w.recordSome(rapid.IntRange(0, len(w.outcomes)).Draw(t, "recorded"))
	for _, e := range w.events {
		e.acked = e.acked && !w.pending(e)
	}
	w.open, w.outcomes, w.asked, w.changing, w.stream = nil, nil, nil, nil, stream{}
	w.broken, w.acked, w.gone, w.failures, w.emitted = time.Time{}, false, false, 0, time.Time{}
	w.lane = lane.New(config, "a", lane.Scan{Gained: w.now})
	w.lane.SetApart(w.apart)
	for w.lane.State() == "" && w.ask() {
		w.answer()
	}
	h := w.webhook().Health
	if shown := w.lane.Shown(); w.lane.State() != "" && (w.lane.State() != h.State || shown.State != h.State || !shown.Since.Equal(h.Since)) {
		w.Fatalf("after a restart the state is %s, told is %s since %v; recorded was %s since %v", w.lane.State(), shown.State, shown.Since, h.State, h.Since)
	}
}
