package dispatcher

import (
	"time"

	"github.com/recapito/recapito/store"
)

const (
	// recordBatch bounds the outcomes of one commit, failureBatch those of them
	// that are no first delivery: each has statements of its own, and what is
	// accepted at the same time waits for them.
	recordBatch  = 2048
	failureBatch = 64
	// maxUnrecorded outcomes wait for the store at most; beyond it no attempt
	// starts, so that a store that fails does not fill the memory. One lane has
	// maxLaneUnrecorded of them at most. maxApart is the same for those that are
	// set apart, so that they take nothing from the others.
	maxUnrecorded     = 8192
	maxLaneUnrecorded = 1024
	maxApart          = 4 * maxUnrecorded
	// lastRecords is how long the outcomes of the last attempts are tried to be
	// recorded at shutdown; those that are not are attempts made again.
	lastRecords = 5 * time.Second
)

// record is an outcome on its way to the store.
type record struct {
	outcome store.Outcome
	lane    *lane
	item    *item
}

// settle hands an item's outcome to the recorder.
func (d *Dispatcher) settle(l *lane, it *item, o store.Outcome) {
	if it.state == waiting || it.state == ready {
		d.release(l, len(it.delivery.Body))
	}
	it.state = settled
	if o.Attempt != nil {
		it.state = attempted
	}
	it.delivery.Body = nil // nobody needs it any more
	o.Delivery = it.delivery
	l.unrecorded++
	if o.State == store.Pending {
		l.aside++
	}
	d.pending = append(d.pending, record{outcome: o, lane: l, item: it})
	select {
	case d.outcomes <- struct{}{}:
	default:
	}
}

// putOff sets a delivery aside, in the store, until the earlier ones of its
// message have an outcome, or the order wait is over, counted from when the last
// of them first failed to go.
func (d *Dispatcher) putOff(l *lane, it *item, since time.Time) {
	d.settle(l, it, store.Outcome{
		State: store.Pending, Failures: it.delivery.Failures, DueAt: since.Add(d.cfg.OrderWait), Behind: true,
	})
}

// giveUp ends a delivery that is past the horizon, without an attempt.
func (d *Dispatcher) giveUp(l *lane, it *item) {
	d.settle(l, it, store.Outcome{State: store.Failed, Failures: it.delivery.Failures})
}

// giveUpDamaged ends a delivery whose payload is not what was accepted. Nothing
// is sent; history shows the reason as an attempt.
func (d *Dispatcher) giveUpDamaged(l *lane, it *item, now time.Time) {
	d.settle(l, it, store.Outcome{
		State: store.Failed, Failures: it.delivery.Failures,
		Attempt: &store.Attempt{Number: it.delivery.Attempts + 1, At: now, Error: store.PayloadDamaged},
	})
}

// drop drops outcomes from memory. g is the group that they were; nil: none.
func (d *Dispatcher) drop(batch []record, g *group) {
	if g == nil {
		d.writing = 0
	} else {
		d.apart -= len(batch)
	}
	for i := range batch {
		r := &batch[i]
		r.lane.group = nil
		r.lane.window.forget(r.item)
		r.lane.unrecorded--
		if r.outcome.State == store.Pending {
			r.lane.aside--
		}
	}
}

// recorded drops what is on disk now and looks at each lane again.
func (d *Dispatcher) recorded(batch []record, g *group) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(batch, g)
	for i := range batch {
		r := &batch[i]
		if r.lane.working {
			r.lane.gone[r.item.seq()] = struct{}{}
		}
		switch {
		case r.outcome.Behind, r.outcome.Releases():
			r.lane.dueBy(now) // the store may have made some due
		case r.outcome.State == store.Pending && !r.outcome.DueAt.IsZero():
			r.lane.dueBy(r.outcome.DueAt)
		}
	}
	for i := range batch {
		if i == 0 || batch[i].lane != batch[i-1].lane {
			d.reconsider(batch[i].lane, now)
		}
	}
	d.startAttempts(now)
}
