package dispatcher

import (
	"slices"
	"time"
)

// mayGap is how long nothing begins after the store has let an attempt not begin:
// what it says of one account it would say of all others that are not lost.
const mayGap = 50 * time.Millisecond

// ownership is which accounts are this process's, if several share the store.
type ownership struct {
	barred     time.Time    // no attempt begins before
	gainedAt   time.Time    // when accounts were gained, whose webhooks may have changed before
	departures []*departure // lost, and not settled
}

// departure is a number of accounts that are not this process's any more.
type departure struct {
	lanes   map[*lane]struct{} // of which something that had begun has not ended
	settled chan struct{}
}

// Gained implements [store.Listener]: a scan finds the accounts.
func (d *Dispatcher) Gained() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scanned = false
	d.scans++
	d.gainedAt = time.Now()
	d.wakeLoop()
}

// Lost implements [store.Listener]. A lost lane stays until what had begun has
// ended, so that it is not begun again should the account come back meanwhile.
func (d *Dispatcher) Lost(lost func(account string) bool) <-chan struct{} {
	now := time.Now()
	gone := &departure{lanes: map[*lane]struct{}{}, settled: make(chan struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scans++ // what is being read may name them
	for account, l := range d.lanes {
		if lost(account) {
			gone.lanes[l] = struct{}{}
		}
	}
	d.departures = append(d.departures, gone)
	for l := range gone.lanes {
		l.lost = true
		l.tenure++
		d.fallBehind(l)
		d.reconsider(l, now)
	}
	d.departed(nil) // there may be none
	return gone.settled
}

// depart removes a lost lane of which nothing is left that had begun.
func (d *Dispatcher) depart(l *lane) {
	if d.lanes[l.account] != l {
		return // it is over
	}
	d.counts.count(l)
	d.alarms.set(l, time.Time{})
	l.slot.Leave()
	l.work.Leave()
	if len(l.attempts) == 0 && l.unrecorded == 0 && !l.working {
		d.departed(l)
		d.forget(l)
	}
}

// departed notes that a lane is not waited for any more.
func (d *Dispatcher) departed(l *lane) {
	d.departures = slices.DeleteFunc(d.departures, func(gone *departure) bool {
		delete(gone.lanes, l)
		if len(gone.lanes) > 0 {
			return false
		}
		close(gone.settled)
		return true
	})
}

// comeBack makes a lost lane this process's again. It begins as a new one does:
// others may have changed what the store has of the account.
func (d *Dispatcher) comeBack(l *lane) {
	l.lost, l.known, l.told = false, false, nil
	l.pace, l.dialledSince = d.freshPace(l), d.gainedAt
	d.departed(l)
}

// nextLane takes the next lane off its queue, if an attempt of it may begin.
func (d *Dispatcher) nextLane(now time.Time) (*lane, bool) {
	if now.Before(d.barred) {
		return nil, false
	}
	l, ok := d.turns.Next(d.slots.Any)
	if !ok || d.cfg.Store.May(l.account) {
		return l, ok
	}
	d.turns.Enter(&l.slot, l, l.class())
	d.barred = now.Add(mayGap)
	d.wakeLoop()
	return nil, false
}

// fenced forgets outcomes that the store will never take: other processes have the
// accounts. Lost follows, or was told.
func (d *Dispatcher) fenced(batch []record, g *group) {
	d.cfg.Logger.Error("outcomes are refused: other processes took this one for dead; attempts are made again", "outcomes", len(batch))
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(batch, g)
	for _, l := range lanesOf(batch) {
		d.reconsider(l, now)
	}
}
