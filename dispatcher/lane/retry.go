package lane

import "time"

// DefaultSchedule are the gaps between the attempts of a delivery: 13 attempts
// in 71 h 43 m, a weekend outage included.
var DefaultSchedule = []time.Duration{
	5 * time.Second, 30 * time.Second,
	2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	jitterShare   = 0.10           // each gap is spread by ±10 %
	MaxRetryAfter = 24 * time.Hour // Retry-After lengthens a gap up to this
)

// Policy computes when the next attempt is. It has no state.
type Policy struct {
	Schedule []time.Duration // gaps between attempts
	Horizon  time.Duration   // age at which a delivery is given up
	Reserve  time.Duration   // kept free before the horizon, for the last attempt
	Jitter   func() float64  // spreads the gaps: numbers in [0, 1)
}

// next returns when a delivery that was accepted, or replayed, then and has failed so many
// times is attempted again; false: it is given up. after is the endpoint's
// Retry-After.
func (p *Policy) next(since, now time.Time, failures int, after time.Duration) (time.Time, bool) {
	last := since.Add(p.Horizon - p.Reserve)
	if failures > len(p.Schedule) || !now.Before(last) {
		return time.Time{}, false
	}
	gap := spread(p.Schedule[failures-1], p.Jitter)
	due := now.Add(max(gap, min(after, MaxRetryAfter)))
	if due.After(last) {
		due = last
	}
	return due, true
}

// expired reports whether a delivery is past the horizon.
func (p *Policy) expired(since, now time.Time) bool {
	return now.After(since.Add(p.Horizon))
}

func spread(gap time.Duration, jitter func() float64) time.Duration {
	return gap + time.Duration((2*jitter()-1)*jitterShare*float64(gap))
}
