// Package lane is one account's part of the dispatcher, as a state machine: which of
// its deliveries may go, in which order and how many at a time, what is read and
// written for it, and what became of each attempt. It has no mutex, clock, store or
// goroutine. What happens is handed in with the time ([Lane.Offer], [Lane.Begin],
// [Lane.Ended], [Lane.Changed], [Lane.JobDone], [Lane.Recorded], …); then
// [Lane.Ready] says what is wanted. Its user guards it and does what it wants.
//
// A lane knows nothing of other lanes. What it may take of what they share it is told:
// [Lane.Begin] is a slot, [Lane.SetRoom] memory.
package lane

import (
	"time"

	"github.com/recapito/recapito/dispatcher/fair"
	"github.com/recapito/recapito/store"
)

// Config is what all lanes have in common.
type Config struct {
	Policy
	OrderWait time.Duration // an event waits so long for an earlier one of its message
}

// Lane is the part of one account's PENDING deliveries that is in memory, and what is
// known of the rest and of the endpoint.
//
// A lane is direct while it holds everything fresh: then new deliveries are
// handed to it in memory. When it cannot hold more, or cannot know what the
// store has (after a start, a failed commit, a changed webhook), it is not
// direct, ignores what is handed to it, and reads on from the store behind
// cursor until it has caught up.
type Lane struct {
	cfg     *Config
	account string
	endpoint
	health Health
	window window
	backlog
	due
	upkeep
	reading
	underWay
	memory
	tenancy
	telling
	probes
	idleAt time.Time // since when there was nothing to do
}

// endpoint is where the deliveries go.
type endpoint struct {
	webhook *store.Webhook // nil: none, or not known yet
	known   bool           // what the store has of the account has been looked at
	handed  bool           // something has been accepted or changed since it was found
	// told is the webhook that the lane was last brought up to date with: a
	// page may show a change before the listener is told of it.
	told *store.Webhook
	// dialledSince is when the webhook was changed, or the open breaker saw a
	// failure: the host may be elsewhere now, so that no attempt uses a
	// connection made before. Other accounts on the host keep theirs.
	dialledSince time.Time
}

// backlog is what the store has of the account.
type backlog struct {
	direct bool
	cursor int64 // fresh deliveries up to this Seq have been in memory
	more   bool  // the store may have fresh ones beyond cursor
	// dueAt is when deliveries that were put off become due in the store. Zero
	// means that it has none, except those on their way there, which aside
	// counts.
	dueAt time.Time
	aside int
	// putOffAt is when something was last put off, here or before the account was this
	// process's: what was read before may show it as fresh.
	putOffAt time.Time
	// moreReplays: the store may have replays that are due and not in memory.
	moreReplays bool
}

// upkeep is what is to be written for the account, beside outcomes.
type upkeep struct {
	makeDue  bool           // everything put off is to be made due
	suspend  *store.Webhook // has answered 410 and is to be SUSPENDED
	cancel   bool           // deliveries of a deleted webhook are to be cancelled
	expireAt time.Time      // when to look for deliveries past the horizon, while nothing is attempted
	retryGap time.Duration  // so long after the last time that it did
	retryAt  time.Time      // not before: the store failed
	apart    bool           // outcomes could not be recorded with those of others
}

// reading is the state of the job that is being done.
type reading struct {
	working bool // one is
	epoch   int  // counts what makes the answer worthless
	// Since that began:
	late     []store.Acceptance // handed over
	missed   int64              // the least Seq of what was handed over and is not kept; zero: all is
	noted    time.Time          // the earliest that became due
	replayed bool               // some were
	// Recorded, with the time of their replay: the answer may still show them.
	gone map[int64]time.Time
}

// underWay counts what is.
type underWay struct {
	attempts  int // of these
	sent      int // so many have a connection, and
	awaited   int // so many of these are slow: it is the endpoint that is
	replaying int // so many are replays
	outcomes  int // to be recorded

	unrecorded []Outcome // new ones of these, for Ready
}

// memory is what the lane takes of it.
type memory struct {
	held int // bytes of bodies waiting in memory, and
	kept int // of these, for a page under way
	room int // how many more there may be
}

