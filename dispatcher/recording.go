package dispatcher

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/recapito/recapito/dispatcher/lane"
	"github.com/recapito/recapito/store"
)

// recording hands outcomes to the store. What cannot be recorded is divided by
// lane until the lanes are found whose outcomes fail; these are tried again by
// themselves, and the rest goes on. The recorder's goroutine owns it.
type recording struct {
	d        *Dispatcher
	groups   []*group  // set apart
	turn     bool      // a group is next, if one is due
	failures int       // in a row, whatever was tried
	pause    time.Time // nothing is tried before
}

// group is some lanes whose outcomes could not be recorded with those of others. They
// start no attempts, and their further outcomes join the group. The recorder's
// goroutine owns it, but for the pointers to it in the lanes.
type group struct {
	members []*member
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

// run writes outcomes, all that have come while the last ones were
// written in one commit, until ctx ends and none is left. Then it tries for
// lastRecords more: outcomes are idempotent, and a failed commit may have
// happened.
func (r *recording) run(ctx context.Context) {
	var last time.Time
	for {
		now := time.Now()
		ending := ctx.Err() != nil
		if ending {
			last = lane.Earliest(last, now.Add(lastRecords))
		}
		batch, g := r.next(now, ending)
		if len(batch) > 0 {
			r.try(ctx, batch, g)
		}
		switch {
		case r.recordChanges(ctx) || len(batch) > 0:
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
func (r *recording) next(now time.Time, ending bool) ([]record, *group) {
	if now.Before(r.pause) {
		return nil, nil
	}
	i := slices.IndexFunc(r.groups, func(g *group) bool { return ending || !now.Before(g.at) })
	r.turn = !r.turn
	if i < 0 || !r.turn {
		r.d.mu.Lock()
		batch := r.d.recorder.batch()
		r.d.mu.Unlock()
		if len(batch) > 0 {
			return batch, nil
		}
	}
	if i < 0 {
		return nil, nil
	}
	return r.groups[i].records, r.groups[i]
}

func (r *recording) isEmpty() bool {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	return len(r.groups) == 0 && len(r.d.recorder.pending) == 0 && len(r.d.recorder.changes) == 0
}

// wait returns when there may be something to try, at last at the latest.
func (r *recording) wait(ctx context.Context, now, last time.Time) {
	next, done := last, ctx.Done()
	if !last.IsZero() {
		done = nil // it has ended
	}
	for _, g := range r.groups {
		next = lane.Earliest(next, lane.Latest(g.at, r.pause))
	}
	if now.Before(r.pause) {
		next = lane.Earliest(next, r.pause)
	}
	gap := idleGap
	if !next.IsZero() {
		gap = next.Sub(now)
	}
	timer := time.NewTimer(gap)
	defer timer.Stop()
	select {
	case <-r.d.recorder.wake:
	case <-timer.C:
	case <-done:
	}
}

// try records a batch or a group. When that fails although the store works, it
// is something of one of the lanes: both halves are tried by themselves, a single
// lane later.
func (r *recording) try(ctx context.Context, batch []record, g *group) {
	err := r.write(ctx, batch)
	r.groups = slices.DeleteFunc(r.groups, func(o *group) bool { return o == g })
	if err == nil {
		r.failures = 0
		r.drop(batch, g, true)
		return
	}
	if errors.Is(err, store.ErrFenced) { // other processes have the accounts; Lost follows, or was told
		r.d.cfg.Logger.Error("outcomes are refused: other processes took this one for dead; attempts are made again", "outcomes", len(batch))
		r.drop(batch, g, false)
		return
	}
	now := r.failed()
	members := membersOf(batch)
	log := r.d.cfg.Logger.With("outcomes", len(batch), "error", err)
	switch {
	case r.storeFails(ctx):
		log.Error("recording outcomes failed; they will be tried again")
		if g != nil {
			r.groups = append(r.groups, g)
		} else {
			r.d.mu.Lock()
			r.d.recorder.putBack(batch)
			r.d.mu.Unlock()
		}
	case len(members) == 1:
		next := &group{members: members, records: batch, gap: minGroupGap}
		if g != nil {
			next.gap = min(max(2*g.gap, minGroupGap), maxGroupGap)
		}
		next.at = now.Add(next.gap)
		log.Error("recording an account's outcomes failed; they will be tried again, and nothing is attempted for it until then",
			"account", members[0].Account(), "next", next.at)
		r.setApart(g, next)
	default:
		log.Error("recording outcomes failed; they will be tried again, those of some accounts by themselves")
		half := members[:len(members)/2]
		one, other := &group{members: half, at: now}, &group{members: members[len(half):], at: now}
		for i := range batch {
			to := other
			if slices.Contains(half, batch[i].member) {
				to = one
			}
			to.records = append(to.records, batch[i])
		}
		r.setApart(g, one, other)
	}
}

// failed makes the next try wait.
func (r *recording) failed() (now time.Time) {
	r.failures++
	now = time.Now()
	r.pause = now.Add(min(minTryGap<<min(r.failures, 10), maxTryGap))
	return now
}

// setApart puts groups in the place of a group or, if that is nil, of a batch.
func (r *recording) setApart(before *group, groups ...*group) {
	r.groups = append(r.groups, groups...)
	now := time.Now()
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	for _, g := range groups {
		if before == nil {
			r.d.recorder.apart += len(g.records)
			r.d.recorder.writing = 0
		}
		for _, m := range g.members {
			m.setGroup(g)
			m.apply(now)
		}
	}
}

func membersOf(batch []record) (members []*member) {
	seen := map[*member]bool{}
	for i := range batch {
		if m := batch[i].member; !seen[m] {
			seen[m] = true
			members = append(members, m)
		}
	}
	return members
}

// setGroup puts the lane into a group; nil: into none.
func (m *member) setGroup(g *group) {
	m.group = g
	m.SetApart(g != nil)
}

// storeFails reports whether the store records nothing, whosever it is.
func (r *recording) storeFails(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRecords)
	defer cancel()
	return r.d.cfg.Store.Ready(ctx) != nil
}

// drop drops from memory what is on disk now, or what the store will never take, and
// looks at each lane again.
func (r *recording) drop(batch []record, g *group, recorded bool) {
	d, now := r.d, time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recorder.done(batch, g)
	for i := range batch {
		m, o := batch[i].member, &batch[i].Outcome
		m.setGroup(nil)
		if recorded {
			m.Recorded(o, now)
		} else {
			m.Refused(o)
		}
	}
	for i := range batch {
		if i == 0 || batch[i].member != batch[i-1].member {
			batch[i].member.apply(now)
		}
	}
	d.startAttempts(now)
}

// write records outcomes in one commit.
func (r *recording) write(ctx context.Context, batch []record) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRecords)
	defer cancel()
	defer survive(r.d.cfg.Logger, "recording outcomes", "", &err)
	outcomes := make([]store.Outcome, len(batch))
	for i := range batch {
		outcomes[i] = batch[i].Outcome.Outcome
	}
	return r.d.cfg.Store.Record(ctx, outcomes, time.Now())
}
