package store

import "time"

// WaitingFor is what a PENDING delivery waits for, a word of the contract.
type WaitingFor string

const (
	ForRetry        WaitingFor = "RETRY"         // the time of its next attempt; the last one failed
	ForEarlierEvent WaitingFor = "EARLIER_EVENT" // an earlier event of its message
	ForProbe        WaitingFor = "PROBE"         // a probe of the open breaker
	ForPut          WaitingFor = "SUSPENDED"     // a PUT
	ForOutcome      WaitingFor = "IN_FLIGHT"     // the end of an attempt under way, and its record
	ForTurn         WaitingFor = "QUEUE"         // its turn
)

// Wait is what a PENDING delivery waits for.
type Wait struct {
	For WaitingFor
	// NextAttempt is when it is attempted next, or soon after that; zero: nobody
	// knows.
	NextAttempt time.Time
	// EventID is of the earlier event; empty: it has just ended.
	EventID string
}

// Probing is what becomes of the wish that an account's breaker probes now.
type Probing uint8

const (
	NotOpen       Probing = iota // the breaker is not; everything is attempted as usual
	ProbeUnderWay                // a probe is, and its outcome decides
	ProbeBegins                  // now, or as soon as there is a slot for it
)

// Wait says what a PENDING delivery waits for, as far as rows tell: its own, and
// that of the account's webhook. Nil: there is none.
func (d *Delivery) Wait(w *Webhook, now time.Time) Wait {
	later := d.DueAt.After(now)
	switch {
	case w == nil || !d.GoesTo(w):
		return Wait{For: ForTurn} // it is about to be CANCELLED
	case w.Status == Suspended:
		return Wait{For: ForPut}
	case later && d.Failures > 0:
		return Wait{For: ForRetry, NextAttempt: d.DueAt}
	case d.Behind.Any():
		return Wait{For: ForEarlierEvent, EventID: d.Behind.EventID}
	}
	return Wait{For: ForTurn}
}
