package egress

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// How long a handshake waits for our processors is in no phase of the attempt.
func TestWaitForATurnIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := &turn{turns: make(turns, 1), ctx: t.Context()}
		if err := busy.take(); err != nil || busy.waited != 0 {
			t.Errorf("a free turn: %v after a wait of %v, want it at once", err, busy.waited)
		}
		time.AfterFunc(time.Second, busy.leave)
		next := &turn{turns: busy.turns, ctx: t.Context()}
		if err := next.take(); err != nil || next.waited != time.Second {
			t.Errorf("a turn that was given back after 1 s: %v, waited %v, want 1 s", err, next.waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		late := &turn{turns: busy.turns, ctx: ctx}
		if err := late.take(); err == nil || !late.none || late.waited != 2*time.Second {
			t.Errorf("no turn before the deadline: %v, waited %v, want an error after 2 s", err, late.waited)
		}
	})
}
