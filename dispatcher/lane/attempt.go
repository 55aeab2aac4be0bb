package lane

import (
	"time"

	"github.com/recapito/recapito/store"
)

// Attempt is an attempt under way.
type Attempt struct {
	Webhook   *store.Webhook // as of the start
	Probe     bool
	MadeSince time.Time // its connection is made then or later
	Started   time.Time

	item   *item
	tenure int  // of the lane, at the start
	sent   bool // it has a connection
	slow   bool // it is open for longer than SlowAfter
}

// Delivery is what is attempted.
func (a *Attempt) Delivery() *store.Delivery { return a.item.delivery }

// Result is how an attempt ended.
type Result struct {
	Attempt    store.Attempt // but for Number and Probe
	Void       bool          // it sent nothing, or our shutdown cut it short
	Internal   bool          // it failed within this process, which says nothing of the endpoint
	MayBeOurs  bool          // what failed is not the endpoint itself: our resolver, say
	TimedOut   bool
	RetryAfter time.Duration // which the endpoint asks for
}

// The statuses that say more than that an attempt failed.
const (
	statusGone            = 410
	statusTooManyRequests = 429
)

// overload: answers and silences that ask for fewer attempts at a time.
func (r *Result) overload() bool {
	if r.MayBeOurs {
		return false // nothing was asked of it
	}
	return r.Attempt.Error != store.HTTPStatus || r.Attempt.StatusCode == statusTooManyRequests || r.Attempt.StatusCode >= 500
}

// Begin gives the lane a slot, if it is [Lane.Runnable]: its next delivery is
// attempted.
func (l *Lane) Begin(now time.Time) *Attempt {
	a := &Attempt{Webhook: l.webhook, Probe: l.Open(), MadeSince: l.dialledSince, Started: now, tenure: l.tenure}
	switch {
	case a.Probe:
		a.item = l.probe
	case l.window.ready.len() > 0:
		a.item = l.window.ready.pop()
	default:
		a.item = l.window.again.pop()
	}
	a.item.state = inFlight
	if a.item.delivery.IsReplay() {
		l.replaying++
	}
	l.release(len(a.item.delivery.Body))
	l.attempts++
	return a
}

// Proceed is the last question before the first byte: is the webhook still the
// one that this attempt began with?
func (l *Lane) Proceed(a *Attempt) bool {
	w := l.webhook
	if a.tenure != l.tenure || w == nil || w.ID != a.Webhook.ID || w.Version != a.Webhook.Version {
		return false
	}
	if !a.sent { // else it is asked again, for another connection
		a.sent = true
		l.sent++
		if a.slow {
			l.awaited++
		}
	}
	return true
}

// Slow notes that an attempt is open for longer than [SlowAfter].
func (l *Lane) Slow(a *Attempt) {
	a.slow = true
	l.health.BecameSlow()
	if a.sent {
		l.awaited++
	}
}

// Ended takes in how an attempt ended, and says what that means for its delivery. It
// is not counted (false) if the result is void.
func (l *Lane) Ended(a *Attempt, res *Result, now time.Time) (o store.Outcome, counts bool) {
	l.attempts--
	if a.item.delivery.IsReplay() {
		l.replaying--
	}
	if a.slow {
		l.health.SlowEnded(!res.MayBeOurs)
	}
	if a.sent {
		l.sent--
	}
	if a.sent && a.slow {
		l.awaited--
	}
	if res.Void {
		l.takeBack(a, now)
		return o, false
	}
	return l.conclude(a, res, now), true
}

// takeBack undoes the start of an attempt. After a PUT it waits with the others
// until everything has been made due.
func (l *Lane) takeBack(a *Attempt, now time.Time) {
	if !a.Probe && l.isCurrent(a) && a.tenure == l.tenure && l.active() && !l.Open() && a.item.delivery.GoesTo(l.webhook) {
		a.item.state = ready
		l.hold(len(a.item.delivery.Body))
		l.window.queue(a.item).pushFront(a.item)
		return
	}
	for _, it := range l.window.finish(a.item, now, l.overtaking(now)) {
		l.putOff(it, now.Add(l.cfg.OrderWait))
	}
	l.window.forget(a.item)
	l.Drop(now) // to be read again, if it is still PENDING
}

