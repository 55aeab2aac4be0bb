package dispatcher

import (
	"context"
	"time"
)

const (
	sweepGap = time.Minute // between looks when there is nothing to remove
	// sweepPause is between two commits that remove something, unless so much is
	// owed that the next one removes maxSweep.
	sweepPause = 25 * time.Millisecond
	// minSweep and maxSweep bound what one commit removes.
	minSweep = 25
	maxSweep = 500
	// maxOwed: what was accepted in a long while is not removed all at once.
	maxOwed = 4 * maxSweep
)

// owing is how many deliveries a sweep is to remove: half as many again as are
// accepted, so that it catches up, but not as many as it could. Removing costs
// the store as much as accepting, and those who wait for a delivery would feel
// it (at 2,000 events a second, their p99 was doubled).
type owing int

func (o *owing) accepted(n int) { *o = min(*o+owing(n*3/2), maxOwed) }

// next is how many the next commit removes.
func (o owing) next() int { return min(max(int(o), minSweep), maxSweep) }

// removed takes in that a commit removed n of so many, and returns the time to
// the next.
func (o *owing) removed(n, of int) (gap time.Duration) {
	*o = max(0, *o-owing(n))
	switch {
	case n < of: // there are no more
		*o = 0
		return sweepGap
	case *o >= maxSweep:
		return 0
	}
	return sweepPause
}

// sweep removes finished deliveries when their retention ends, in batches
// small enough not to be felt, until ctx ends.
func (d *Dispatcher) sweep(ctx context.Context) {
	timer := time.NewTimer(sweepGap)
	defer timer.Stop()
	var owed owing
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		owed.accepted(d.takeAccepted())
		size := owed.next()
		n, err := d.cfg.Store.Sweep(ctx, time.Now(), d.cfg.Retention, size)
		if err != nil && ctx.Err() == nil {
			d.cfg.Logger.Error("removing old deliveries failed", "error", err)
		}
		timer.Reset(owed.removed(n, size))
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
