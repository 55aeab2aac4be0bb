package dispatcher

import (
	"context"
	"time"

	"github.com/recapito/recapito/store"
)

// storeRetryGap is how long a lane waits after the store failed it.
const storeRetryGap = 500 * time.Millisecond

const (
	// choreRows bounds what one write for a lane changes, so that it does not
	// keep the store from accepting.
	choreRows = 500
	// expireGap is how often a lane that attempts nothing looks for deliveries
	// past the horizon.
	expireGap = 5 * time.Minute
	// idleAfter is how long a lane with nothing to do remembers its endpoint.
	idleAfter = time.Minute
)

// choreQueue are the lanes that want something of the store, in order.
type choreQueue struct {
	lanes []*lane
	ready chan struct{} // holds a token while there are some
}

func (q *choreQueue) push(l *lane) {
	q.lanes = append(q.lanes, l)
	q.signal()
}

func (q *choreQueue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *choreQueue) pop() *lane {
	if len(q.lanes) == 0 {
		return nil
	}
	l := q.lanes[0]
	q.lanes[0] = nil
	q.lanes = q.lanes[1:]
	if len(q.lanes) > 0 {
		q.signal()
	}
	return l
}

// chore is one thing that a lane wants of the store.
type chore func(d *Dispatcher, ctx context.Context, l *lane, epoch int) error

// choreFor says what the lane wants next; nil: nothing now.
func (d *Dispatcher) choreFor(l *lane, now time.Time) chore {
	switch {
	case now.Before(l.retryAt):
		return nil
	case l.cancel:
		return (*Dispatcher).cancelSome
	case l.makeDue && l.known:
		return (*Dispatcher).makeSomeDue
	case l.known && l.webhook == nil:
		return nil
	case l.known && (l.pace.open || !l.active()) && !now.Before(l.expireAt):
		return (*Dispatcher).expireSome
	case l.pace.open && l.active() && l.probe == nil && l.window.len() == 0 && !now.Before(l.pace.nextProbe):
		return (*Dispatcher).readProbe
	case !l.known, l.active() && !l.pace.open && (l.more || l.isDue(now)) && d.hasPageRoom(l):
		return (*Dispatcher).readPage
	}
	return nil
}

// hasPageRoom reports whether the lane should read on. Over the bound of memory
// it does only when it holds nothing.
func (d *Dispatcher) hasPageRoom(l *lane) bool {
	if d.held >= d.cfg.WindowBytes {
		return l.window.len() == 0
	}
	return l.window.len() <= l.capacity()/2
}

// reconsider brings everything about a lane up to date after a change: its
// place in a ring, its chore, its alarm, its end.
func (d *Dispatcher) reconsider(l *lane, now time.Time) {
	if !d.running {
		return
	}
	if !now.Before(l.retryAt) {
		l.retryAt = time.Time{}
	}
	if l.runnable() {
		d.slots.enter(l)
	} else {
		d.slots.leave(l)
	}
	if !l.busy && d.choreFor(l, now) != nil {
		l.busy = true
		d.chores.push(l)
	}
	if l.idle() {
		if l.idleAt.IsZero() {
			l.idleAt = now
		}
		if !now.Before(l.idleAt.Add(idleAfter)) {
			d.alarms.set(l, time.Time{})
			delete(d.lanes, l.account)
			return
		}
	} else {
		l.idleAt = time.Time{}
	}
	if d.alarms.set(l, d.nextAlarm(l)) {
		d.wakeLoop()
	}
}

// nextAlarm is when the lane wants attention if nothing happens before.
func (d *Dispatcher) nextAlarm(l *lane) time.Time {
	if l.busy {
		return time.Time{} // whoever works for it reconsiders it
	}
	var at time.Time
	by := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	switch {
	case l.idle():
		by(l.idleAt.Add(idleAfter))
	case l.pace.open && l.active():
		by(l.expireAt)
		if l.probe == nil && l.window.len() == 0 {
			by(l.pace.nextProbe)
		}
	case l.known && l.webhook != nil && !l.active():
		by(l.expireAt)
	case !l.dueAt.IsZero() && l.active() && d.hasPageRoom(l):
		by(l.dueAt)
	}
	if !l.retryAt.IsZero() {
		return l.retryAt // the store failed; then everything is looked at again
	}
	return at
}

// doChores works for one lane after the other until ctx ends.
func (d *Dispatcher) doChores(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.chores.ready:
		}
		d.mu.Lock()
		l := d.chores.pop()
		var c chore
		var epoch int
		if l != nil {
			c, epoch = d.choreFor(l, time.Now()), l.epoch
			l.reading, l.lost, l.noted = true, false, time.Time{}
		}
		d.mu.Unlock()
		if l != nil {
			d.doChore(ctx, l, c, epoch)
		}
	}
}

func (d *Dispatcher) doChore(ctx context.Context, l *lane, c chore, epoch int) {
	var err error
	if c != nil {
		err = c(d, ctx, l, epoch)
	}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	l.busy, l.reading = false, false
	if len(l.late) > 0 || l.lost {
		l.more = true // not merged: read it
	}
	l.late = nil
	clear(l.gone)
	if err != nil && ctx.Err() == nil {
		l.retryAt = now.Add(storeRetryGap)
		d.cfg.Logger.Error("working on a lane failed", "account", l.account, "error", err)
	}
	d.reconsider(l, now)
	d.startAttempts(now)
}

