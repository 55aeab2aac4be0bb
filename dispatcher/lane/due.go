package lane

import (
	"time"

	"github.com/recapito/recapito/store"
)

// due is since when something has been due that is not in memory. Zero: nothing has
// been, or it has not been looked at.
type due struct {
	unread time.Time // the oldest of what is fresh in the store
	// oldest of all: what the open breaker probes with, or what has waited the
	// longest for a PUT.
	waiting time.Time
}

// DueSince is since when the delivery has been due that has been so the longest and
// is not under way: from its acceptance, or from when it was put off to. What waits
// for the breaker to close or for a PUT is due; replays, which wait for all others, do
// not count. Zero: nothing is, or it has not been looked at.
func (l *Lane) DueSince(now time.Time) time.Time {
	switch {
	case l.lost || l.webhook == nil:
		return time.Time{}
	case !l.active() || l.Open():
		return Earliest(l.waiting, l.unread)
	}
	since := l.unread
	if l.isDue(now) {
		since = Earliest(since, l.dueAt)
	}
	if l.window.ready.len() > 0 {
		since = Earliest(since, l.window.ready.first().dueSince())
	}
	return since
}

func (it *item) dueSince() time.Time {
	if it.wasPutOff() {
		return it.delivery.DueAt
	}
	return sinceAccepted(it.delivery)
}

// sinceAccepted is zero for a replay: it waits for all others.
func sinceAccepted(d *store.Delivery) time.Time {
	if d.IsReplay() {
		return time.Time{}
	}
	return d.AcceptedAt
}

// unreadSince notes what was handed over and is to be read.
func (d *due) unreadSince(at time.Time) { d.unread = Earliest(d.unread, at) }

// keepDueSince notes what the lane is about to forget.
func (l *Lane) keepDueSince(now time.Time) {
	since := Earliest(l.waiting, l.unread)
	if l.isDue(now) {
		since = Earliest(since, l.dueAt)
	}
	for _, it := range l.window.items {
		if it.state == ready && !it.delivery.IsReplay() {
			since = Earliest(since, it.dueSince())
		}
	}
	l.due = due{unread: since, waiting: since}
}
