package dispatcher_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// following notes what is followed, and what requests say of their trace.
type following struct {
	dispatcher.Sender
	mu    sync.Mutex
	notes []string
}

func (f *following) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

func (f *following) Post(ctx context.Context, r *egress.Request) egress.Result {
	f.note("%s: traceparent %q", field(r, "Webhook-Id"), field(r, "Traceparent"))
	return f.Sender.Post(ctx, r)
}

// TestFollowedAttempts: each attempt of an event with a traceparent is followed, and no
// other.
func TestFollowedAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, begin := &following{}, time.Now()
		r := newRig(t, func(c *dispatcher.Config) {
			f.Sender, c.Sender = c.Sender, f
			c.Follow = func(a *dispatcher.Followed) (string, func(*store.Outcome)) {
				f.note("%s of %s at %s: due at %s, started at %s", a.Delivery.EventID, a.Delivery.Traceparent, a.Host, a.Due.Sub(begin), a.Started.Sub(begin))
				return "own", func(o *store.Outcome) { f.note("attempt %d: %s", o.Attempt.Number, o.State) }
			}
		})
		r.account("a")
		r.recv.set(status(500))
		_, err := r.store.Accept(t.Context(), []store.Event{
			{AccountID: "a", ID: "followed", MessageID: "m", Channel: "SMS", Payload: []byte(`{"v":1}`), Traceparent: "given"},
		}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.recv.set(ok)
		r.after(5 * time.Second)
		others := r.accept("a", "other")
		r.settle()
		if diff := cmp.Diff([]string{
			"followed of given at a.example: due at 0s, started at 0s", `followed: traceparent "own"`, "attempt 1: PENDING",
			"followed of given at a.example: due at 5s, started at 5s", `followed: traceparent "own"`, "attempt 2: DELIVERED",
			others[0] + `: traceparent ""`,
		}, f.notes); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
