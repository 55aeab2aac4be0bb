package dispatcher

import "time"

// trust says how much a lane may take of what all lanes share: slots and
// memory.
type trust int

const (
	proven  trust = iota // its endpoint acknowledges
	handed               // nothing attempted yet; events have just been accepted for it
	found                // nothing attempted yet; its backlog is from before the start
	suspect              // its endpoint times out or keeps failing
	trusts               // how many there are
)

// eighths is how much the lanes of one trust and of those below it may take
// together. Something is always left for those above.
var eighths = [trusts]int{proven: 8, handed: 7, found: 4, suspect: 2}

// budget is one resource that the lanes share.
type budget struct {
	max   int
	taken [trusts]int
}

// left is how much lanes of that trust may still take.
func (b *budget) left(t trust) int {
	left, taken := b.max, 0
	for i := suspect; i >= proven; i-- {
		taken += b.taken[i]
		if i <= t {
			left = min(left, max(1, b.max*eighths[i]/8)-taken)
		}
	}
	return left
}

func (b *budget) total() (n int) {
	for _, taken := range b.taken {
		n += taken
	}
	return n
}

// trust is how far the lane is trusted now. Without a success it takes one slot
// at a time.
func (l *lane) trust() trust {
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
	d.memory.taken[l.heldAs] += n
}

func (d *Dispatcher) release(l *lane, n int) {
	l.held -= n
	d.memory.taken[l.heldAs] -= n
	d.chores.signal() // there may be room for others
}

// retrust moves what the lane holds to the count of its present trust. If there
// is no room, the lane forgets it and reads it from the store later.
func (d *Dispatcher) retrust(l *lane) {
	before, now := l.heldAs, l.trust()
	d.memory.taken[before] -= l.held
	d.memory.taken[now] += l.held
	l.heldAs = now
	if now < before {
		d.chores.signal() // there may be room for others
	}
	if now > before && l.held > 0 && d.memory.left(now) < 0 {
		d.fallBehind(l)
	}
}

// fallBehind makes the lane forget what it holds and has not begun. It reads
// that again when needed.
func (d *Dispatcher) fallBehind(l *lane) {
	l.epoch++
	l.direct, l.more, l.cursor = false, true, 0
	l.probe = nil
	l.late, l.lost = nil, true
	l.window.clear(time.Now(), d.overtaking(time.Now()))
	l.kept = 0
	d.release(l, l.held)
}
