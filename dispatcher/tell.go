package dispatcher

import (
	"context"
	"log/slog"
	"net/url"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// Observation is what metrics learn of an attempt.
type Observation struct {
	Outcome    string // an error kind's word, or ACKNOWLEDGED
	StatusCode int    // of its answer; 0: there was none
	Duration   time.Duration
	State      store.State // of the delivery, after it
	AcceptedAt time.Time
	Now        time.Time
	Probe      bool
}

// tell tells the operator of an attempt that counts.
func (a *attempt) tell(o *store.Outcome, err error, now time.Time) {
	d := a.member.d
	var panicked error
	defer survive(d.cfg.Logger, "telling of an attempt", a.member.Account(), &panicked)
	seen := Observation{
		Outcome: outcomeWord(o.Attempt), StatusCode: o.Attempt.StatusCode, Duration: o.Attempt.Duration, State: o.State,
		AcceptedAt: a.Delivery().AcceptedAt, Now: now, Probe: a.Probe,
	}
	a.log(d.cfg.Logger, o, seen.Outcome, err)
	d.cfg.Tell.Attempt(seen)
	if a.followed != nil {
		a.followed(o)
	}
}

func outcomeWord(a *store.Attempt) string {
	if a.Error == "" {
		return egress.Acknowledged.String()
	}
	return string(a.Error)
}

// log writes the one line of an attempt: at level debug if it was acknowledged, as
// nearly all are, else at info. It names the callback's host, never its path or query.
func (a *attempt) log(log *slog.Logger, o *store.Outcome, outcome string, err error) {
	level := slog.LevelInfo
	if o.Attempt.Error == "" {
		level = slog.LevelDebug
	}
	if !log.Enabled(context.Background(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 11)
	attrs = append(attrs,
		slog.String("outcome", outcome),
		slog.String("account", a.member.Account()),
		slog.String("event", a.Delivery().EventID),
		slog.Int("attempt", o.Attempt.Number),
		slog.String("host", host(a.Webhook.CallbackURL)),
		slog.Duration("took", o.Attempt.Duration),
	)
	if o.Attempt.StatusCode != 0 {
		attrs = append(attrs, slog.Int("status", o.Attempt.StatusCode))
	}
	if o.Attempt.Detail != "" {
		attrs = append(attrs, slog.String("detail", o.Attempt.Detail))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	if o.Attempt.Probe {
		attrs = append(attrs, slog.Bool("probe", true))
	}
	if !o.DueAt.IsZero() {
		attrs = append(attrs, slog.Time("next", o.DueAt))
	}
	log.LogAttrs(context.Background(), level, "attempt", attrs...)
}

func host(callbackURL string) string {
	u, err := url.Parse(callbackURL)
	if err != nil {
		return ""
	}
	return u.Host
}
