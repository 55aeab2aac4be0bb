package dispatcher

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DefaultSchedule are the gaps between the attempts of a delivery: 13 attempts
// in 71 h 43 m, a weekend outage included.
var DefaultSchedule = []time.Duration{
	5 * time.Second, 30 * time.Second,
	2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	jitterShare   = 0.10           // each gap is spread by ±10 %
	maxRetryAfter = 24 * time.Hour // Retry-After lengthens a gap up to this
)

var defaultJitter = rand.Float64

// retryPolicy computes when the next attempt is. It has no state.
type retryPolicy struct {
	schedule []time.Duration
	horizon  time.Duration
	reserve  time.Duration // kept free before the horizon, for the last attempt
	jitter   func() float64
}

// next returns when a delivery that was accepted then and has failed so many
// times is attempted again; false: it is given up. after is the endpoint's
// Retry-After.
func (p *retryPolicy) next(accepted, now time.Time, failures int, after time.Duration) (time.Time, bool) {
	last := accepted.Add(p.horizon - p.reserve)
	if failures > len(p.schedule) || !now.Before(last) {
		return time.Time{}, false
	}
	gap := spread(p.schedule[failures-1], p.jitter)
	due := now.Add(max(gap, min(after, maxRetryAfter)))
	if due.After(last) {
		due = last
	}
	return due, true
}

// expired reports whether a delivery is past the horizon.
func (p *retryPolicy) expired(accepted, now time.Time) bool {
	return now.After(accepted.Add(p.horizon))
}

func spread(gap time.Duration, jitter func() float64) time.Duration {
	return gap + time.Duration((2*jitter()-1)*jitterShare*float64(gap))
}

// firstEpoch: a greater number in Retry-After is a date in seconds since 1970,
// as some frameworks send it. As a count of seconds it would be 31 years.
const firstEpoch = 1_000_000_000

// parseRetryAfter reads the header's two forms (RFC 9110 §10.2.3), seconds and
// an HTTP date, and Unix time; anything else, the past included, is zero. The
// answer is at most [maxRetryAfter], however many digits the receiver sends.
func parseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseUint(value, 10, 33)
		switch {
		case err != nil:
			return maxRetryAfter
		case seconds > firstEpoch:
			return until(time.Unix(int64(seconds), 0), now)
		}
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return until(at, now)
}

func until(at, now time.Time) time.Duration { return min(max(at.Sub(now), 0), maxRetryAfter) }
