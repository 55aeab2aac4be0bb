package dispatcher

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	sweepGap = time.Minute // between looks when there is nothing to remove
	// sweepPause is the time between two commits that remove deliveries, unless
	// so many are owed that the next one removes maxSweep.
	sweepPause = 25 * time.Millisecond
	// minSweep and maxSweep bound what one commit removes.
	minSweep = 25
	maxSweep = 500
	// maxOwed bounds what is owed, so that a long backlog of removals is not
	// removed all at once.
	maxOwed = 4 * maxSweep
)

// owing is how many deliveries a sweep is to remove: half as many again as are
// accepted, so that it catches up. It does not remove as fast as it could:
// removing costs the store as much as accepting, and would slow down deliveries
// (at 2,000 events a second, their p99 was doubled).
type owing int

func (o *owing) accepted(n int) { *o = min(*o+owing(n*3/2), maxOwed) }

// next is how many the next commit removes.
func (o owing) next() int { return min(max(int(o), minSweep), maxSweep) }

// removed notes that a commit removed n of so many, and returns the time until
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

// sweeper removes finished deliveries when their retention ends.
type sweeper struct {
	accepted atomic.Int64              // deliveries, since it last looked
	swept    atomic.Pointer[time.Time] // when it did; nil: not yet
}

// run removes them in small batches, until ctx ends.
func (s *sweeper) run(ctx context.Context, cfg *Config) {
	timer := time.NewTimer(sweepGap)
	defer timer.Stop()
	var owed owing
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		owed.accepted(int(s.accepted.Swap(0)))
		size := owed.next()
		n, err := cfg.Store.Sweep(ctx, time.Now(), cfg.Retention, size)
		switch {
		case err == nil:
			now := time.Now()
			s.swept.Store(&now)
		case ctx.Err() == nil:
			cfg.Logger.Error("removing old deliveries failed", "error", err)
		}
		timer.Reset(owed.removed(n, size))
	}
}

// last is when it last looked; zero: not yet.
func (s *sweeper) last() (at time.Time) {
	if swept := s.swept.Load(); swept != nil {
		at = *swept
	}
	return at
}
