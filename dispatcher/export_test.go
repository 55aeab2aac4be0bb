package dispatcher

import (
	"errors"
	"fmt"
	"time"

	"github.com/recapito/recapito/dispatcher/lane"
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
	var taken, held [lane.Classes]int
	var n counts
	for account, m := range d.lanes {
		for a := range m.attempts {
			taken[a.class]++
		}
		if m.slot.Waits() && !m.Runnable(time.Now()) {
			errs = append(errs, fmt.Errorf("%s waits for a slot that it cannot use", account))
		}
		if err := m.Check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", account, err))
		}
		equal(account+"'s bytes", m.held, m.Held())
		held[m.class] += m.held
		n[m.state()]++
		if r := m.Ready(time.Now()); m.alarm.IsZero() && !r.Again.IsZero() {
			errs = append(errs, fmt.Errorf("%s wants to be looked at at %v and will not be", account, r.Again))
		}
	}
	for c := range lane.Classes {
		equal(fmt.Sprint("slots in use by class ", c), d.slots.Taken(c), taken[c])
		equal(fmt.Sprint("bytes held by class ", c), d.jobs.memory.Taken(c), held[c])
	}
	for i := doubted; i < states; i++ {
		equal(fmt.Sprint("lanes in state ", i), d.counts[i], n[i])
	}
	return errors.Join(errs...)
}

// IsOpen reports whether the account's breaker is open.
func (d *Dispatcher) IsOpen(account string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.lanes[account]
	return m != nil && m.Open()
}

// Owing is owing.
type Owing = owing

func (o *Owing) Accepted(n int)                  { o.accepted(n) }
func (o Owing) Next() int                        { return o.next() }
func (o *Owing) Removed(n, of int) time.Duration { return o.removed(n, of) }
