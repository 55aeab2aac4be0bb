package dispatcher

import (
	"time"

	"github.com/recapito/recapito/dispatcher/fair"
	"github.com/recapito/recapito/store"
)

// lane is the part of one account's PENDING deliveries that is in memory, and
// what is known of the rest. Dispatcher.mu guards it.
//
// A lane is direct while it holds everything fresh: then new deliveries are
// handed to it in memory. When it cannot hold more, or cannot know what the
// store has (after a start, a failed commit, a changed webhook), it is not
// direct, ignores what is handed to it, and reads on from the store behind
// cursor until it has caught up.
type lane struct {
	account string
	webhook *store.Webhook // nil: none, or not known yet
	known   bool           // what the store has of the account has been looked at
	handed  bool           // something has been accepted or changed since it was found
	// told is the webhook that the lane was last brought up to date with: a
	// page may show a change before the listener is told of it.
	told *store.Webhook
	term int // counts those changes, but for rotations
	pace pace
	// dialledSince is when the webhook was changed, or the open breaker saw a
	// failure: the host may be elsewhere now, so that no attempt uses a
	// connection made before. Other accounts on the host keep theirs.
	dialledSince time.Time
	window       window
	attempts     map[*attempt]struct{} // under way; of these
	sent         int                   // so many have a connection
	probe        *item                 // to be attempted by the open breaker
	oldest       int64                 // Seq of the delivery that it probes with, when last read
	held         int                   // bytes of bodies waiting in memory, and
	kept         int                   // of these, for a page under way
	heldAs       fair.Class            // where they are counted

	direct bool
	cursor int64 // fresh deliveries up to this Seq have been in memory
	more   bool  // the store may have fresh ones beyond cursor
	// dueAt is when deliveries that were put off become due in the store. Zero
	// means that it has none, except those on their way there, which aside
	// counts.
	dueAt    time.Time
	aside    int
	makeDue  bool           // everything put off is to be made due
	suspend  *store.Webhook // has answered 410 and is to be SUSPENDED
	cancel   bool           // deliveries of a deleted webhook are to be cancelled
	expireAt time.Time      // when to look for deliveries past the horizon, while nothing is attempted
	retryGap time.Duration  // so long after the last time that it did
	retryAt  time.Time      // not before: the store failed
	failed   notice         // that it did
	idleAt   time.Time      // since when there was nothing to do

	lost   bool // it is not this process's any more,
	tenure int  // which has happened so often

	unrecorded int    // outcomes on their way to the store
	group      *group // they could not be recorded with those of others; nil: they could

	working bool // its job is being done
	epoch   int  // counts what makes the answer worthless
	// Since that began:
	late   []store.Acceptance // handed over
	missed int64              // the least Seq of what was handed over and is not kept; zero: all is
	noted  time.Time          // the earliest that became due
	gone   map[int64]struct{} // recorded: the answer may still show them

	slot fair.Place[*lane] // where it waits for a slot
	work fair.Place[*lane] // where its job waits

	counted    health
	alarm      time.Time
	alarmIndex int
}

func newLane(account string) *lane {
	return &lane{
		account: account, pace: newPace(), window: newWindow(), heldAs: found, alarmIndex: -1,
		attempts: map[*attempt]struct{}{}, gone: map[int64]struct{}{},
	}
}

// active reports whether deliveries may be attempted.
func (l *lane) active() bool {
	return l.webhook != nil && l.webhook.Status == store.Active
}

// runnable reports whether the lane could use a slot now.
func (l *lane) runnable(now time.Time) bool {
	if !l.active() || l.suspend != nil || l.group != nil || l.unrecorded >= maxLaneUnrecorded {
		return false
	}
	if l.pace.open {
		return l.probe != nil && len(l.attempts) == 0
	}
	return !l.pace.resting(now) && l.window.ready.len() > 0 && len(l.attempts) < int(l.pace.limit)
}

// windowPerLimit makes the window grow with the endpoint's concurrency limit.
// So lanes that make no progress hold little, and a fast one reads little back
// from the store (with a quarter of it, one endpoint's rate was 15 % less).
const (
	windowPerLimit = 64
	maxWindow      = windowPerLimit * maxLimit
)

func (l *lane) capacity() int { return windowPerLimit * int(l.pace.limit) }

// miss notes that what was handed over is to be read. A page under way may not
// have it and end beyond it: then the cursor is set back once more.
func (l *lane) miss(seq int64) {
	l.more = true
	l.cursor = min(l.cursor, seq-1)
	if l.missed == 0 || seq < l.missed {
		l.missed = seq
	}
}

func (l *lane) isDue(now time.Time) bool { return !l.dueAt.IsZero() && !l.dueAt.After(now) }

// dueBy notes that the store has a delivery that was put off until then; the
// zero time says nothing.
func (l *lane) dueBy(at time.Time) {
	l.dueAt = earliest(l.dueAt, at)
	l.noted = earliest(l.noted, at)
}

// hasPutOff reports whether the store may hold deliveries that were put off.
func (l *lane) hasPutOff() bool { return !l.dueAt.IsZero() || l.aside > 0 }

// earliest treats the zero time as never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// idle reports whether nothing of the account is left to do, here or in the
// store. Without a webhook that is so once everything has been cancelled.
func (l *lane) idle() bool {
	if l.window.len() > 0 || l.makeDue || l.cancel || l.suspend != nil || l.working || l.work.Waits() {
		return false
	}
	if l.known && l.webhook == nil {
		return true
	}
	return l.direct && l.dueAt.IsZero() && !l.pace.open
}

// item is a delivery in memory, until its outcome is on disk.
type item struct {
	delivery *store.Delivery
	state    itemState
	chain    *chain // nil: outside the order of its message
}

type itemState uint8

const (
	waiting   itemState = iota // behind another event of its message
	ready                      // may be attempted
	inFlight                   // being attempted
	attempted                  // it was, and its outcome waits to be recorded
	settled                    // its outcome waits to be recorded, and there was no attempt
)

func (it *item) seq() int64 { return it.delivery.Seq }

// wasPutOff: it had been put off when it was read.
func (it *item) wasPutOff() bool { return !it.delivery.DueAt.IsZero() }
