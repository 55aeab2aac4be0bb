package lane

import "time"

// MaxLimit is the most attempts that one lane makes at a time.
const MaxLimit = 64

// Limit is how many attempts an endpoint takes at a time: additive increase,
// multiplicative decrease, between 1 and [MaxLimit].
type Limit struct {
	n       float64
	steep   bool // one more a success (slow start), until the first decrease
	lastCut time.Time
	before  int // so many were sent at a time when it was cut; zero: it has not been, or that is over
}

// NewLimit is that of an endpoint of which nothing is known.
func NewLimit() Limit { return Limit{n: 1, steep: true} }

// N is the limit.
func (l *Limit) N() int { return int(l.n) }

// acknowledged increases it, unless fewer than half were used: an unused limit says
// nothing about the endpoint. sent is the number of requests sent at that time, the
// acknowledged one included. Attempts that wait for a connection do not use the
// limit; otherwise a fast endpoint would have all of them dialled.
func (l *Limit) acknowledged(sent int) {
	switch {
	case float64(sent) < l.n/2:
		l.before = 0 // it takes more than are wanted
		return
	case l.steep:
		l.n++
	default:
		l.n += 1 / l.n
	}
	l.n = min(l.n, MaxLimit)
	if !l.Reduced() {
		l.before = 0
	}
}

// Reduced reports whether the endpoint gets fewer attempts at a time than it did.
func (l *Limit) Reduced() bool { return l.N() < l.before }

// overloaded halves it; sent requests there were at that time. Attempts that began
// before the last decrease say nothing about the limit after it.
func (l *Limit) overloaded(started, now time.Time, sent int) {
	if !started.After(l.lastCut) {
		return
	}
	l.before = max(l.before, sent)
	l.n = max(1, l.n/2)
	l.steep = false
	l.lastCut = now
}