// tenancy is whether the account is this process's.
type tenancy struct {
	lost   bool // it is not any more,
	tenure int  // which has happened so often
}

// Scan is how far the accounts with PENDING deliveries of the start have been found.
type Scan struct {
	Done    bool      // all have lanes
	Rewound bool      // the clock was set back
	Gained  time.Time // some accounts; while they were others' their webhooks may have changed
}

// New makes the lane of an account. Once the scan of the start is over, an account
// without a lane has nothing in the store, so that its new lane is direct and there is
// nothing to be looked at.
func New(cfg *Config, account string, scan Scan) *Lane {
	return &Lane{
		cfg: cfg, account: account, health: NewHealth(), window: newWindow(),
		endpoint: endpoint{known: scan.Done, dialledSince: scan.Gained},
		backlog:  backlog{direct: scan.Done, more: !scan.Done, putOffAt: scan.Gained},
		upkeep:   upkeep{makeDue: scan.Rewound && !scan.Done},
		reading:  reading{gone: map[int64]time.Time{}},
	}
}

// Ready is what a lane wants.
type Ready struct {
	Attempt  bool          // a slot, see [Lane.Begin]
	Job      Kind          // a read or write of the store, see [Lane.BeginJob]; [Nothing]: it does not
	Again    time.Time     // to be asked again then, if nothing happens before; zero: never
	Outcomes []Outcome     // to be recorded, see [Lane.Recorded]
	Change   *HealthChange // the same, see [Lane.HealthRecorded]
	Over     bool          // nothing: there has been nothing to do for a while
}

// idleAfter is how long a lane with nothing to do remembers its endpoint.
const idleAfter = time.Minute

// Ready says what the lane wants now, after any number of things that happened.
func (l *Lane) Ready(now time.Time) (r Ready) {
	r.Outcomes, l.unrecorded = l.unrecorded, nil
	if l.lost {
		return r
	}
	if !now.Before(l.retryAt) {
		l.retryAt = time.Time{}
	}
	r.Attempt = l.Runnable(now)
	if !l.working { // else its answer decides
		r.Job, r.Again = l.wants(now)
	}
	if l.health.Paused(now) {
		r.Again = Earliest(r.Again, l.health.PausedUntil())
	}
	change, again := l.tell(now)
	r.Change, r.Again = change, Earliest(r.Again, again)
	if r.Job != Nothing || !l.idle() {
		l.idleAt = time.Time{}
	} else if l.idleAt.IsZero() {
		l.idleAt = now
	}
	if !l.idleAt.IsZero() {
		r.Again = Earliest(r.Again, l.idleAt.Add(idleAfter))
		r.Over = !now.Before(r.Again)
	}
	return r
}

// idle reports whether nothing of the account is left to do, here or in the
// store. Without a webhook that is so once everything has been cancelled.
func (l *Lane) idle() bool {
	if l.window.len() > 0 || l.makeDue || l.cancel || l.suspend != nil || l.working || l.isUntold() || l.change != nil {
		return false
	}
	if l.known && l.webhook == nil {
		return true
	}
	return l.direct && l.dueAt.IsZero() && !l.moreReplays && !l.Open()
}

// maxUnrecorded outcomes of one lane wait for the store at most.
const maxUnrecorded = 1024

// Runnable reports whether the lane could use a slot now.
func (l *Lane) Runnable(now time.Time) bool {
	if l.lost || !l.active() || l.suspend != nil || l.apart || l.outcomes >= maxUnrecorded {
		return false
	}
	if l.Open() {
		return l.probe != nil && l.attempts == 0
	}
	return !l.health.Paused(now) && l.attempts < l.health.Limit.N() && (l.window.ready.len() > 0 || l.mayReplay())
}

// mayReplay reports whether a replay may go, as nothing else is ready. Together they
// take half of the limit, rounded up.
func (l *Lane) mayReplay() bool {
	return l.window.again.len() > 0 && l.replaying < (l.health.Limit.N()+1)/2
}

