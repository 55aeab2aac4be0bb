package dispatcher

import (
	"time"

	"github.com/recapito/recapito/dispatcher/lane"
)

// clock notices when the system's clock is set back. What is in memory waits by
// the monotonic clock and is not affected. Rows are due by the system's clock;
// without this they would wait longer by as much as it was set back.
type clock struct {
	at   time.Time // of the last look; zero: there was none
	wall time.Time // the same without its monotonic reading; at first, of the newest event
}

// setBack reports whether that happened since the last look.
func (c *clock) setBack(now time.Time) bool {
	wall, passed := now.Round(0), time.Duration(0)
	if !c.at.IsZero() {
		passed = now.Sub(c.at)
	}
	back := passed-wall.Sub(c.wall) > lane.SetBackBy
	c.at, c.wall = now, wall
	return back
}

// clockSetBack makes due what was put off by the clock before it was set back.
func (d *Dispatcher) clockSetBack(now time.Time) {
	d.cfg.Logger.Warn("the system's clock was set back: what waits for its retry is retried now")
	d.scan.Rewound = true
	for _, m := range d.lanes {
		m.ClockSetBack()
		m.apply(now)
	}
}
