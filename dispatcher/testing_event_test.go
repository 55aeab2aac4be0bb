package dispatcher_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// A test goes out at once while the breaker is open, while the webhook is
// suspended, and beside an attempt that hangs; and whatever comes of it, nothing of
// the lane, of the store or of the schedule changes.
func TestTestEventChangesNothing(t *testing.T) {
	isTest := func(c call) bool { return strings.HasPrefix(c.ID, "test_") }
	for name, answer := range map[string]func(context.Context, call) egress.Result{
		"breaker open": status(500), "suspended": status(410), "attempt under way": hang,
	} {
		for outcome, res := range map[string]egress.Result{
			"acknowledged": {Kind: egress.Acknowledged, StatusCode: 204}, "gone": {Kind: egress.HTTPStatus, StatusCode: 410},
			"overloaded": {Kind: egress.HTTPStatus, StatusCode: 429, RetryAfter: "86400"}, "silent": {Kind: egress.Timeout},
		} {
			t.Run(name+", "+outcome, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					arrivals := func(test bool) (seen []string, told map[string]string) {
						r := newRig(t)
						r.account("a")
						r.recv.set(func(ctx context.Context, c call) egress.Result {
							if isTest(c) {
								return res
							}
							return answer(ctx, c)
						})
						r.accept("a", many(12)...)
						r.settle()
						if test {
							w, err := r.store.Webhook(context.Background(), "a")
							if err != nil {
								t.Fatal(err)
							}
							a, _ := r.disp.Test(context.Background(), &w, "test_1", []byte(`{}`))
							if got := a.StatusCode; got != res.StatusCode || a.Number != 1 {
								t.Errorf("the test: status %d, number %d, want %d, 1", got, a.Number, res.StatusCode)
							}
							last := r.recv.got()[len(r.recv.got())-1]
							if !isTest(last) {
								t.Errorf("the last call is %s, want the test", last.ID)
							}
						}
						r.after(10 * time.Minute)
						for _, c := range r.recv.got() {
							if !isTest(c) {
								seen = append(seen, c.At.String()+" "+c.ID)
							}
						}
						return seen, r.waits("a")
					}
					without, waits := arrivals(false)
					with, waitsAfter := arrivals(true)
					if diff := cmp.Diff(without, with); diff != "" {
						t.Errorf("attempts (-without a test +with one):\n%s", diff)
					}
					if diff := cmp.Diff(waits, waitsAfter); diff != "" {
						t.Errorf("what the deliveries wait for (-without a test +with one):\n%s", diff)
					}
				})
			})
		}
	}
}

// What is no fault of the endpoint is told as the service's.
func TestTestEventThatWasNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		w, err := r.store.Webhook(context.Background(), "a")
		if err != nil {
			t.Fatal(err)
		}
		for name, answer := range map[string]func(context.Context, call) egress.Result{
			"no way out":  func(context.Context, call) egress.Result { return egress.Result{Kind: egress.NoWayOut} },
			"no file":     func(context.Context, call) egress.Result { return egress.Result{Kind: egress.Exhausted} },
			"interrupted": func(context.Context, call) egress.Result { return egress.Result{Kind: egress.Interrupted} },
			"panic":       func(context.Context, call) egress.Result { panic("a fault") },
		} {
			r.recv.set(answer)
			if a, _ := r.disp.Test(context.Background(), &w, "test_1", nil); a.Error != store.InternalError {
				t.Errorf("%s: got %q, want INTERNAL_ERROR", name, a.Error)
			}
		}
	})
}
