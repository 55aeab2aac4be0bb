package dispatcher

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// maxBodySize is what the contract allows (openapi.yaml, StatusEvent).
const maxBodySize = 16 << 10

// maxPage: for the largest bodies, a page keeps half of the default memory at most.
const maxPage = 1024

// hasPageRoom reports whether the lane should read on.
func (l *lane) hasPageRoom() bool { return l.window.len() <= l.capacity()/2 }

// readPage reads on in the account's backlog. Meanwhile it reserves memory for
// as many bodies of the largest size as it asks for.
func (d *Dispatcher) readPage(ctx context.Context, l *lane) (func(time.Time), error) {
	d.mu.Lock()
	left := max(0, d.memory.Left(l.heldAs))
	room := max(1, min(l.capacity()-l.window.len(), left/maxBodySize, maxPage))
	l.kept = min(room*maxBodySize, left)
	d.hold(l, l.kept)
	q := store.BacklogQuery{AccountID: l.account, Now: time.Now(), Due: room, Known: l.window.due(), After: l.cursor}
	if l.more || !l.direct {
		q.Fresh = room
	}
	d.mu.Unlock()
	page, err := d.cfg.Store.Backlog(ctx, q)
	return func(now time.Time) { d.merge(l, &q, &page, now) }, err
}

// merge adds a page to the window. It skips what is there already, and what was
// recorded while the page was read.
func (d *Dispatcher) merge(l *lane, q *store.BacklogQuery, page *store.Backlog, now time.Time) {
	d.renew(l, page.Webhook)
	if page.Webhook == nil {
		l.known, l.cancel = true, true
		return
	}
	l.dueAt = earliest(l.noted, page.NextDue)
	if len(page.Due) == q.Due {
		l.dueBy(now)
	}
	if !l.known && !l.pace.proven && (len(page.Due) > 0 || !page.NextDue.IsZero()) {
		l.pace.suspect = true // before the start it failed
	}
	l.known = true
	if !l.active() || l.pace.open {
		return
	}
	if n := len(page.Fresh); n > 0 {
		l.cursor = page.Fresh[n-1].Seq
	}
	unread := q.Fresh > 0 && len(page.Fresh) == q.Fresh
	all := slices.Concat(page.Due, page.Fresh)
	slices.SortFunc(all, func(a, b store.Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	for i := range all {
		d.mergeOne(l, &all[i], unread && all[i].Seq > l.cursor, now)
	}
	if q.Fresh > 0 && !unread {
		d.caughtUp(l, now)
	}
}

// mergeOne takes in one of a page. beyond: fresh ones before it may not have
// been read.
func (d *Dispatcher) mergeOne(l *lane, del *store.Delivery, beyond bool, now time.Time) {
	if _, done := l.gone[del.Seq]; done || l.window.has(del.Seq) {
		return
	}
	if del.Seq < l.webhook.FirstSeq {
		l.cancel = true
		return
	}
	d.take(l, del, beyond, now)
}

// caughtUp makes the lane direct again if it kept everything that was handed
// over during the read.
func (d *Dispatcher) caughtUp(l *lane, now time.Time) {
	if l.missed != 0 {
		return
	}
	l.direct, l.more = true, false
	for _, a := range d.takeLate(l) {
		d.handOver(l, &a, now)
	}
}

// takeLate removes and returns what was handed over during the read.
func (d *Dispatcher) takeLate(l *lane) []store.Acceptance {
	late := l.late
	l.late = nil
	for i := range late {
		d.release(l, len(late[i].Delivery.Body))
	}
	return late
}

// readProbe gives the open breaker the account's oldest delivery to probe
// with.
func (d *Dispatcher) readProbe(ctx context.Context, l *lane) (func(time.Time), error) {
	page, err := d.cfg.Store.Oldest(ctx, l.account)
	return func(now time.Time) {
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
			it := l.window.hold(&page.Fresh[0])
			d.hold(l, len(page.Fresh[0].Body))
			if page.Fresh[0].Damaged {
				d.giveUpDamaged(l, it, now)
				return // the next one probes
			}
			l.probe, l.oldest = it, it.seq()
			l.probe.state = ready
			l.window.join(it).head = it // the window is empty
		}
	}, err
}
