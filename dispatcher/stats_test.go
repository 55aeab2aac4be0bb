package dispatcher_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
)

// TestDueSinceByHealth: since when something has been due, of each kind of lane: by
// what waits for its turn, for a probe, for a PUT, or has been put off and is due. What
// is under way, or put off until later, is not due.
func TestDueSinceByHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		start := time.Now()
		want := func(when string, want map[string]time.Duration) {
			t.Helper()
			got := map[string]time.Duration{}
			for word, since := range r.disp.Stats().DueSince {
				got[word] = since.Sub(start)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
			if err := r.disp.Check(); err != nil {
				t.Error(err)
			}
		}
		answers := map[string]func(context.Context, call) egress.Result{"open": status(500), "gone": status(410), "slow": func(ctx context.Context, c call) egress.Result {
			time.Sleep(800 * time.Millisecond)
			return ok(ctx, c)
		}}
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			return answers[strings.TrimSuffix(host(c.URL), ".example")](ctx, c)
		})
		r.account("open")
		r.account("gone")
		r.account("slow")
		r.after(time.Second)
		r.accept("open", many(20)...)
		r.after(time.Second)
		r.accept("gone", "m")
		r.settle()
		want("one is probed, one suspended", map[string]time.Duration{"open": time.Second, "suspended": 2 * time.Second})
		r.after(time.Second)
		r.accept("gone", many(10)...)
		r.accept("slow", many(3)...)
		r.after(700 * time.Millisecond)
		want("one of three is under way", map[string]time.Duration{"open": time.Second, "suspended": 2 * time.Second, "healthy": 3 * time.Second})
		r.after(2 * time.Second)
		want("these have ended", map[string]time.Duration{"open": time.Second, "suspended": 2 * time.Second})
		r.stop()
		r.start()
		r.after(time.Minute)
		want("after a restart", map[string]time.Duration{"open": time.Second, "suspended": 2 * time.Second})
		answers["open"], answers["gone"] = ok, ok
		if _, err := r.store.ReplaceCallbackURL(t.Context(), "gone", url("gone"), time.Now()); err != nil {
			t.Fatal(err)
		}
		r.after(10 * time.Minute)
		want("all is delivered", map[string]time.Duration{})
		r.wantStates(map[store.State]int64{store.Delivered: 34})
	})
}

// BenchmarkStats reads the gauges of 100,000 lanes, of which each has something due.
func BenchmarkStats(b *testing.B) {
	for _, lanes := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(lanes), func(b *testing.B) {
			d, err := dispatcher.WithLanes(lanes, memory.New(memory.Config{}), &receiver{})
			if err != nil {
				b.Fatal(err)
			}
			if n := d.Stats().DueSince; len(n) != 1 {
				b.Fatalf("%v, want that something is due", n)
			}
			b.ReportAllocs()
			for b.Loop() {
				d.Stats()
			}
		})
	}
}
