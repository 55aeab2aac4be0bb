package lane

import (
	"time"

	"github.com/recapito/recapito/store"
)

// Pace is what is known of the endpoint, and when its next attempt is to begin; false:
// nothing is known yet.
func (l *Lane) Pace(now time.Time) (p store.Pace, ok bool) {
	if l.State() == "" {
		return p, false
	}
	p = store.Pace{Health: l.shown, Concurrency: l.health.Limit.N(), Horizon: l.cfg.Horizon}
	if p.State == store.HealthProbing {
		p.Concurrency = 1
	}
	if at := l.nextAttempt(); at.After(now) {
		p.NextAttempt = at
	}
	return p, true
}

// nextAttempt is zero or past if an attempt is under way or about to begin, or if
// nobody knows.
func (l *Lane) nextAttempt() (at time.Time) {
	switch {
	case l.attempts > 0 || !l.active() || l.suspend != nil:
		return at
	case l.Open():
		return l.health.Breaker.NextProbe()
	case l.window.ready.len() > 0:
		return l.health.PausedUntil()
	}
	return l.dueAt
}
