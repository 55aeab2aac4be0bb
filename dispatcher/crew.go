package dispatcher

import (
	"slices"
	"time"
)

// crew are the goroutines that have no attempt now. They wait for the next
// attempt instead of ending: the stack of a new goroutine grows four times on
// its way to TLS, which took 7 % of all processor time. The one that came last
// goes first: the garbage collector has not shrunk its stack yet. Dispatcher.mu
// guards the crew.
type crew struct {
	waiting []seat // the longest first
	closed  bool
	// spare is the least that waited since then.
	spare int
	since time.Time
}

// seat is the channel on which one of them gets its next flight; nil ends the
// goroutine. Its buffer of one keeps the sender from waiting.
type seat chan *flight

func newSeat() seat { return make(seat, 1) }

// wait adds a goroutine that has nothing to do.
func (c *crew) wait(s seat) {
	if c.closed {
		s <- nil
		return
	}
	c.waiting = append(c.waiting, s)
}

// pass gives a flight to a goroutine that waits, if there is one.
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

// dismiss ends as many goroutines as were not needed since the last call.
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
