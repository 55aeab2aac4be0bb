package dispatcher

import (
	"bytes"
	"time"

	"github.com/recapito/recapito/store"
)

var _ store.Listener = (*Dispatcher)(nil)

// Accepted implements [store.Listener]: the fast path, from the commit to the
// lanes without a read.
func (d *Dispatcher) Accepted(batch []store.Acceptance) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running {
		return // the next start reads it
	}
	d.accepted += len(batch)
	touched := make([]*lane, 0, len(batch))
	for i := range batch {
		l := d.laneOf(batch[i].Delivery.AccountID)
		d.handOver(l, &batch[i], now)
		if n := len(touched); n == 0 || touched[n-1] != l {
			touched = append(touched, l)
		}
	}
	for _, l := range touched {
		d.reconsider(l, now)
	}
	d.startAttempts(now)
}

// laneOf finds or makes the account's lane. Once the scan of the start is
// over, an account without a lane has nothing in the store, so that its new
// lane is direct and there is nothing to be looked at.
func (d *Dispatcher) laneOf(account string) *lane {
	l := d.lanes[account]
	if l == nil {
		l = newLane(account)
		l.direct, l.known, l.more = d.scanned, d.scanned, !d.scanned
		l.makeDue = d.rewound && !d.scanned
		l.dialledSince = d.gainedAt
		d.lanes[account] = l
	}
	if l.lost {
		d.comeBack(l)
	}
	return l
}

// handOver gives a delivery just committed to its lane, if the lane can keep
// it; else the lane will read it.
func (d *Dispatcher) handOver(l *lane, a *store.Acceptance, now time.Time) {
	l.idleAt, l.handed = time.Time{}, true
	d.classify(l)
	d.renew(l, a.Webhook)
	l.told = a.Webhook
	switch {
	case l.window.has(a.Delivery.Seq):
		// A page that was read between its commit and this call had it.
	case l.direct && d.hasRoom(l):
		l.cursor = max(l.cursor, a.Delivery.Seq) // another source may be behind
		d.take(l, &a.Delivery, false, now)
	case !l.direct && l.working && l.missed == 0 && len(l.late) < maxWindow && d.memory.Any(l.heldAs):
		l.late = append(l.late, *a)
		d.hold(l, len(a.Delivery.Body))
	default:
		l.direct = false
		l.miss(a.Delivery.Seq)
	}
}

func (d *Dispatcher) hasRoom(l *lane) bool {
	return l.window.len() < l.capacity() && d.memory.Any(l.heldAs) && !l.pace.open && l.active()
}

// take puts a delivery into the lane's window, in its place among those of its
// message; one past the horizon is given up, one behind another that is being
// retried is put off. beyond: fresh ones before it may not be in memory.
func (d *Dispatcher) take(l *lane, del *store.Delivery, beyond bool, now time.Time) {
	own := *del // so that it does not keep its whole batch in memory
	it := l.window.hold(&own)
	d.hold(l, len(del.Body))
	switch {
	case del.Damaged:
		d.giveUpDamaged(l, it, now)
		return
	case d.policy.expired(del.AcceptedAt, now):
		d.giveUp(l, it)
		return
	}
	overtakes := d.overtaking(now)
	since, ok := now, false
	if !beyond || !del.Behind.Fresh || del.Attempts > 0 {
		since, ok = l.window.enqueue(it, now, overtakes)
	}
	if !ok {
		l.window.setAside(it, since, overtakes)
		d.putOff(l, it, since)
	}
}

// overtaking: an event waits for the order wait, but not for one that failed by
// a clock that has been set back since.
func (d *Dispatcher) overtaking(now time.Time) overtaking {
	return func(since time.Time) bool {
		return since.IsZero() || since.After(now.Add(setBackBy)) || !now.Before(since.Add(d.cfg.OrderWait))
	}
}

// renew takes in the webhook that came with a delivery or a page.
func (d *Dispatcher) renew(l *lane, w *store.Webhook) {
	if w != nil && l.webhook != nil && w.ID == l.webhook.ID && w.Version < l.webhook.Version {
		return // a page older than a change of the secret
	}
	if w != nil && l.webhook != nil && w.Version != l.webhook.Version && !newSecretOnly(l.webhook, w) {
		l.dialledSince = time.Now() // a PUT that the lane will be told of
	}
	l.webhook = w
}

// WebhookChanged implements [store.Listener]. When it returns, no attempt
// begins that would go to the old URL: those under way ask [Dispatcher.proceed]
// before their first byte.
func (d *Dispatcher) WebhookChanged(account string, w *store.Webhook) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lanes[account]
	if l == nil && d.scanned {
		return // nothing pending; the next delivery brings the webhook along
	}
	l = d.laneOf(account)
	before := l.told
	if before == nil && w != nil && l.webhook != nil && l.webhook.Version < w.Version {
		before = l.webhook // of the first page since the start
	}
	d.renew(l, w)
	l.told, l.known = w, true
	if newSecretOnly(before, w) {
		return
	}
	l.term++
	l.handed = true
	l.pace = d.freshPace(l)
	l.dialledSince = now
	d.fallBehind(l)
	l.makeDue = w != nil
	l.suspend = nil
	l.cancel = w == nil
	l.retryAt = time.Time{}
	d.reconsider(l, now)
}

// newSecretOnly: a PUT, of the same URL as well, says that the endpoint has been
// repaired; a rotation says nothing of it.
func newSecretOnly(before, w *store.Webhook) bool {
	return before != nil && w != nil && before.ID == w.ID && before.CallbackURL == w.CallbackURL && before.Status == w.Status &&
		!bytes.Equal(before.Secret, w.Secret)
}

// freshPace forgets what was learnt of an endpoint; attempts that are still
// slow stay counted.
func (d *Dispatcher) freshPace(l *lane) pace {
	p := newPace()
	p.slow = l.pace.slow
	p.suspect = p.slow > 0
	return p
}

// Uncertain implements [store.Listener]: a commit failed and may have happened
// all the same, so that the lanes of these accounts read anew.
func (d *Dispatcher) Uncertain(accounts []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running {
		return // the next start reads it
	}
	now := time.Now()
	for _, account := range accounts {
		l := d.laneOf(account)
		d.fallBehind(l)
		l.known = false
		l.retryAt = now.Add(storeRetryGap)
		d.reconsider(l, now)
	}
}
