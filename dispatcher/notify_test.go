package dispatcher_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// platform registers the platform's webhook at this URL.
func (r *rig) platform(url string) {
	r.t.Helper()
	_, err := r.store.CreateWebhook(context.Background(), store.Webhook{AccountID: store.Operations, ID: "wh_p", CallbackURL: url, Status: store.Active, Secret: store.NewSecret(), CreatedAt: time.Now()})
	if err != nil {
		r.t.Fatal(err)
	}
}

const platformURL = "https://platform.example/"

func TestPlatformIsToldOfDeliveriesGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.RetrySchedule = []time.Duration{time.Second} })
		r.platform(platformURL)
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if c.URL == platformURL {
				return ok(ctx, c)
			}
			return status(500)(ctx, c)
		})
		r.accept("a", many(3)...)
		r.after(3 * time.Minute)
		told := 0
		for _, c := range r.recv.got() {
			if c.URL == platformURL {
				told++
			}
		}
		r.wantStates(map[store.State]int64{store.Failed: 3, store.Delivered: 3})
		if told != 3 {
			t.Errorf("the platform got %d events, want 3: a webhook registered, deliveries given up, and an endpoint that fails", told)
		}
	})
}

// TestPlatformIsToldOfAnEndpointThatFails: of one that does for a minute or longer, and of
// its end; of a shorter failure nothing.
func TestPlatformIsToldOfAnEndpointThatFails(t *testing.T) {
	for name, tt := range map[string]struct {
		down time.Duration
		want int
	}{"long": {10 * time.Minute, 3}, "short": {15 * time.Second, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.platform(platformURL)
				r.account("a")
				r.recv.set(func(ctx context.Context, c call) egress.Result {
					if c.URL == platformURL || c.At > tt.down {
						return ok(ctx, c)
					}
					return status(500)(ctx, c)
				})
				r.accept("a", many(5)...)
				r.after(time.Hour)
				told := 0
				for _, c := range r.recv.got() {
					if c.URL == platformURL {
						told++
					}
				}
				if told != tt.want {
					t.Errorf("the platform got %d events, want %d: a webhook registered, and if it lasts the failure and its end", told, tt.want)
				}
			})
		})
	}
}

// TestPlatformsDeadCallbackSlowsNobody: it hangs, and events for it gather.
func TestPlatformsDeadCallbackSlowsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.MaxInFlight = 4 })
		r.platform(platformURL)
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if c.URL == platformURL {
				return hang(ctx, c)
			}
			return ok(ctx, c)
		})
		for range 100 {
			r.replace("a", url("a"))
		}
		r.after(time.Hour)
		began := time.Now()
		r.accept("a", many(20)...)
		r.settle()
		arrived := 0
		for _, c := range r.recv.got() {
			if strings.HasPrefix(c.URL, "https://a.") {
				arrived++
			}
		}
		if took := time.Since(began); arrived != 20 || took > 0 {
			t.Errorf("%d of 20 events arrived in %v, want all at once", arrived, took)
		}
	})
}
