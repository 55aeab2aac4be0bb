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
func (l *Lane) hasPageRoom() bool { return l.window.firstRuns() <= l.capacity()/2 }

// replaysPerLimit makes room for replays, beside the window of the others, so that
// these take nothing of it.
const replaysPerLimit = 8

func (l *Lane) replayCapacity() int { return replaysPerLimit * l.health.Limit.N() }

// hasReplayRoom reports whether the lane should read further replays.
func (l *Lane) hasReplayRoom() bool { return l.window.replays <= l.replayCapacity()/2 }

// page asks for what is next in the account's backlog. Until the answer it reserves
// memory for as many bodies of the largest size as it asks for.
func (l *Lane) page(now time.Time) store.BacklogQuery {
	left := max(0, l.room)
	most := min(left/maxBodySize, maxPage)
	replays := 0
	l.moreReplays = l.moreReplays || l.isDue(now) || !l.known
	if l.moreReplays && l.hasReplayRoom() {
		replays = max(1, min(l.replayCapacity()-l.window.replays, most/4))
	}
	room := max(1, min(l.capacity()-l.window.firstRuns(), most-replays))
	l.kept = min((room+replays)*maxBodySize, left)
	l.hold(l.kept)
	q := store.BacklogQuery{AccountID: l.account, Now: now, Due: room, Replays: replays, Known: l.window.due(), After: l.cursor}
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
	l.takeUp(page.Webhook, now)
	if !l.known && page.Webhook.MakeDue {
		l.makeDue = true // since a PUT of which an earlier lane was told
	}
	l.dueAt = Earliest(l.noted, page.NextDue)
	if q.Replays > 0 {
		l.moreReplays = l.replayed || len(page.Replays) == q.Replays
	}
	if len(page.Due) == q.Due {
		l.dueBy(now)
	}
	l.known = true
	if !l.active() || l.Open() {
		return
	}
	if n := len(page.Fresh); n > 0 {
		l.cursor = page.Fresh[n-1].Seq
		l.unread = page.Fresh[n-1].AcceptedAt // or later
	}
	unread := q.Fresh > 0 && len(page.Fresh) == q.Fresh
	all := slices.Concat(page.Due, page.Fresh, page.Replays, l.lateUntil(q.After))
	slices.SortFunc(all, func(a, b store.Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	for i := range all {
		seq := all[i].Seq
		l.mergeOne(&all[i], unread && seq > l.cursor || l.missedUntil(q.After) && seq > l.missed, now)
	}
	if q.Fresh > 0 && !unread {
		l.caughtUp(now)
	}
}

// mergeOne takes in one of a page. beyond: fresh ones before it may not have
// been read.
func (l *Lane) mergeOne(del *store.Delivery, beyond bool, now time.Time) {
	if at, done := l.gone[del.Seq]; done && at.Equal(del.Replay.At) || l.window.has(del.Seq) {
		return
	}
	if !del.GoesTo(l.webhook) {
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
	l.due = due{}
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

// lateUntil removes and returns what was handed over during the read and belongs
// before all that the read looked at: a source was behind another. The page may show
// what is behind it.
func (l *Lane) lateUntil(seq int64) (before []store.Delivery) {
	l.late = slices.DeleteFunc(l.late, func(a store.Acceptance) bool {
		if a.Delivery.Seq > seq {
			return false
		}
		l.release(len(a.Delivery.Body))
		before = append(before, a.Delivery)
		return true
	})
	return before
}

// missedUntil reports whether something such was handed over and not kept.
func (l *Lane) missedUntil(seq int64) bool { return l.missed != 0 && l.missed <= seq }
