package dispatcher_test

import (
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher"
)

func TestSweepSize(t *testing.T) {
	for accepted, want := range map[int]int{0: 25, 10: 25, 50: 75, 200: 300, 1_000_000: 500} {
		var owed dispatcher.Owing
		owed.Accepted(accepted)
		if got := owed.Next(); got != want {
			t.Errorf("after %d accepted: got %d, want %d", accepted, got, want)
		}
	}
}

// A sweep gains on what is accepted, at any rate, and makes no commit long. One
// of its commits takes 10 ms here, in which events are accepted as well.
func TestSweepGains(t *testing.T) {
	const commit = 10 * time.Millisecond
	for _, rate := range []int{0, 100, 2_000, 12_000, 30_000} { // a second
		held, largest := 100_000+rate, 0
		var owed dispatcher.Owing
		for at, gap := time.Duration(0), time.Duration(0); at < 10*time.Second; at += commit + gap {
			accepted := int(float64(rate) * (commit + gap).Seconds())
			held += accepted
			owed.Accepted(accepted)
			n := owed.Next()
			held -= n
			largest = max(largest, n)
			gap = owed.Removed(n, n)
		}
		if held >= 100_000+rate {
			t.Errorf("at %d a second: %d are held after 10 s, want fewer than the %d before", rate, held, 100_000+rate)
		}
		if largest > 500 {
			t.Errorf("at %d a second: one commit removed %d, want 500 at most", rate, largest)
		}
	}
}

// What was accepted while there was nothing to remove is no debt.
func TestSweepRests(t *testing.T) {
	var owed dispatcher.Owing
	owed.Accepted(1_000_000)
	if gap := owed.Removed(3, owed.Next()); gap != time.Minute {
		t.Errorf("next look: in %v, want 1m", gap)
	}
	if n := owed.Next(); n != 25 {
		t.Errorf("next commit: %d, want 25", n)
	}
}

// After a minute of many, a few commits without a pause pay the debt.
func TestSweepPausesSoon(t *testing.T) {
	var owed dispatcher.Owing
	owed.Accepted(1_000_000)
	commits := 1
	for owed.Removed(500, owed.Next()) == 0 {
		if commits++; commits > 4 {
			t.Fatalf("no pause after %d commits, want one after 4 at most", commits)
		}
	}
}
