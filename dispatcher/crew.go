package dispatcher

import (
	"slices"
	"time"
)

// crew are the goroutines of attempts that have none now. Rather than end they
// wait for the next, as the stack of a new one grows four times on its way to
// TLS, which took 7 % of all processor time. Who came last is the next to go:
// the garbage collector has not shrunk its stack yet. Dispatcher.mu guards it.
type crew struct {
	waiting []seat // the longest first
	closed  bool
	// spare is the least that waited since then.
	spare int
	since time.Time
}

// seat is where one of them gets what it goes on with; nil: it ends. It holds
// one, so that nobody has to wait until it is taken.
type seat chan *flight

func newSeat() seat { return make(seat, 1) }

// wait takes in one that has nothing to do.
func (c *crew) wait(s seat) {
	if c.closed {
		s <- nil
		return
	}
	c.waiting = append(c.waiting, s)
}

// pass gives a flight to one of them, if one waits.
func (c *crew) pass(f *flight) bool {
	n := len(c.waiting) - 1
	if n < 0 {
		return false
	}
	c.waiting[n] <- f
	c.waiting[n] = nil
	c.waiting = c.waiting[:n]
	c.spare = min(c.spare, n)
	return true
}

// dismiss ends as many as were not needed in the last moment.
func (c *crew) dismiss(now time.Time) {
	if now.Sub(c.since) < watchGap {
		return
	}
	c.end(c.spare)
	c.spare, c.since = len(c.waiting), now
}

// close ends all of them, and those that will come.
func (c *crew) close() {
	c.closed = true
	c.end(len(c.waiting))
}

// end ends those that wait the longest.
func (c *crew) end(n int) {
	for _, s := range c.waiting[:n] {
		s <- nil
	}
	c.waiting = slices.Delete(c.waiting, 0, n)
}
