package dispatcher

import (
	"errors"
	"fmt"
)

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
	open, suspect, held := 0, 0, 0
	for account, l := range d.lanes {
		slow := 0
		for f := range l.flights {
			open++
			if f.suspect {
				suspect++
			}
			if f.slow {
				slow++
			}
		}
		equal(account+"'s slow attempts", l.pace.slow, slow)
		if l.ring != nil && !l.runnable() {
			errs = append(errs, fmt.Errorf("%s waits for a slot that it cannot use", account))
		}
		for _, it := range l.window.items {
			held += len(it.delivery.Body)
		}
		if l.idle() && l.alarm.IsZero() {
			errs = append(errs, fmt.Errorf("%s is idle and will stay for ever", account))
		}
	}
	equal("slots in use", d.slots.open, open)
	equal("suspect slots in use", d.slots.suspect, suspect)
	equal("bytes held", d.held, held)
	return errors.Join(errs...)
}
