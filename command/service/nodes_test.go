package service

import (
	"testing"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
)

// TestHandOffsAreTimedByStream: from the acceptance on, by who accepted; never less than
// no time, though the other node's clock is ahead.
func TestHandOffsAreTimedByStream(t *testing.T) {
	m, st, d := watched(t)
	var took []time.Duration
	l := listenerOf(st, d, func(foreign bool, d time.Duration) {
		took = append(took, d)
		m.handedOff(foreign, d)
	})
	of := func(foreign bool, ago time.Duration) store.Acceptance {
		return store.Acceptance{Foreign: foreign, Delivery: store.Delivery{AcceptedAt: time.Now().Add(-ago)}}
	}
	l.Accepted([]store.Acceptance{of(false, time.Hour), of(true, time.Minute), of(true, -time.Hour)})
	if len(took) != 3 || took[0] < time.Hour || took[1] < time.Minute || took[1] >= time.Hour || took[2] != 0 {
		t.Errorf("handed over after %v, want 1h, 1m and 0s, and what the test took", took)
	}
	for stream, want := range map[string]float64{"own": 1, "foreign": 2} {
		if got := counted(t, m, "recapito_handoff_seconds", stream); got != want {
			t.Errorf("%s: %v handed over, want %v", stream, got, want)
		}
	}
	if alone := listenerOf(memory.New(memory.Config{}), d, nil); alone != store.Listener(d) {
		t.Errorf("a store of one process tells %T, want the dispatcher itself", alone)
	}
}
