package dispatcher

import "time"

// clock notices when the system's clock is set back. What is in memory waits by
// the monotonic clock and is not affected. Rows are due by the system's clock;
// without this they would wait longer by as much as it was set back.
type clock struct {
	at   time.Time // of the last look; zero: there was none
	wall time.Time // the same without its monotonic reading; at first, of the newest event
}

// setBackBy is what a clock may lose between two looks, as by a leap second.
const setBackBy = time.Second

// setBack reports whether that happened since the last look.
func (c *clock) setBack(now time.Time) bool {
	wall, passed := now.Round(0), time.Duration(0)
	if !c.at.IsZero() {
		passed = now.Sub(c.at)
	}
	back := passed-wall.Sub(c.wall) > setBackBy
	c.at, c.wall = now, wall
	return back
}

// clockSetBack makes due what was put off by the clock before it was set back.
// So an attempt may be too early (at most once each time), but not too late.
// What waits for a breaker or a PUT becomes due with these.
func (d *Dispatcher) clockSetBack(now time.Time) {
	d.cfg.Logger.Warn("the system's clock was set back: what waits for its retry is retried now")
	d.rewound = true
	for _, l := range d.lanes {
		if !l.known || (l.active() && !l.pace.open && l.hasPutOff()) {
			l.makeDue = true
			d.reconsider(l, now)
		}
	}
}
