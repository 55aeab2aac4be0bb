package server

import (
	"fmt"
	"testing"
	"time"
)

// Memory is bounded by the callers of the last two windows.
func TestLimiterForgetsIdleCallers(t *testing.T) {
	l := newLimiter(2)
	now := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	for i := range 10_000 {
		l.take(fmt.Sprint("acc_", i), now)
	}
	for range 20 { // one caller that always asks
		now = now.Add(l.window)
		l.take("acc_0", now)
	}
	if got := len(l.buckets); got > 2 {
		t.Errorf("buckets: got %d, want the one in use, and one at most besides", got)
	}
}

// What is dropped is as good as new: a sweep gives nobody more than a full
// bucket.
func TestLimiterGrantsNoMoreThanItsRate(t *testing.T) {
	l := newLimiter(5)
	now := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	granted := 0
	const gap, asked = 10 * time.Millisecond, 60_000 // ten minutes of it
	for range asked {
		if l.take("acc", now).granted {
			granted++
		}
		now = now.Add(gap)
	}
	if want := 50 + 5*600; granted < want-1 || granted > want+1 {
		t.Errorf("granted: got %d, want %d: a burst of 50 and 5 a second", granted, want)
	}
}