// readPage reads on in the account's backlog.
func (d *Dispatcher) readPage(ctx context.Context, l *lane, epoch int) error {
	now := time.Now()
	d.mu.Lock()
	q, room := d.pageFor(l, now)
	d.mu.Unlock()
	page, err := d.cfg.Store.Backlog(ctx, q)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.epoch == epoch {
		d.merge(l, &q, room, &page, time.Now())
	}
	return nil
}

// maxBodySize is what the contract allows (openapi.yaml, StatusEvent).
const maxBodySize = 16 << 10

// pageFor says how much the lane may take, if every body were as large as they
// come. Over the bound of memory a lane still reads a little, so that none
// comes to a standstill.
func (d *Dispatcher) pageFor(l *lane, now time.Time) (q store.BacklogQuery, room int) {
	room = max(1, min(l.capacity()-l.window.len(), (d.cfg.WindowBytes-d.held)/maxBodySize))
	// What is due and in memory already comes again.
	q = store.BacklogQuery{AccountID: l.account, Now: now, Due: room + l.window.due, After: l.cursor}
	if l.more || !l.direct {
		q.Fresh = room
	}
	return q, room
}

// merge takes a page into the window. What is there already, or was recorded
// while the page was read, is passed over.
func (d *Dispatcher) merge(l *lane, q *store.BacklogQuery, room int, page *store.Backlog, now time.Time) {
	d.renew(l, page.Webhook)
	if page.Webhook == nil {
		l.cancel = true
		return
	}
	l.dueAt = earliest(l.noted, page.NextDue)
	if len(page.Due) == q.Due {
		l.dueBy(now)
	}
	if !l.active() || l.pace.open {
		return
	}
	full := l.window.len() + room
	for i := range page.Due {
		if l.window.len() == full {
			l.dueBy(now)
			break
		}
		d.mergeOne(l, &page.Due[i], now)
	}
	for i := range page.Fresh {
		l.cursor = page.Fresh[i].Seq
		d.mergeOne(l, &page.Fresh[i], now)
	}
	if q.Fresh > 0 && len(page.Fresh) < q.Fresh {
		d.caughtUp(l, now)
	}
}

func (d *Dispatcher) mergeOne(l *lane, del *store.Delivery, now time.Time) {
	if _, done := l.gone[del.Seq]; done || l.window.has(del.Seq) {
		return
	}
	if del.Seq < l.webhook.FirstSeq {
		l.cancel = true
		return
	}
	d.take(l, del, now)
}

// caughtUp makes the lane direct again, if all that was handed over while the
// last page was read could be kept.
func (d *Dispatcher) caughtUp(l *lane, now time.Time) {
	if l.lost {
		return
	}
	l.direct, l.more = true, false
	late := l.late
	l.late = nil
	for i := range late {
		if late[i].Delivery.Seq > l.cursor {
			d.handOver(l, &late[i], now)
		}
	}
}

// readProbe gives the open breaker the account's oldest delivery to probe
// with.
func (d *Dispatcher) readProbe(ctx context.Context, l *lane, epoch int) error {
	page, err := d.cfg.Store.Oldest(ctx, l.account)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.epoch != epoch {
		return nil
	}
	d.renew(l, page.Webhook)
	switch {
	case !l.active():
	case len(page.Fresh) == 0:
		// Nothing to probe with: the next event finds out.
		l.pace = d.freshPace(l)
		l.makeDue = true
	case page.Fresh[0].Seq < page.Webhook.FirstSeq:
		l.cancel = true
	default:
		l.probe = l.window.hold(&page.Fresh[0])
		l.probe.state = ready
		d.held += len(page.Fresh[0].Body)
	}
	return nil
}

// makeSomeDue makes what was put off due, a part at a time.
func (d *Dispatcher) makeSomeDue(ctx context.Context, l *lane, epoch int) error {
	now := time.Now()
	n, err := d.cfg.Store.MakeDue(ctx, l.account, now, choreRows)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.epoch == epoch {
		l.makeDue = n == choreRows
		l.dueBy(now)
	}
	return nil
}

// cancelSome cancels what a deleted webhook left, a part at a time.
func (d *Dispatcher) cancelSome(ctx context.Context, l *lane, epoch int) error {
	n, err := d.cfg.Store.Cancel(ctx, l.account, time.Now(), choreRows)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.epoch == epoch && n < choreRows {
		l.cancel = false
	}
	return nil
}

// expireSome gives up what is past the horizon, a part at a time.
func (d *Dispatcher) expireSome(ctx context.Context, l *lane, epoch int) error {
	now := time.Now()
	n, err := d.cfg.Store.Expire(ctx, l.account, now.Add(-d.cfg.RetryHorizon), now, choreRows)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.epoch == epoch && n < choreRows {
		l.expireAt = now.Add(expireGap)
	}
	return nil
}
