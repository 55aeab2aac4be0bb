package dispatcher

import (
	"time"

	"github.com/recapito/recapito/dispatcher/fair"
)

// The classes of lanes, by what is known of the endpoint. They say how much a lane
// may take of what all lanes share: slots and memory.
const (
	proven  fair.Class = iota // its endpoint acknowledges
	handed                    // nothing attempted yet; events have just been accepted for it
	found                     // nothing attempted yet; its backlog is from before the start
	suspect                   // its endpoint times out or keeps failing
	classes                   // how many there are
)

// classWords name the classes in metrics.
var classWords = [classes]string{proven: "proven", handed: "handed", found: "found", suspect: "suspect"}

// eighths is how much the lanes of a class and of those after it may take together.
// Something is always left for those before.
var eighths = [classes]int{proven: 8, handed: 7, found: 4, suspect: 2}

// class is what the lane counts as now. Without a success it takes one slot at a
// time.
func (l *lane) class() fair.Class {
	switch {
	case l.pace.doubted() || l.pace.open:
		return suspect
	case l.pace.proven:
		return proven
	case l.handed:
		return handed
	}
	return found
}

// hold counts bytes of bodies that wait in memory. What is in flight does not
// count: the slots bound it.
func (d *Dispatcher) hold(l *lane, n int) {
	l.held += n
	d.memory.Take(l.heldAs, n)
}

func (d *Dispatcher) release(l *lane, n int) {
	l.held -= n
	d.memory.GiveBack(l.heldAs, n)
	d.jobs.signal() // there may be room for others
}

// classify counts what the lane holds for its present class. If there is no room,
// the lane forgets it and reads it from the store later.
func (d *Dispatcher) classify(l *lane) {
	before, now := l.heldAs, l.class()
	d.memory.Move(before, now, l.held)
	l.heldAs = now
	if now < before {
		d.jobs.signal() // there may be room for others
	}
	if now > before && l.held > 0 && d.memory.Left(now) < 0 {
		d.fallBehind(l)
	}
}

// fallBehind makes the lane forget what it holds and has not begun. It reads
// that again when needed.
func (d *Dispatcher) fallBehind(l *lane) {
	l.epoch++
	l.direct, l.more, l.cursor = false, true, 0
	l.probe = nil
	l.late, l.missed = nil, 1 // whatever there is
	l.window.clear(time.Now(), d.overtaking(time.Now()))
	l.kept = 0
	d.release(l, l.held)
}
