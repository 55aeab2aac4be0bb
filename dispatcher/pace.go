package dispatcher

import "time"

const (
	maxLimit = 64 // attempts of one lane at a time
	// failuresSuspect in a row make a lane suspect, failuresOpen open its
	// breaker.
	failuresSuspect = 3
	failuresOpen    = 10
	// slowAfter is how long an attempt may be open before its lane is suspect.
	slowAfter = time.Second

	// restShare is the largest part of a timed-out attempt's duration that its
	// lane waits before the next attempt.
	restShare = 0.25

	minProbeGap = 5 * time.Second
	maxProbeGap = 5 * time.Minute
)

// pace is what a lane knows of its endpoint: how many attempts it takes at a
// time, whether it may use everybody's slots, and whether it answers at all.
type pace struct {
	limit    float64   // concurrency; additive increase, multiplicative decrease
	steep    bool      // increase by one a success (slow start) until the first decrease
	lastCut  time.Time // when it was decreased last
	proven   bool      // has had a success
	suspect  bool
	slow     int // attempts open for longer than slowAfter
	failures int // in a row
	// resumeAt: after a timeout no attempt begins before.
	resumeAt time.Time

	open      bool          // the breaker: only probes
	probeGap  time.Duration // the present gap
	nextProbe time.Time
}

// doubted: the endpoint is suspect, or may be found to be once its slow attempts
// have ended.
func (p *pace) doubted() bool { return p.suspect || p.slow > 0 }

func newPace() pace { return pace{limit: 1, steep: true} }

// succeeded handles an acknowledged attempt: took is its duration, sent the
// number of requests sent at that time, itself included. Attempts that wait for
// a connection do not use the limit; otherwise a fast endpoint would have all
// of them dialled. succeeded reports whether the breaker closed.
func (p *pace) succeeded(took time.Duration, sent int) (closed bool) {
	p.failures = 0
	p.proven = true
	p.resumeAt = time.Time{}
	if p.open {
		slow := p.slow // attempts that are still open
		*p = newPace()
		p.proven, p.slow, p.suspect = true, slow, slow > 0
		return true
	}
	if took < slowAfter && p.slow == 0 {
		p.suspect = false
	}
	// An unused limit says nothing about the endpoint.
	if float64(sent) >= p.limit/2 {
		if p.steep {
			p.limit++
		} else {
			p.limit += 1 / p.limit
		}
		p.limit = min(p.limit, maxLimit)
	}
	return false
}

// rest delays the next attempt, until there is a success. A random part of the
// time, from 0 to 1, spreads endpoints that went silent together, so that they
// are not dialled together again.
func (p *pace) rest(waited time.Duration, part float64, now time.Time) {
	p.resumeAt = now.Add(time.Duration(part * restShare * float64(waited)))
}

func (p *pace) resting(now time.Time) bool { return now.Before(p.resumeAt) }

// failed handles a failed attempt that began at started. overload says that the
// endpoint asked for fewer attempts, or took too long. failed reports whether
// the breaker opened.
func (p *pace) failed(overload, timedOut bool, started, now time.Time) (opened bool) {
	p.failures++
	if timedOut || p.failures >= failuresSuspect {
		p.suspect = true
	}
	// Attempts that began before the last decrease say nothing about the
	// limit after it.
	if overload && started.After(p.lastCut) {
		p.limit = max(1, p.limit/2)
		p.steep = false
		p.lastCut = now
	}
	if p.open || p.failures < failuresOpen {
		return false
	}
	p.open = true
	p.proven = false
	p.probeGap = minProbeGap
	p.nextProbe = now.Add(p.probeGap)
	return true
}

// probeFailed sets the time of the next probe: the gap doubles, and the
// endpoint may ask for more, but not for more than the longest gap: it says
// when that request may be repeated, and the lane's others wait for the probe.
func (p *pace) probeFailed(now time.Time, after time.Duration) {
	p.probeGap = min(2*p.probeGap, maxProbeGap)
	p.nextProbe = now.Add(max(p.probeGap, min(after, maxProbeGap)))
}
