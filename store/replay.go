package store

import "time"

// Replay is what is known of a PENDING delivery that had ended and is sent again on
// request; zero: it is in its first run. Its failures, its schedule and its horizon
// begin anew; its attempts count on.
type Replay struct {
	At time.Time // when it was asked for; later than the delivery ended
	// WebhookID is the webhook that it goes to, which may be another than the
	// delivery was accepted for.
	WebhookID string
	Attempts  int // made before; that may be recorded since
}

// IsReplay reports whether the delivery is sent again.
func (d *Delivery) IsReplay() bool { return !d.Replay.At.IsZero() }

// Since is when the horizon begins: the delivery was accepted, or replayed.
func (d *Delivery) Since() time.Time {
	if d.IsReplay() {
		return d.Replay.At
	}
	return d.AcceptedAt
}

// Begun reports whether it has been attempted since it was accepted, or replayed.
func (d *Delivery) Begun() bool { return d.Attempts > d.Replay.Attempts }

// GoesTo reports whether the webhook gets the delivery; one that was deleted, and one
// that was made since, do not.
func (d *Delivery) GoesTo(w *Webhook) bool {
	if d.IsReplay() {
		return d.Replay.WebhookID == w.ID
	}
	return d.Seq >= w.FirstSeq
}

// Again is the replay of a delivery that has ended, to a webhook.
func (d *Delivery) Again(w *Webhook, now time.Time) Replay {
	at := now
	if !at.After(d.FinishedAt) { // the clock was set back
		at = d.FinishedAt.Add(time.Microsecond)
	}
	return Replay{At: at, WebhookID: w.ID, Attempts: d.Attempts}
}
