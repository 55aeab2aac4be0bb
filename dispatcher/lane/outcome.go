package lane

import (
	"time"

	"github.com/recapito/recapito/store"
)

// Outcome is to be recorded.
type Outcome struct {
	store.Outcome
	item *item
}

// settle hands an item's outcome out.
func (l *Lane) settle(it *item, o store.Outcome) {
	if it.state == waiting || it.state == ready {
		l.release(len(it.delivery.Body))
	}
	it.state = settled
	if o.Attempt != nil {
		it.state = attempted
	}
	it.delivery.Body = nil // nobody needs it any more
	o.Delivery = it.delivery
	l.outcomes++
	if o.State == store.Pending {
		l.aside++
	}
	l.unrecorded = append(l.unrecorded, Outcome{o, it})
}

// putOff sets a delivery aside, in the store, until the earlier ones of its
// message have an outcome, or until it is due: at the latest when the order wait is over,
// counted from when the last of them first failed to go.
func (l *Lane) putOff(it *item, due time.Time) {
	it.message.putOff(it)
	l.settle(it, store.Outcome{State: store.Pending, Failures: it.delivery.Failures, DueAt: due, Behind: true})
}

// giveUp ends a delivery that is past the horizon, without an attempt.
func (l *Lane) giveUp(it *item) {
	l.settle(it, store.Outcome{State: store.Failed, Failures: it.delivery.Failures})
}

// giveUpDamaged ends a delivery whose payload is not what was accepted. Nothing
// is sent; history shows the reason as an attempt.
func (l *Lane) giveUpDamaged(it *item, now time.Time) {
	l.settle(it, store.Outcome{
		State: store.Failed, Failures: it.delivery.Failures,
		Attempt: &store.Attempt{Number: it.delivery.Attempts + 1, At: now, Error: store.PayloadDamaged},
	})
}

// Recorded drops what is on disk now from memory.
func (l *Lane) Recorded(o *Outcome, now time.Time) {
	l.Refused(o)
	if l.working {
		l.gone[o.item.seq()] = o.item.delivery.Replay.At
	}
	if o.State == store.Pending {
		l.putOffAt = now
	}
	switch {
	case o.Behind, o.Releases():
		l.dueBy(now) // the store may have made some due
	case o.State == store.Pending && !o.DueAt.IsZero():
		l.dueBy(o.DueAt)
	}
}

// Refused drops what will never be recorded.
func (l *Lane) Refused(o *Outcome) {
	l.window.forget(o.item)
	l.moreReplays = l.moreReplays || o.item.stale
	l.replayed = l.replayed || o.item.stale
	l.outcomes--
	if o.State == store.Pending {
		l.aside--
	}
}

// SetApart says whether outcomes cannot be recorded with those of others. Until they
// are, nothing is attempted.
func (l *Lane) SetApart(apart bool) { l.apart = apart }
