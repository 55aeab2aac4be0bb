package main

import "github.com/recapito/recapito/bench/rig"

// curve is what the soak watches. A quarter of it is the warm-up, of which what
// is said of it knows nothing.
type curve struct{ rig.Curve }

func newCurve(name string) *curve { return &curve{rig.Curve{Name: name}} }

func (c *curve) mean() float64 {
	mean, _ := c.line()
	return mean
}

// line is the mean, and the rise from the beginning to the end, of the line that
// fits best (least squares).
func (c *curve) line() (mean, rise float64) {
	from := len(c.At) / 4
	at, values := c.At[from:], c.Values[from:]
	n := float64(len(at))
	var x, y, xx, xy float64
	for i := range at {
		m := at[i].Minutes()
		x, y, xx, xy = x+m, y+values[i], xx+m*m, xy+m*values[i]
	}
	if spread := n*xx - x*x; spread > 0 {
		rise = (n*xy - x*y) / spread * (at[len(at)-1] - at[0]).Minutes()
	}
	return y / n, rise
}
