package dispatcher

import (
	"context"
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
	// starts, so that a store that fails does not fill the memory.
	maxUnrecorded = 8192
	// lastRecords is how long the outcomes of the last attempts are tried to be
	// recorded at shutdown; those that are not are attempts made again.
	lastRecords = 5 * time.Second
)

// record is an outcome on its way to the store.
type record struct {
	outcome store.Outcome
	lane    *lane
	item    *item
	suspend *store.Webhook // the endpoint answered 410 to this webhook
}

// settle hands an item's outcome to the recorder.
func (d *Dispatcher) settle(l *lane, it *item, o store.Outcome, suspend *store.Webhook) {
	if it.state == waiting || it.state == ready {
		d.release(l, len(it.delivery.Body))
	}
	it.state = settled
	it.delivery.Body = nil // nobody needs it any more
	o.Delivery = it.delivery
	if o.State == store.Pending {
		l.aside++
	}
	d.pending = append(d.pending, record{outcome: o, lane: l, item: it, suspend: suspend})
	select {
	case d.recorder <- struct{}{}:
	default:
	}
}

// putOff sets a delivery aside, in the store, until the earlier ones of its
// message have an outcome, or the order wait is over, counted from when the last
// of them first failed to go.
func (d *Dispatcher) putOff(l *lane, it *item, since time.Time) {
	d.settle(l, it, store.Outcome{
		State: store.Pending, Failures: it.delivery.Failures, DueAt: since.Add(d.cfg.OrderWait), Behind: true,
	}, nil)
}

// giveUp ends a delivery that is past the horizon, without an attempt.
func (d *Dispatcher) giveUp(l *lane, it *item) {
	d.settle(l, it, store.Outcome{State: store.Failed, Failures: it.delivery.Failures}, nil)
}

// giveUpDamaged ends a delivery whose payload is not what was accepted. Nothing
// is sent; history shows the reason as an attempt.
func (d *Dispatcher) giveUpDamaged(l *lane, it *item, now time.Time) {
	d.settle(l, it, store.Outcome{
		State: store.Failed, Failures: it.delivery.Failures,
		Attempt: &store.Attempt{Number: it.delivery.Attempts + 1, At: now, Error: store.PayloadDamaged},
	}, nil)
}

// recordLoop writes outcomes, all that have come while the last ones were
// written in one commit, until ctx ends and none is left.
func (d *Dispatcher) recordLoop(ctx context.Context) {
	for {
		batch := d.takeRecords()
		if len(batch) == 0 {
			select {
			case <-d.recorder:
				continue
			case <-ctx.Done():
			}
			if batch = d.takeRecords(); len(batch) == 0 {
				return
			}
		}
		if !d.write(ctx, batch) {
			return
		}
	}
}

func (d *Dispatcher) takeRecords() []record {
	d.mu.Lock()
	defer d.mu.Unlock()
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

// write repeats until the store has taken the batch: outcomes are idempotent,
// and a failed commit may have happened. After ctx ended it tries for
// lastRecords more and reports false if that was in vain.
func (d *Dispatcher) write(ctx context.Context, batch []record) bool {
	outcomes := make([]store.Outcome, len(batch))
	for i := range batch {
		outcomes[i] = batch[i].outcome
	}
	gap := 50 * time.Millisecond
	var last time.Time // for another try
	for {
		err := d.writeOnce(ctx, batch, outcomes)
		if err == nil {
			d.recorded(batch)
			return true
		}
		d.cfg.Logger.Error("recording outcomes failed; they will be tried again", "outcomes", len(batch), "error", err)
		if ctx.Err() != nil {
			last = earliest(last, time.Now().Add(lastRecords))
			if !time.Now().Before(last) {
				return false
			}
		}
		time.Sleep(gap)
		gap = min(2*gap, time.Second)
	}
}

func (d *Dispatcher) writeOnce(ctx context.Context, batch []record, outcomes []store.Outcome) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRecords)
	defer cancel()
	now := time.Now()
	if err := d.cfg.Store.Record(ctx, outcomes, now); err != nil {
		return err
	}
	for i := range batch {
		if w := batch[i].suspend; w != nil {
			if err := d.cfg.Suspend(ctx, *w, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// recorded drops what is on disk now from memory and looks at each lane again.
func (d *Dispatcher) recorded(batch []record) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writing = 0
	for i := range batch {
		r := &batch[i]
		r.lane.window.forget(r.item)
		if r.outcome.State == store.Pending {
			r.lane.aside--
		}
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
