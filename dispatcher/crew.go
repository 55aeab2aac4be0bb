package dispatcher

import "time"

// crew are the goroutines of attempts that have none now. Rather than end they
// wait for the next, as the stack of a new one grows four times on its way to
// TLS, which took 7 % of all processor time. Dispatcher.mu guards it, but for
// the channel.
type crew struct {
	next chan *flight // what one of them goes on with; nil: it ends
	idle int          // how many wait, or are about to
	// spare is the least that idle was since then.
	spare int
	since time.Time
}

func newCrew() crew { return crew{next: make(chan *flight)} }

// pass gives a flight to one of them, if one waits.
func (c *crew) pass(f *flight) bool {
	select {
	case c.next <- f:
		c.idle--
		c.spare = min(c.spare, c.idle)
		return true
	default:
		return false
	}
}

// dismiss ends as many as were not needed in the last moment.
func (c *crew) dismiss(now time.Time) {
	if now.Sub(c.since) < watchGap {
		return
	}
	for n := c.spare; n > 0 && c.pass(nil); n-- {
	}
	c.spare, c.since = c.idle, now
}
