package dispatcher_test

import (
	"testing"

	"github.com/recapito/recapito/dispatcher"
)

// A sweep gains on what is accepted, and makes no commit long.
func TestSweepSize(t *testing.T) {
	for accepted, want := range map[int]int{0: 25, 10: 25, 50: 75, 200: 300, 1_000_000: 500} {
		if got := dispatcher.SweepSize(accepted); got != want {
			t.Errorf("after %d accepted: got %d, want %d", accepted, got, want)
		}
	}
}
