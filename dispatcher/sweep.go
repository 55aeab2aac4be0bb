package dispatcher

import (
	"context"
	"time"
)

const (
	sweepGap = time.Minute // between looks when there is nothing to remove
	// sweepPause is between two commits that remove something.
	sweepPause = 25 * time.Millisecond
	// minSweep and maxSweep bound what one commit removes.
	minSweep = 25
	maxSweep = 500
)

// sweepSize is how many deliveries a commit removes after so many were accepted
// since the last one: more, so that it catches up, but not as many as it could.
// Removing costs the store as much as accepting, and those who wait for a
// delivery would feel it (at 2,000 events a second, their p99 was doubled).
func sweepSize(accepted int) int { return min(max(accepted*3/2, minSweep), maxSweep) }

// sweep removes finished deliveries when their retention ends, in batches
// small enough not to be felt, until ctx ends.
func (d *Dispatcher) sweep(ctx context.Context) {
	timer := time.NewTimer(sweepGap)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		size := sweepSize(d.takeAccepted())
		n, err := d.cfg.Store.Sweep(ctx, time.Now().Add(-d.cfg.Retention), size)
		if err != nil && ctx.Err() == nil {
			d.cfg.Logger.Error("removing old deliveries failed", "error", err)
		}
		gap := sweepGap
		if n == size {
			gap = sweepPause
		}
		timer.Reset(gap)
	}
}

// takeAccepted says how many deliveries were accepted since it was last asked.
func (d *Dispatcher) takeAccepted() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.accepted
	d.accepted = 0
	return n
}
