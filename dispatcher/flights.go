package dispatcher

import "time"

// flightList holds the attempts that are not slow yet, oldest first.
type flightList struct{ first, last *flight }

func (l *flightList) push(f *flight) {
	f.prev = l.last
	if l.last == nil {
		l.first = f
	} else {
		l.last.next = f
	}
	l.last = f
}

// remove removes a flight. A slow one is already out.
func (l *flightList) remove(f *flight) {
	if f.slow {
		return
	}
	if f.prev == nil {
		l.first = f.next
	} else {
		f.prev.next = f.next
	}
	if f.next == nil {
		l.last = f.prev
	} else {
		f.next.prev = f.prev
	}
	f.prev, f.next = nil, nil
}

// markSlow makes every lane suspect that has an attempt open for longer than
// slowAfter. It counts all of the lane's attempts as suspect.
func (d *Dispatcher) markSlow(now time.Time) {
	for f := d.flights.first; f != nil && now.Sub(f.started) > slowAfter; f = d.flights.first {
		d.flights.remove(f)
		f.slow = true
		f.lane.pace.slow++
		for other := range f.lane.flights {
			d.slots.Move(other.class, suspect, 1)
			other.class = suspect
		}
		d.reconsider(f.lane, now)
	}
}