// active reports whether deliveries may be attempted.
func (l *Lane) active() bool {
	return l.webhook != nil && l.webhook.Status == store.Active
}

// Account is whose lane it is.
func (l *Lane) Account() string { return l.account }

// Suspended reports whether the webhook is.
func (l *Lane) Suspended() bool { return l.webhook != nil && !l.active() }

// Webhook is where the deliveries go; nil: nowhere, or it is not known yet. It must
// not be changed.
func (l *Lane) Webhook() *store.Webhook { return l.webhook }

// Open reports whether the breaker is.
func (l *Lane) Open() bool { return l.health.Breaker.Open() }

// Doubted is [Health.Doubted].
func (l *Lane) Doubted() bool { return l.health.Doubted() }

// The classes of lanes, by what is known of the endpoint. They say how much a lane
// may take of what all lanes share: slots and memory.
const (
	Proven    fair.Class = iota // its endpoint acknowledges
	Handed                      // nothing attempted yet; events have just been accepted for it
	Found                       // nothing attempted yet; its backlog is from before the start
	Replaying                   // nothing to attempt but replays; of slots alone
	Suspect                     // its endpoint times out or keeps failing
	Classes                     // how many there are
)

// Class is what the lane counts as now. Without a success it takes one slot at a
// time.
func (l *Lane) Class() fair.Class {
	switch {
	case l.health.Doubted():
		return Suspect
	case l.health.Proven():
		return Proven
	case l.handed:
		return Handed
	}
	return Found
}

// SlotClass is what the lane's next attempt counts as.
func (l *Lane) SlotClass() fair.Class {
	if c := l.Class(); c == Suspect || l.Open() || l.window.ready.len() > 0 {
		return c
	}
	return Replaying
}

// Held is how many bytes of bodies wait in memory. What is under way does not count:
// the slots bound it.
func (l *Lane) Held() int { return l.held }

// SetRoom says how many more bytes there may be.
func (l *Lane) SetRoom(n int) { l.room = n }

func (l *Lane) hold(n int) {
	l.held += n
	l.room -= n
}

func (l *Lane) release(n int) { l.hold(-n) }

// Drop makes the lane forget what it holds and has not begun. It reads that again
// when needed.
func (l *Lane) Drop(now time.Time) {
	l.keepDueSince(now)
	l.epoch++
	l.direct, l.more, l.cursor = false, true, 0
	l.moreReplays = true
	l.probe, l.oldest = nil, oldest{}
	l.late, l.missed = nil, 1 // whatever there is
	l.window.clear(now, l.overtaking(now))
	l.kept = 0
	l.release(l.held)
}

// ReadAnew makes the lane forget what it holds, and read what the store has when that
// has had time to recover.
func (l *Lane) ReadAnew(now time.Time) {
	l.Drop(now)
	l.known = false
	for _, it := range l.window.items {
		it.stale = true
	}
	l.retryAt = now.Add(minRetryGap)
}

// ClockSetBack makes due what was put off by the clock before it was set back. So an
// attempt may be too early (at most once each time), but not too late. What waits for
// a breaker or a PUT becomes due with these.
func (l *Lane) ClockSetBack() {
	if !l.known || (l.active() && !l.Open() && (!l.dueAt.IsZero() || l.aside > 0)) {
		l.makeDue = true
	}
}

// Lost notes that the account is not this process's any more.
func (l *Lane) Lost(now time.Time) {
	l.lost = true
	l.tenure++
	l.Drop(now)
}

// IsLost reports whether it is, and settled whether nothing is left that had begun.
func (l *Lane) IsLost() (is, settled bool) {
	return l.lost, l.attempts == 0 && l.outcomes == 0 && !l.working && l.change == nil
}

// CameBack notes that a lost account is this process's again. The lane begins as a new
// one does: others may have changed what the store has of the account.
func (l *Lane) CameBack(gained time.Time) {
	l.lost, l.known, l.told = false, false, nil
	l.health.Forget()
	l.untake()
	l.dialledSince, l.putOffAt = gained, gained
}

// Earliest treats the zero time as never.
func Earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// Latest is the later one.
func Latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
