package store

import "time"

// Vitals are what is kept of an account's attempts and of what waits.
type Vitals struct {
	Tally                  // as it is now
	Hour, Day, Week *Tally // what happened since, the present minute included
	// OldestPending is since when the delivery waits that was accepted first of those
	// PENDING; one that is sent again waits since that was asked for. Zero: none waits.
	OldestPending time.Time
	NextDue       time.Time // the earliest DueAt beyond now; zero: none
	// LastFailure is the last failed attempt; nil: there was none. Once its delivery has
	// been removed, less is known of it.
	LastFailure *Attempt
}

// The windows, in minutes.
const (
	minutesOfHour = 60
	minutesOfDay  = 24 * minutesOfHour
	minutesOfWeek = 7 * minutesOfDay
)

// Fill completes the vitals by the tallies at the ends of earlier minutes.
func (v *Vitals) Fill(now *Tally, ago func(minutes int64) *Tally) {
	v.Tally = *now
	v.Hour, v.Day, v.Week = now.Between(ago(minutesOfHour)), now.Between(ago(minutesOfDay)), now.Between(ago(minutesOfWeek))
}

// MinuteTally is an account's tally at the end of a minute.
type MinuteTally struct {
	Minute int64 // since 1970, see [Minute]
	Tally
}

// idleAfter is how long nothing has been attempted of an endpoint that is IDLE.
const idleAfter = 24 * time.Hour

// Rested is the state of an endpoint that may be IDLE, and since when it is so.
func (v *Vitals) Rested(state HealthState, since, now time.Time) (HealthState, time.Time) {
	last := v.Success.At
	if v.Failure.At.After(last) {
		last = v.Failure.At
	}
	idle := last.Add(idleAfter)
	if v.Pending() > 0 || state == HealthSuspended || now.Before(idle) {
		return state, since
	}
	if !last.IsZero() && idle.After(since) {
		since = idle
	}
	return HealthIdle, since
}

// Earliest treats the zero time as never.
func Earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Marks reports whether a mark is of the attempt.
func (m *Mark) Marks(a *Attempt) bool {
	return m.Number == a.Number && m.At.UnixMicro() == a.At.UnixMicro()
}

// Attempt is what a mark knows of its attempt.
func (m *Mark) Attempt() *Attempt {
	return &Attempt{Number: m.Number, At: m.At, Error: m.Error, StatusCode: m.StatusCode}
}
