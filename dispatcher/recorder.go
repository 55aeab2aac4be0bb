package dispatcher

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// recorder hands outcomes to the store. What cannot be recorded is divided by
// lane until the lanes are found whose outcomes fail; these are tried again by
// themselves, and the rest goes on. The recorder's goroutine owns it.
type recorder struct {
	d        *Dispatcher
	groups   []*group  // set apart
	turn     bool      // a group is next, if one is due
	failures int       // in a row, whatever was tried
	pause    time.Time // nothing is tried before
}

// group are lanes whose outcomes could not be recorded with those of others. They
// start no attempts, and their further outcomes join the group. The recorder's
// goroutine owns it, but for the pointers to it in the lanes.
type group struct {
	lanes   []*lane
	records []record
	gap     time.Duration // between the tries, once it is a single lane
	at      time.Time     // of the next try
}

const (
	// minTryGap is the pause after a failure, which doubles with each that
	// follows, up to maxTryGap: a store that fails is not asked more often.
	minTryGap = 10 * time.Millisecond
	maxTryGap = time.Second
	// minGroupGap and maxGroupGap bound the time between the tries of one lane.
	minGroupGap = 50 * time.Millisecond
	maxGroupGap = 10 * time.Second
)

// recordLoop writes outcomes, all that have come while the last ones were
// written in one commit, until ctx ends and none is left. Then it tries for
// lastRecords more: outcomes are idempotent, and a failed commit may have
// happened.
func (d *Dispatcher) recordLoop(ctx context.Context) {
	r := recorder{d: d}
	var last time.Time
	for {
		now := time.Now()
		ending := ctx.Err() != nil
		if ending {
			last = earliest(last, now.Add(lastRecords))
		}
		batch, g := r.next(now, ending)
		switch {
		case len(batch) > 0:
			r.try(ctx, batch, g)
		case ending && (r.isEmpty() || !now.Before(last)):
			return
		default:
			r.wait(ctx, now, last)
		}
		if ending && !time.Now().Before(last) {
			return
		}
	}
}

// next takes what is to be tried now: a group that is due, or else a batch. At the
// end every group is due.
func (r *recorder) next(now time.Time, ending bool) ([]record, *group) {
	if now.Before(r.pause) {
		return nil, nil
	}
	i := slices.IndexFunc(r.groups, func(g *group) bool { return ending || !now.Before(g.at) })
	r.turn = !r.turn
	if i < 0 || !r.turn {
		if batch := r.d.takeRecords(); len(batch) > 0 {
			return batch, nil
		}
	}
	if i < 0 {
		return nil, nil
	}
	return r.groups[i].records, r.groups[i]
}

func (r *recorder) isEmpty() bool {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	return len(r.groups) == 0 && len(r.d.pending) == 0
}

// wait returns when there may be something to try, at last at the latest.
func (r *recorder) wait(ctx context.Context, now, last time.Time) {
	next, done := last, ctx.Done()
	if !last.IsZero() {
		done = nil // it has ended
	}
	for _, g := range r.groups {
		next = earliest(next, latest(g.at, r.pause))
	}
	if now.Before(r.pause) {
		next = earliest(next, r.pause)
	}
	gap := idleGap
	if !next.IsZero() {
		gap = next.Sub(now)
	}
	timer := time.NewTimer(gap)
	defer timer.Stop()
	select {
	case <-r.d.outcomes:
	case <-timer.C:
	case <-done:
	}
}

// try records a batch or a group. When that fails although the store works, it
// is something of one of the lanes: both halves are tried by themselves, a single
// lane later.
func (r *recorder) try(ctx context.Context, batch []record, g *group) {
	err := r.d.record(ctx, batch)
	r.groups = slices.DeleteFunc(r.groups, func(o *group) bool { return o == g })
	if err == nil {
		r.failures = 0
		r.d.recorded(batch, g)
		return
	}
	if errors.Is(err, store.ErrFenced) {
		r.d.fenced(batch, g)
		return
	}
	r.failures++
	now := time.Now()
	r.pause = now.Add(min(minTryGap<<min(r.failures, 10), maxTryGap))
	lanes := lanesOf(batch)
	log := r.d.cfg.Logger.With("outcomes", len(batch), "error", err)
	switch {
	case r.d.storeFails(ctx):
		log.Error("recording outcomes failed; they will be tried again")
		if g != nil {
			r.groups = append(r.groups, g)
		} else {
			r.d.putBack(batch)
		}
	case len(lanes) == 1:
		next := &group{lanes: lanes, records: batch, gap: minGroupGap}
		if g != nil {
			next.gap = min(max(2*g.gap, minGroupGap), maxGroupGap)
		}
		next.at = now.Add(next.gap)
		log.Error("recording an account's outcomes failed; they will be tried again, and nothing is attempted for it until then",
			"account", lanes[0].account, "next", next.at)
		r.setApart(g, next)
	default:
		log.Error("recording outcomes failed; they will be tried again, those of some accounts by themselves")
		half := lanes[:len(lanes)/2]
		one, other := &group{lanes: half, at: now}, &group{lanes: lanes[len(half):], at: now}
		for i := range batch {
			to := other
			if slices.Contains(half, batch[i].lane) {
				to = one
			}
			to.records = append(to.records, batch[i])
		}
		r.setApart(g, one, other)
	}
}

// setApart puts groups in the place of a group or, if that is nil, of a batch.
func (r *recorder) setApart(before *group, groups ...*group) {
	r.groups = append(r.groups, groups...)
	now := time.Now()
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	for _, g := range groups {
		if before == nil {
			r.d.apart += len(g.records)
			r.d.writing = 0
		}
		for _, l := range g.lanes {
			l.group = g
			r.d.reconsider(l, now)
		}
	}
}

func lanesOf(batch []record) (lanes []*lane) {
	seen := map[*lane]bool{}
	for i := range batch {
		if l := batch[i].lane; !seen[l] {
			seen[l] = true
			lanes = append(lanes, l)
		}
	}
	return lanes
}

// record writes outcomes in one commit.
func (d *Dispatcher) record(ctx context.Context, batch []record) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRecords)
	defer cancel()
	defer d.survive("recording outcomes", "", &err)
	outcomes := make([]store.Outcome, len(batch))
	for i := range batch {
		outcomes[i] = batch[i].outcome
	}
	return d.cfg.Store.Record(ctx, outcomes, time.Now())
}

// storeFails reports whether the store records nothing, whosever it is.
func (d *Dispatcher) storeFails(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRecords)
	defer cancel()
	return d.cfg.Store.Ready(ctx) != nil
}

func (d *Dispatcher) takeRecords() []record {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.apart > 0 {
		d.pending = slices.DeleteFunc(d.pending, func(r record) bool {
			g := r.lane.group
			if g != nil {
				g.records = append(g.records, r)
				d.apart++
			}
			return g != nil
		})
	}
	n, most := 0, min(len(d.pending), recordBatch)
	for failures := 0; n < most && failures < failureBatch; n++ {
		if !d.pending[n].outcome.AtFirst() {
			failures++
		}
	}
	batch := d.pending[:n:n]
	d.pending = d.pending[n:]
	if len(d.pending) == 0 {
		d.pending = nil
	}
	d.writing = n
	return batch
}

// putBack undoes takeRecords.
func (d *Dispatcher) putBack(batch []record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending = slices.Concat(batch, d.pending)
	d.writing = 0
}
