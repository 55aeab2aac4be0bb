package dispatcher

import (
	"errors"
	"fmt"
	"time"
)

// SetClockBack lets the dispatcher believe that the system's clock was set
// back.
func (d *Dispatcher) SetClockBack(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock.wall = d.clock.wall.Add(by)
}

// Check counts everything anew and compares it with what the dispatcher
// believes.
func (d *Dispatcher) Check() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	equal := func(what string, got, want int) {
		if got != want {
			errs = append(errs, fmt.Errorf("%s: believed %d, counted %d", what, got, want))
		}
	}
	var taken, held [classes]int
	var c counts
	for account, l := range d.lanes {
		slow, sent := 0, 0
		for a := range l.attempts {
			taken[a.class]++
			if a.slow {
				slow++
			}
			if a.sent {
				sent++
			}
		}
		equal(account+"'s slow attempts", l.pace.slow, slow)
		equal(account+"'s attempts with a connection", l.sent, sent)
		if l.slot.Waits() && !l.runnable(time.Now()) {
			errs = append(errs, fmt.Errorf("%s waits for a slot that it cannot use", account))
		}
		n := 0
		for _, it := range l.window.items {
			if it.state == waiting || it.state == ready {
				n += len(it.delivery.Body)
			}
		}
		for i := range l.late {
			n += len(l.late[i].Delivery.Body)
		}
		equal(account+"'s bytes", l.held, n+l.kept)
		held[l.heldAs] += n + l.kept
		c[l.health()]++
		if l.idle() && l.alarm.IsZero() {
			errs = append(errs, fmt.Errorf("%s is idle and will stay for ever", account))
		}
	}
	for c := range classes {
		equal(fmt.Sprint("slots in use by class ", c), d.slots.Taken(c), taken[c])
		equal(fmt.Sprint("bytes held by class ", c), d.memory.Taken(c), held[c])
	}
	for i := doubted; i < healths; i++ {
		equal(fmt.Sprint("lanes of health ", i), d.counts[i], c[i])
	}
	return errors.Join(errs...)
}

// IsOpen reports whether the account's breaker is open.
func (d *Dispatcher) IsOpen(account string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lanes[account]
	return l != nil && l.pace.open
}

// Owing is owing.
type Owing = owing

func (o *Owing) Accepted(n int)                  { o.accepted(n) }
func (o Owing) Next() int                        { return o.next() }
func (o *Owing) Removed(n, of int) time.Duration { return o.removed(n, of) }
