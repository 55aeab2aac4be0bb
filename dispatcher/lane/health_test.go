package lane_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/recapito/recapito/dispatcher/lane"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// failTimes lets an endpoint fail so often and returns whether the last opened the
// breaker.
func failTimes(h *lane.Health, n int, now time.Time) (opened bool) {
	for range n {
		opened = h.Failed(lane.Failure{Started: now}, now)
	}
	return opened
}

func TestLimitDoublesARoundUntilTheFirstOverload(t *testing.T) {
	h := lane.NewHealth()
	for round, want := range []int{2, 4, 8, 16, 32, 64, 64} {
		limit := h.Limit.N()
		for range limit {
			h.Acknowledged(time.Millisecond, limit)
		}
		if got := h.Limit.N(); got != want {
			t.Errorf("after round %d: limit %d, want %d", round, got, want)
		}
	}
	for range 200 {
		h.Acknowledged(time.Millisecond, lane.MaxLimit)
	}
	if got := h.Limit.N(); got != lane.MaxLimit {
		t.Errorf("limit %d after many successes, want %d", got, lane.MaxLimit)
	}
}

func TestOverloadHalvesTheLimitOnceForThoseUnderWay(t *testing.T) {
	h := lane.NewHealth()
	for range 200 {
		h.Acknowledged(time.Millisecond, lane.MaxLimit)
	}
	for i := range 8 { // all began before the first of them ended
		h.Failed(lane.Failure{Overload: true, Started: start}, start.Add(time.Duration(i+1)*time.Second))
	}
	if got := h.Limit.N(); got != 32 {
		t.Errorf("limit %d, want 32", got)
	}
	h.Failed(lane.Failure{Overload: true, Started: start.Add(2 * time.Second)}, start.Add(3*time.Second))
	if got := h.Limit.N(); got != 16 {
		t.Errorf("limit %d after an attempt that began since, want 16", got)
	}
	for range 15 {
		h.Acknowledged(time.Millisecond, 16)
	}
	if got := h.Limit.N(); got != 16 {
		t.Errorf("limit %d after 15 successes, want one more after 16 only", got)
	}
}

func TestUnusedLimitDoesNotGrow(t *testing.T) {
	h := lane.NewHealth()
	for range 200 {
		h.Acknowledged(time.Millisecond, 3)
	}
	if got := h.Limit.N(); got != 7 {
		t.Errorf("limit %d with 3 at a time, want 7: more than twice as many", got)
	}
}

func TestBreakerOpensAfterTenFailuresInARow(t *testing.T) {
	h := lane.NewHealth()
	failTimes(&h, 9, start)
	h.Acknowledged(time.Millisecond, 1)
	if failTimes(&h, 9, start) || h.Breaker.Open() {
		t.Error("the breaker opened after 9 failures in a row")
	}
	if !failTimes(&h, 1, start) || !h.Breaker.Open() || h.Proven() {
		t.Errorf("after 10 in a row: open %t, proven %t, want true and false", h.Breaker.Open(), h.Proven())
	}
	if failTimes(&h, 1, start) {
		t.Error("the open breaker opened again")
	}
}

func TestGapBetweenProbesDoublesToFiveMinutes(t *testing.T) {
	h, now, want := lane.NewHealth(), start, 5*time.Second
	failTimes(&h, 10, now)
	for range 12 {
		if got := h.Breaker.NextProbe().Sub(now); got != want {
			t.Errorf("gap %v, want %v", got, want)
		}
		now = h.Breaker.NextProbe()
		h.Breaker.ProbeFailed(now, 0)
		want = min(2*want, 5*time.Minute)
	}
	if !h.Acknowledged(time.Millisecond, 1) || h.Breaker.Open() || h.Limit.N() != 1 {
		t.Errorf("after a success: open %t, limit %d, want it closed and 1", h.Breaker.Open(), h.Limit.N())
	}
}