// conclude decides what an attempt means for its delivery and its lane.
func (l *Lane) conclude(a *Attempt, res *Result, now time.Time) store.Outcome {
	del := a.item.delivery
	o := store.Outcome{State: store.Delivered, Failures: del.Failures, Attempt: &res.Attempt}
	o.Attempt.Number, o.Attempt.Probe = del.Attempts+1, a.Probe
	if a.Probe {
		l.probe = nil
	}
	if res.Attempt.Error == "" {
		l.acknowledged(a, o.Attempt.Duration, now)
	} else {
		l.refused(a, res, &o, now)
	}
	if a.Probe && o.State != store.Pending {
		l.oldest = oldest{}
	}
	l.settle(a.item, o)
	l.finish(a.item, o.State, now)
	return o
}

// finish lets the next event of the message go, or puts the later ones off: one
// that stays PENDING holds them back from when it first failed to go.
func (l *Lane) finish(it *item, state store.State, now time.Time) {
	var failed time.Time
	if state == store.Pending {
		failed = orNow(it.delivery.FailedAt, now)
	}
	for _, later := range l.window.finish(it, failed, l.overtaking(now)) {
		l.putOff(later, later.message.since.Add(l.cfg.OrderWait))
	}
}

func (l *Lane) acknowledged(a *Attempt, took time.Duration, now time.Time) {
	if l.isCurrent(a) && l.health.Acknowledged(took, l.used()) {
		l.makeDue = true // and everything is read from the beginning
		l.Drop(now)
	}
}

// used is how much of the limit was when an attempt has just ended. Replays may use
// half of it: when there is nothing else, each counts twice.
func (l *Lane) used() int {
	n := l.sent + 1
	if l.window.ready.len() == 0 {
		n += l.replaying
	}
	return n
}

// refused is anything but a 2xx.
func (l *Lane) refused(a *Attempt, res *Result, o *store.Outcome, now time.Time) {
	after, gone := res.RetryAfter, res.Attempt.StatusCode == statusGone
	if gone && l.isCurrent(a) {
		l.suspend = a.Webhook
	}
	switch {
	case !l.isCurrent(a):
		// The endpoint that failed is not the account's any more, or has been put
		// again since: it gets the event at once, its schedule unused.
		o.State, o.DueAt = store.Pending, now
	case res.Internal:
		// That says nothing of the endpoint. A probe counts as well, else one event
		// could keep its lane probing for ever.
		l.countFailure(a, o, after, now)
		if a.Probe {
			l.health.Breaker.ProbeFailed(now, 0)
		}
	case a.Probe:
		o.State, o.DueAt = store.Pending, a.item.delivery.DueAt
		l.dialledSince = now
		l.health.Breaker.ProbeFailed(now, after)
	case gone:
		// The webhook is about to be suspended; after a PUT it goes on from here.
		o.State, o.DueAt = store.Pending, now
	default:
		l.countFailure(a, o, after, now)
		l.failed(a, res, now)
	}
	if l.isCurrent(a) {
		l.lastFailure = failure{res.Attempt.Error, res.Attempt.StatusCode}
	}
}

// failed is what a failure that counts says of the endpoint.
func (l *Lane) failed(a *Attempt, res *Result, now time.Time) {
	if res.TimedOut {
		l.health.Pause(now.Sub(a.Started), l.cfg.Jitter(), now)
	}
	// A resolver that lets the time pass is not the endpoint.
	if l.health.Failed(Failure{Overload: res.overload(), Silent: res.TimedOut && !res.MayBeOurs, Sent: l.sent + 1, Started: a.Started}, now) {
		l.expireAt = now
		l.dialledSince = now
		l.Drop(now)
	}
}

// countFailure uses up one attempt of the delivery's schedule.
func (l *Lane) countFailure(a *Attempt, o *store.Outcome, after time.Duration, now time.Time) {
	o.Failures++
	o.State = store.Failed
	if due, again := l.cfg.next(a.item.delivery.Since(), now, o.Failures, after); again {
		o.State, o.DueAt = store.Pending, due
	}
}

// isCurrent reports whether the attempt says something about the lane's present
// endpoint, or at least about what it was after the last PUT.
func (l *Lane) isCurrent(a *Attempt) bool { return sameEndpoint(a.Webhook, l.webhook) }
