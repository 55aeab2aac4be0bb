package dispatcher

import "time"

// markSlow makes every lane suspect that has an attempt open for longer than
// slowAfter. It counts all of the lane's attempts as suspect.
func (d *Dispatcher) markSlow(now time.Time) {
	for first := d.quick.Front(); first != nil; first = d.quick.Front() {
		a := first.Value.(*attempt)
		if now.Sub(a.started) <= slowAfter {
			return
		}
		d.quick.Remove(first)
		a.slow = true
		a.lane.pace.slow++
		for other := range a.lane.attempts {
			d.slots.Move(other.class, suspect, 1)
			other.class = suspect
		}
		d.reconsider(a.lane, now)
	}
}
