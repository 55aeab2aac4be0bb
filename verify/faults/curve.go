package main

import (
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// curve is what the soak watches.
type curve struct {
	rig.Curve
	noise float64 // by how much it differs from one moment to the next; infinite: it is not judged
}

func newCurve(name string, noise float64) *curve {
	return &curve{Curve: rig.Curve{Name: name}, noise: noise}
}

// warmUp is the first quarter of a curve, which its line ignores.
func (c *curve) warmUp() int { return len(c.At) / 4 }

// warm is how long the rest lasted.
func (c *curve) warm() time.Duration { return c.At[len(c.At)-1] - c.At[c.warmUp()] }

// line is the mean, and the slope by the minute, of the line that fits best
// (least squares) after the warm-up.
func (c *curve) line() (mean, slope float64) {
	at, values := c.At[c.warmUp():], c.Values[c.warmUp():]
	n := float64(len(at))
	var x, y, xx, xy float64
	for i := range at {
		m := at[i].Minutes()
		x, y, xx, xy = x+m, y+values[i], xx+m*m, xy+m*values[i]
	}
	if spread := n*xx - x*x; spread > 0 {
		slope = (n*xy - x*y) / spread
	}
	return y / n, slope
}
