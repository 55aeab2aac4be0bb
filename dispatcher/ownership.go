package dispatcher

import (
	"slices"
	"time"
)

// mayGap is how long nothing begins after the store has let an attempt not begin:
// what it says of one account it would say of all others that are not lost.
const mayGap = 50 * time.Millisecond

// departure is a number of accounts that are not this process's any more.
type departure struct {
	lanes   map[*member]struct{} // of which something that had begun has not ended
	settled chan struct{}
}

// departures are those that are not settled.
type departures []*departure

// Gained implements [store.Listener]: a scan finds the accounts.
func (d *Dispatcher) Gained() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scan.again()
	d.scan.Gained = time.Now()
	d.alarms.wake()
	d.bulk.wake() // begun by others
}

// Freed implements [store.Listener]: their lanes begin as if a scan had found them. A scan
// that is under way goes on.
func (d *Dispatcher) Freed(accounts []string) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.workers.running() {
		return // the next start reads it
	}
	found := d.scan.Scan
	found.Done, found.Gained = false, now
	for _, account := range accounts {
		d.memberBy(account, found).apply(now)
	}
}

// Lost implements [store.Listener]. A lost lane stays until what had begun has
// ended, so that it is not begun again should the account come back meanwhile.
func (d *Dispatcher) Lost(lost func(account string) bool) (settled <-chan struct{}, left func() []string) {
	now := time.Now()
	gone := &departure{lanes: map[*member]struct{}{}, settled: make(chan struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scan.begun++ // what is being read may name them
	for account, m := range d.lanes {
		if lost(account) {
			gone.lanes[m] = struct{}{}
		}
	}
	d.departures = append(d.departures, gone)
	for m := range gone.lanes {
		m.Lost(now)
		m.apply(now)
	}
	d.departures.ended(nil) // there may be none
	return gone.settled, func() []string {
		d.mu.Lock()
		defer d.mu.Unlock()
		return gone.left()
	}
}

// left lists the accounts of which something that had begun has not ended.
func (gone *departure) left() (accounts []string) {
	for m := range gone.lanes {
		accounts = append(accounts, m.Account())
	}
	return accounts
}

// depart removes a lost lane, once nothing is left of it that had begun.
func (m *member) depart(settled bool) {
	d := m.d
	if d.lanes[m.Account()] != m {
		return // it is over
	}
	d.counts.count(m, time.Time{})
	d.alarms.set(&m.alarm, time.Time{})
	m.slot.Leave()
	m.work.Leave()
	if settled {
		d.departures.ended(m)
		m.forget()
	}
}

// ended notes that a lane is not waited for any more.
func (all *departures) ended(m *member) {
	*all = slices.DeleteFunc(*all, func(gone *departure) bool {
		delete(gone.lanes, m)
		if len(gone.lanes) > 0 {
			return false
		}
		close(gone.settled)
		return true
	})
}

// nextLane takes the next lane off its queue, if an attempt of it may begin.
func (d *Dispatcher) nextLane(now time.Time) (*member, bool) {
	if now.Before(d.slots.barred) {
		return nil, false
	}
	m, ok := d.slots.turns.Next(d.slots.Any)
	if !ok || d.cfg.Store.May(m.Account()) {
		return m, ok
	}
	d.slots.turns.Enter(&m.slot, m, m.SlotClass())
	d.slots.barred = now.Add(mayGap)
	d.alarms.wake()
	return nil, false
}
