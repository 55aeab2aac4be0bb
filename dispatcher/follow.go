package dispatcher

import (
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// Follow begins to follow an attempt of a delivery that has a traceparent. It returns
// that of the request (empty: it has none), and is told how the attempt ended, if it
// counts.
type Follow func(*Followed) (traceparent string, ended func(*store.Outcome))

// Followed is an attempt that begins.
type Followed struct {
	Delivery *store.Delivery
	Host     string // of the callback URL
	Probe    bool
	Due      time.Time // since when it could have begun
	Started  time.Time
}

// follow adds to the header what the request says of its trace.
func (a *attempt) follow(header []egress.Field) []egress.Field {
	d, del := a.member.d, a.Delivery()
	if d.cfg.Follow == nil || del.Traceparent == "" {
		return header
	}
	due := del.AcceptedAt
	if !del.DueAt.IsZero() {
		due = del.DueAt
	}
	if due.After(a.Started) { // as for a probe, or by a clock that was set back
		due = a.Started
	}
	own, ended := d.cfg.Follow(&Followed{Delivery: del, Host: host(a.Webhook.CallbackURL), Probe: a.Probe, Due: due, Started: a.Started})
	a.followed = ended
	if own != "" {
		header = append(header, egress.Field{Name: "Traceparent", Value: own})
	}
	return header
}
