package lane

import (
	"cmp"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// maxBodySize is what the contract allows (openapi.yaml, StatusEvent).
const maxBodySize = 16 << 10

// maxPage: for the largest bodies, a page keeps half of the default memory at most.
const maxPage = 1024

// hasPageRoom reports whether the lane should read on.
func (l *Lane) hasPageRoom() bool { return l.window.len() <= l.capacity()/2 }

// page asks for what is next in the account's backlog. Until the answer it reserves
// memory for as many bodies of the largest size as it asks for.
func (l *Lane) page(now time.Time) store.BacklogQuery {
	left := max(0, l.room)
	room := max(1, min(l.capacity()-l.window.len(), left/maxBodySize, maxPage))
	l.kept = min(room*maxBodySize, left)
	l.hold(l.kept)
	q := store.BacklogQuery{AccountID: l.account, Now: now, Due: room, Known: l.window.due(), After: l.cursor}
	if l.more || !l.direct {
		q.Fresh = room
	}
	return q
}

// merge adds a page to the window. It skips what is there already, and what was
// recorded while the page was read.
func (l *Lane) merge(q *store.BacklogQuery, page *store.Backlog, now time.Time) {
	l.renew(page.Webhook, now)
	if page.Webhook == nil {
		l.known, l.cancel = true, true
		return
	}
	l.dueAt = Earliest(l.noted, page.NextDue)
	if len(page.Due) == q.Due {
		l.dueBy(now)
	}
	if !l.known && (len(page.Due) > 0 || !page.NextDue.IsZero()) {
		l.health.FailedBefore()
	}
	l.known = true
	if !l.active() || l.Open() {
		return
	}
	if n := len(page.Fresh); n > 0 {
		l.cursor = page.Fresh[n-1].Seq
	}
	unread := q.Fresh > 0 && len(page.Fresh) == q.Fresh
	all := slices.Concat(page.Due, page.Fresh)
	slices.SortFunc(all, func(a, b store.Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	for i := range all {
		l.mergeOne(&all[i], unread && all[i].Seq > l.cursor, now)
	}
	if q.Fresh > 0 && !unread {
		l.caughtUp(now)
	}
}

// mergeOne takes in one of a page. beyond: fresh ones before it may not have
// been read.
func (l *Lane) mergeOne(del *store.Delivery, beyond bool, now time.Time) {
	if _, done := l.gone[del.Seq]; done || l.window.has(del.Seq) {
		return
	}
	if del.Seq < l.webhook.FirstSeq {
		l.cancel = true
		return
	}
	l.take(del, beyond, now)
}

// caughtUp makes the lane direct again if it kept everything that was handed
// over during the read.
func (l *Lane) caughtUp(now time.Time) {
	if l.missed != 0 {
		return
	}
	l.direct, l.more = true, false
	for _, a := range l.takeLate() {
		l.Offer(&a, now)
	}
}

// takeLate removes and returns what was handed over during the read.
func (l *Lane) takeLate() []store.Acceptance {
	late := l.late
	l.late = nil
	for i := range late {
		l.release(len(late[i].Delivery.Body))
	}
	return late
}

// probeWith gives the open breaker the account's oldest delivery to probe with.
func (l *Lane) probeWith(page *store.Backlog, now time.Time) {
	l.renew(page.Webhook, now)
	switch {
	case !l.active():
	case len(page.Fresh) == 0:
		// Nothing to probe with: the next event finds out.
		l.health.Forget()
		l.makeDue = true
	case page.Fresh[0].Seq < page.Webhook.FirstSeq:
		l.cancel = true
	default:
		it := l.window.hold(&page.Fresh[0])
		l.hold(len(page.Fresh[0].Body))
		if page.Fresh[0].Damaged {
			l.giveUpDamaged(it, now)
			return // the next one probes
		}
		l.probe, l.oldest = it, it.seq()
		l.probe.state = ready
		l.window.join(it).head = it // the window is empty
	}
}
