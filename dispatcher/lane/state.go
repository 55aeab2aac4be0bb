package lane

import (
	"time"

	"github.com/recapito/recapito/store"
)

// changeGap is the least time between two changes of state that a lane wants recorded:
// an endpoint that comes and goes costs at most so many writes. That the breaker has
// opened is recorded at once: that takes ten failures, and lasts.
const changeGap = time.Second

// telling is what is told of the endpoint's state, and recorded.
type telling struct {
	taken       bool          // what was recorded has been taken up
	shown       store.Health  // the state, and since when it is so
	recorded    store.Health  // the store has it; no State: that is not known
	change      *HealthChange // is being recorded
	changeAt    time.Time     // the next is not recorded before
	lastFailure failure
}

// failure is what a failed attempt brought.
type failure struct {
	kind   store.ErrorKind
	status int
}

// HealthChange is to be recorded.
type HealthChange struct {
	store.HealthChange
	tenure int // of the lane
}

// State is the state of the endpoint, by which the lane acts. It is empty as long as
// nothing of the webhook is known.
func (l *Lane) State() store.HealthState {
	switch {
	case !l.taken || l.webhook == nil:
		return ""
	case l.Suspended() || l.suspend != nil:
		return store.HealthSuspended
	case l.Open():
		return store.HealthProbing
	case l.health.Failing():
		return store.HealthFailing
	case l.health.Suspect() || l.awaited > 0 || l.health.Limit.Reduced(): // what has no connection yet may wait for our way out
		return store.HealthSlowed
	}
	return store.HealthHealthy
}

// Shown is the state as it is told, as of the last [Lane.Ready]. An endpoint that came
// back before its change was recorded has not changed.
func (l *Lane) Shown() store.Health { return l.shown }

// takeUp goes on with what was recorded of the endpoint, by an earlier lane. One whose
// breaker was open is probed at once.
func (l *Lane) takeUp(w *store.Webhook, now time.Time) {
	if l.taken {
		return
	}
	l.taken, l.shown, l.recorded = true, w.Health, w.Health
	switch w.Health.State {
	case store.HealthProbing:
		l.health.wasOpen(now)
		l.dialledSince = now
		l.Drop(now)
	case store.HealthFailing:
		l.health.wasFailing()
	case store.HealthSlowed:
		l.health.wasSlowed()
	}
}

// untake forgets the state: the webhook has begun anew, or its lane has.
func (l *Lane) untake() {
	l.taken, l.shown, l.recorded = false, store.Health{}, store.Health{}
}

// tell says which change is to be recorded now, or when to be asked again.
func (l *Lane) tell(now time.Time) (c *HealthChange, again time.Time) {
	state := l.State()
	if state == "" {
		return nil, again
	}
	switch {
	case l.Suspended(): // perhaps by a commit that seemed to fail
		l.shown = l.webhook.Health
	case state == l.shown.State:
	case l.change == nil && state == l.recorded.State:
		l.shown = l.recorded
	default:
		l.shown = store.Health{State: state, Since: now}
	}
	switch {
	case !l.isUntold() || l.change != nil:
		return nil, again
	case now.Before(l.changeAt) && state != store.HealthProbing:
		return nil, l.changeAt
	}
	l.changeAt = now.Add(changeGap)
	l.change = &HealthChange{tenure: l.tenure, HealthChange: store.HealthChange{
		AccountID: l.account, WebhookID: l.webhook.ID, Version: l.webhook.Version, From: l.recorded.State, To: state, At: l.shown.Since,
	}}
	if isWorse(l.recorded.State, state) {
		l.change.Error, l.change.StatusCode = l.lastFailure.kind, l.lastFailure.status
	}
	return l.change, again
}

// isUntold reports whether the store does not have the state. The suspension of a
// webhook records itself.
func (l *Lane) isUntold() bool {
	return l.shown.State != l.recorded.State && l.shown.State != store.HealthSuspended
}

// isWorse compares two states.
func isWorse(from, to store.HealthState) bool {
	rank := func(s store.HealthState) int {
		switch s {
		case store.HealthSlowed:
			return 1
		case store.HealthFailing:
			return 2
		case store.HealthProbing:
			return 3
		}
		return 0
	}
	return rank(to) > rank(from)
}

// HealthRecorded notes that the store has a change, or that it did not hold.
func (l *Lane) HealthRecorded(c *HealthChange) {
	l.change = nil
	switch {
	case c.tenure != l.tenure:
		l.recorded.State = "" // others may have recorded something since
	case l.webhook != nil && c.WebhookID == l.webhook.ID && c.Version >= l.recorded.Version:
		l.recorded.State, l.recorded.Since = c.To, c.At
		if l.shown.State == c.To {
			l.shown = l.recorded // it went and came back meanwhile
		}
	}
}

// HealthRefused notes that a change may not have been recorded.
func (l *Lane) HealthRefused(c *HealthChange, now time.Time) {
	l.HealthRecorded(c)
	l.recorded.State, l.changeAt = "", now.Add(changeGap)
}
