package lane

import (
	"time"

	"github.com/recapito/recapito/store"
)

// windowPerLimit makes the window grow with the endpoint's concurrency limit.
// So lanes that make no progress hold little, and a fast one reads little back
// from the store (with a quarter of it, one endpoint's rate was 15 % less).
const (
	windowPerLimit = 64
	maxWindow      = windowPerLimit * MaxLimit
)

func (l *Lane) capacity() int { return windowPerLimit * l.health.Limit.N() }

// Handed notes that something is about to be offered, which may change the class.
func (l *Lane) Handed() { l.idleAt, l.handed = time.Time{}, true }

// Offer hands over a delivery just committed. The lane takes it if it can keep it;
// else it reads it later.
func (l *Lane) Offer(a *store.Acceptance, now time.Time) {
	l.renew(a.Webhook, now)
	l.told = a.Webhook
	l.takeUp(a.Webhook, now)
	keep := !l.isOutdated(a)
	switch {
	case l.window.has(a.Delivery.Seq):
		// A page that was read between its commit and this call had it.
	case keep && l.direct && l.hasRoom():
		l.cursor = max(l.cursor, a.Delivery.Seq) // another source may be behind
		l.take(&a.Delivery, false, now)
	case keep && !l.direct && l.working && l.missed == 0 && len(l.late) < maxWindow && l.room > 0:
		l.late = append(l.late, *a)
		l.oldest.accepted(a.Delivery.Seq)
		l.hold(len(a.Delivery.Body))
	default:
		l.direct = false
		l.unreadSince(a.Delivery.AcceptedAt)
		l.miss(a.Delivery.Seq)
	}
}

// isOutdated reports whether what a delivery is behind may have been put off since that
// was read.
func (l *Lane) isOutdated(a *store.Acceptance) bool {
	return a.Delivery.Behind.Any() && !a.Read.IsZero() && !l.putOffAt.Before(a.Read)
}

func (l *Lane) hasRoom() bool {
	return l.window.firstRuns() < l.capacity() && l.room > 0 && !l.Open() && l.active()
}

// Replayed notes that the store has deliveries that are due again.
func (l *Lane) Replayed(w *store.Webhook, seqs []int64, now time.Time) {
	l.idleAt = time.Time{}
	l.renew(w, now)
	l.told = w
	l.takeUp(w, now)
	l.moreReplays, l.replayed = true, true
	l.oldest.replayed()
	for _, seq := range seqs {
		if it := l.window.items[seq]; it != nil {
			it.stale = true // what becomes of it is that of its earlier run
		}
	}
}

// miss notes that what was handed over is to be read. A page under way may not
// have it and end beyond it: then the cursor is set back once more.
func (l *Lane) miss(seq int64) {
	l.more = true
	l.cursor = min(l.cursor, seq-1)
	l.oldest.accepted(seq)
	if l.missed == 0 || seq < l.missed {
		l.missed = seq
	}
}

// take puts a delivery into the lane's window, in its place among those of its
// message; one past the horizon is given up, one behind another that is being
// retried is put off. beyond: fresh ones before it may not be in memory.
func (l *Lane) take(del *store.Delivery, beyond bool, now time.Time) {
	own := *del // so that it does not keep its whole batch in memory
	it := l.window.hold(&own)
	l.hold(len(del.Body))
	switch {
	case del.Damaged:
		l.giveUpDamaged(it, now)
		return
	case l.cfg.expired(del.Since(), now):
		l.giveUp(it)
		return
	}
	overtakes := l.overtaking(now)
	since, ok := now, false
	if !beyond || !del.Behind.Fresh || del.Begun() {
		since, ok = l.window.enqueue(it, now, overtakes)
	}
	if !ok {
		l.window.setAside(it, since, overtakes)
		due := since.Add(l.cfg.OrderWait)
		if del.Behind.Fresh {
			due = Earliest(due, now.Add(freshWait))
		}
		l.putOff(it, due)
	}
}

// freshWait is how long an event waits for a fresh one of its message that is not in memory,
// before it is looked at again: unlike one that was put off, that makes no others due.
const freshWait = time.Second

// SetBackBy is what the system's clock may lose, as by a leap second, without having
// been set back.
const SetBackBy = time.Second

// overtaking: an event waits for the order wait, but not for one that failed by
// a clock that has been set back since.
func (l *Lane) overtaking(now time.Time) overtaking {
	return func(since time.Time) bool {
		return since.IsZero() || since.After(now.Add(SetBackBy)) || !now.Before(since.Add(l.cfg.OrderWait))
	}
}

// renew takes in the webhook that came with a delivery or a page.
func (l *Lane) renew(w *store.Webhook, now time.Time) {
	if w != nil && l.webhook != nil && w.ID == l.webhook.ID && w.Version < l.webhook.Version {
		return // a page older than a change of the secret
	}
	if w != nil && l.webhook != nil && !sameEndpoint(l.webhook, w) {
		l.dialledSince = now // a PUT that the lane will be told of
	}
	l.webhook = w
}

// Changed takes in the account's present webhook; nil: it has none. From then on no
// attempt may go to the old URL, see [Lane.Proceed].
func (l *Lane) Changed(w *store.Webhook, now time.Time) {
	before := l.told
	if before == nil && w != nil && l.webhook != nil && l.webhook.Version < w.Version {
		before = l.webhook // of the first page since the start
	}
	l.renew(w, now)
	l.told, l.known = w, true
	if sameEndpoint(before, w) {
		return
	}
	l.handed = true
	l.health.Forget()
	l.dialledSince = now
	l.Drop(now)
	if l.untake(); w != nil {
		l.takeUp(w, now) // the change may be a rotation that cannot be told from a PUT
	}
	l.makeDue = w != nil
	l.suspend = nil
	l.cancel = w == nil
	l.retryAt = time.Time{}
}

// sameEndpoint reports whether at most the secret was rotated between two states of a
// webhook. A PUT, of the same URL as well, says that the endpoint has been repaired; a
// rotation says nothing of it.
func sameEndpoint(a, b *store.Webhook) bool {
	return a != nil && b != nil && a.ID == b.ID && a.Health.Version == b.Health.Version
}
