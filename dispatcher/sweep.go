package dispatcher

import (
	"context"
	"time"
)

const (
	sweepRows = 500         // removed in one commit
	sweepGap  = time.Minute // between looks when there is nothing to remove
	// sweepPause lets deliveries go first while there is much to remove.
	sweepPause = 20 * time.Millisecond
)

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
		n, err := d.cfg.Store.Sweep(ctx, time.Now().Add(-d.cfg.Retention), sweepRows)
		if err != nil && ctx.Err() == nil {
			d.cfg.Logger.Error("removing old deliveries failed", "error", err)
		}
		gap := sweepGap
		if n == sweepRows {
			gap = sweepPause
		}
		timer.Reset(gap)
	}
}