func TestProbeWaitsForRetryAfterUpToTheLongestGap(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{
		time.Second: 10 * time.Second, time.Minute: time.Minute, 24 * time.Hour: 5 * time.Minute,
	} {
		h := lane.NewHealth()
		failTimes(&h, 10, start)
		h.Breaker.ProbeFailed(start, after)
		if got := h.Breaker.NextProbe().Sub(start); got != want {
			t.Errorf("Retry-After %v: the next probe after %v, want %v", after, got, want)
		}
	}
}

func TestSuccessEndsThePauseAfterATimeout(t *testing.T) {
	h := lane.NewHealth()
	h.Pause(8*time.Second, 0.5, start)
	if got := h.PausedUntil().Sub(start); got != time.Second || !h.Paused(start) || h.Paused(start.Add(time.Second)) {
		t.Errorf("paused for %v, want a half of a quarter of 8s", got)
	}
	h.Acknowledged(time.Millisecond, 1)
	if h.Paused(start) {
		t.Error("paused after a success")
	}
}

// TestHealth plays random answers of an endpoint against what a reader of the
// promises would expect.
func TestHealth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, now := lane.NewHealth(), start
		inARow, slow, acked, open := 0, 0, false, false
		duration := rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.IntRange(1, 20_000).Draw(t, "ms")) * time.Millisecond
		})
		succeed := func(t *rapid.T) {
			closed := h.Acknowledged(duration.Draw(t, "took"), rapid.IntRange(1, 64).Draw(t, "sent"))
			if closed != open {
				t.Fatalf("the breaker closed: %t, want %t", closed, open)
			}
			inARow, acked, open = 0, true, false
		}
		t.Repeat(map[string]func(*rapid.T){
			"time":         func(t *rapid.T) { now = now.Add(duration.Draw(t, "passes")) },
			"acknowledged": succeed,
			"again":        succeed,
			"failed": func(t *rapid.T) {
				f := lane.Failure{Overload: rapid.Bool().Draw(t, "overload"), Silent: rapid.Bool().Draw(t, "silent"), Started: now.Add(-duration.Draw(t, "took"))}
				inARow++
				if opened := h.Failed(f, now); opened != (!open && inARow >= 10) {
					t.Fatalf("failure %d in a row opened the breaker: %t", inARow, opened)
				}
				open = open || inARow >= 10
				acked = acked && !open
				if (f.Silent || inARow >= 3) && !h.Doubted() {
					t.Fatalf("not doubted after %d failures in a row, silent %t", inARow, f.Silent)
				}
			},
			"probe failed": func(t *rapid.T) {
				if !open {
					return
				}
				h.Breaker.ProbeFailed(now, duration.Draw(t, "after"))
				if gap := h.Breaker.NextProbe().Sub(now); gap < 10*time.Second || gap > 5*time.Minute {
					t.Fatalf("the next probe is after %v", gap)
				}
			},
			"slow": func(*rapid.T) { slow++; h.BecameSlow() },
			"slow ended": func(t *rapid.T) {
				if slow > 0 {
					slow--
					h.SlowEnded(rapid.Bool().Draw(t, "blame"))
				}
			},
			"pause": func(t *rapid.T) {
				waited := duration.Draw(t, "waited")
				h.Pause(waited, rapid.Float64Range(0, 1).Draw(t, "part"), now)
				if d := h.PausedUntil().Sub(now); d < 0 || d > waited/4 {
					t.Fatalf("paused for %v after %v", d, waited)
				}
			},
			"put": func(*rapid.T) { h.Forget(); inARow, acked, open = 0, false, false },
			"": func(t *rapid.T) {
				if n := h.Limit.N(); n < 1 || n > lane.MaxLimit {
					t.Fatalf("limit %d", n)
				}
				if h.Breaker.Open() != open || h.Proven() != acked || h.Slow() != slow || (slow > 0 || open) && !h.Doubted() {
					t.Fatalf("open %t, proven %t, %d slow, doubted %t; want %t, %t, %d", h.Breaker.Open(), h.Proven(), h.Slow(), h.Doubted(), open, acked, slow)
				}
			},
		})
	})
}
