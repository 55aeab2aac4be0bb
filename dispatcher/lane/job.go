package lane

import (
	"time"

	"github.com/recapito/recapito/store"
)

// Kind is what a job reads or writes.
type Kind int

const (
	Nothing Kind = iota
	Page         // [store.Queue.Backlog]: deliveries into memory
	Oldest       // [store.Queue.Oldest]: one to probe with
	Suspend      // [store.Upkeep.SuspendWebhook]
	MakeDue      // [store.Upkeep.MakeDue]
	Cancel       // [store.Upkeep.Cancel]
	Expire       // [store.Upkeep.Expire] and, if these were all, [store.Queue.Oldest]
)

// Reads reports whether it takes memory.
func (k Kind) Reads() bool { return k == Page || k == Oldest }

// Job is one read or write of the store.
type Job struct {
	Kind    Kind
	Query   store.BacklogQuery // for Page
	Webhook *store.Webhook     // for Suspend
	epoch   int
}

// Answer is what the store says.
type Answer struct {
	Page store.Backlog // to Page, Oldest, and Expire if these were all
	All  bool          // MakeDue, Cancel, Expire: it was all that there were
	Err  error
}

const (
	// minRetryGap is how long a lane waits after an error of the store. It doubles
	// up to maxRetryGap.
	minRetryGap = 500 * time.Millisecond
	maxRetryGap = 5 * time.Second
	// expireGap is how late a lane without attempts may give up deliveries past the
	// horizon.
	expireGap = 5 * time.Minute
)

// wants returns the job that the lane has, if any, and the time at which to ask
// again if nothing changes before: later than now, or never.
func (l *Lane) wants(now time.Time) (k Kind, again time.Time) {
	switch {
	case now.Before(l.retryAt):
		return Nothing, l.retryAt
	case l.suspend != nil:
		return Suspend, again
	case l.cancel:
		return Cancel, again
	case l.makeDue && l.aside > 0:
		return Nothing, again // those on their way to be put off are to be made due as well
	case l.makeDue:
		return MakeDue, again
	case l.apart:
		return Nothing, again // nothing is attempted until what was has been recorded
	case !l.known:
		return Page, again
	case l.webhook == nil:
		return Nothing, again
	case l.Open() || !l.active():
		return l.wantsAtRest(now)
	case l.moreReplays && l.hasReplayRoom(), (l.more || l.isDue(now)) && l.hasPageRoom():
		return Page, again
	case !l.hasPageRoom():
		return Nothing, again
	}
	return Nothing, l.dueAt
}

// wantsAtRest is wants for a lane whose deliveries all wait.
func (l *Lane) wantsAtRest(now time.Time) (k Kind, again time.Time) {
	switch {
	case !now.Before(l.expireAt):
		return Expire, again
	case !l.active() || l.probe != nil || l.window.len() > 0:
		return Nothing, l.expireAt
	case now.Before(l.health.Breaker.NextProbe()):
		return Nothing, Earliest(l.expireAt, l.health.Breaker.NextProbe())
	}
	return Oldest, l.expireAt
}

func (l *Lane) isDue(now time.Time) bool { return !l.dueAt.IsZero() && !l.dueAt.After(now) }

// dueBy notes that the store has a delivery that was put off until then; the
// zero time says nothing.
func (l *Lane) dueBy(at time.Time) {
	l.dueAt = Earliest(l.dueAt, at)
	l.noted = Earliest(l.noted, at)
}

// BeginJob begins what is wanted now, which may be nothing any more. Then
// [Lane.JobDone] must follow.
func (l *Lane) BeginJob(now time.Time) *Job {
	k, _ := l.wants(now)
	l.working, l.missed, l.noted, l.replayed = true, 0, time.Time{}, false
	l.window.ask()
	j := &Job{Kind: k, epoch: l.epoch}
	switch k {
	case Page:
		j.Query = l.page(now)
	case Oldest, Expire:
		l.oldest = oldest{}
	case Suspend:
		j.Webhook = l.suspend
	}
	return j
}

// JobDone takes in the answer, unless a change made it worthless.
func (l *Lane) JobDone(j *Job, a *Answer, now time.Time) {
	l.release(l.kept)
	l.kept = 0
	if a.Err == nil && l.epoch == j.epoch {
		l.takeIn(j, a, now)
	}
	l.working = false
	for _, a := range l.takeLate() { // not merged
		l.unreadSince(a.Delivery.AcceptedAt)
		l.miss(a.Delivery.Seq)
	}
	if l.missed != 0 {
		l.miss(l.missed)
	}
	clear(l.gone)
	l.window.answered()
	if a.Err == nil {
		l.retryGap = 0
		return
	}
	l.retryGap = min(max(2*l.retryGap, minRetryGap), maxRetryGap)
	l.retryAt = now.Add(l.retryGap)
}

func (l *Lane) takeIn(j *Job, a *Answer, now time.Time) {
	switch j.Kind {
	case Page:
		l.merge(&j.Query, &a.Page, now)
	case Oldest:
		l.probeWith(&a.Page, now)
	case Suspend:
		if l.suspend == j.Webhook { // else another 410, after a rotation
			l.suspend = nil
		}
	case MakeDue:
		l.makeDue = !a.All
		l.dueBy(now)
	case Cancel:
		l.cancel = !a.All
	case Expire:
		if a.All {
			l.expired(&a.Page, now)
		}
	}
}

// expired: nothing is past the horizon any more. rest is the oldest that is left.
func (l *Lane) expired(rest *store.Backlog, now time.Time) {
	l.expireAt = now
	left := append(rest.Fresh, rest.Replays...)
	switch {
	case len(left) > 0:
		l.oldest, l.due = oldestIs(&left[0]), due{waiting: sinceAccepted(&left[0])}
		first := time.Time{}
		for i := range left {
			first = Earliest(first, left[i].Since())
		}
		l.expireAt = Latest(now, first.Add(l.cfg.Horizon))
	case !l.active():
		l.dueAt, l.moreReplays = l.noted, l.replayed
		l.caughtUp(now) // nothing waits for the webhook to go on
	}
	l.expireAt = l.expireAt.Add(expireGap)
}
