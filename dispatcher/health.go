package dispatcher

import (
	"context"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// recordChanges records the changes of states that wait, and reports whether there
// were any. Lanes whose changes could not be recorded ask again a second later.
func (r *recording) recordChanges(ctx context.Context) bool {
	d := r.d
	if time.Now().Before(r.pause) {
		return false // a store that fails is not asked more often
	}
	d.mu.Lock()
	changes := d.recorder.changes
	d.recorder.changes = nil
	d.mu.Unlock()
	if len(changes) == 0 {
		return false
	}
	refused := r.tryChanges(ctx, changes)
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range changes {
		if slices.Contains(refused, c) {
			c.member.HealthRefused(c.HealthChange, now)
		} else {
			c.member.HealthRecorded(c.HealthChange)
		}
		c.member.apply(now)
	}
	return true
}

// tryChanges records changes in one commit and returns those of which that failed. If
// the store works, both halves are tried by themselves.
func (r *recording) tryChanges(ctx context.Context, changes []change) (refused []change) {
	err := r.writeChanges(ctx, changes)
	if err == nil {
		return nil
	}
	r.d.cfg.Logger.Error("recording endpoints' states failed; they will be tried again", "changes", len(changes), "error", err)
	if half := len(changes) / 2; half > 0 && !r.storeFails(ctx) {
		return append(r.tryChanges(ctx, changes[:half]), r.tryChanges(ctx, changes[half:])...)
	}
	r.failed()
	return changes
}

func (r *recording) writeChanges(ctx context.Context, changes []change) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRecords)
	defer cancel()
	defer survive(r.d.cfg.Logger, "recording endpoints' states", "", &err)
	plain := make([]store.HealthChange, len(changes))
	for i, c := range changes {
		plain[i] = c.HealthChange.HealthChange
	}
	return r.d.cfg.Store.RecordHealth(ctx, plain)
}

// Pace says how an account's endpoint does, and when it is attempted next. The webhook
// and next, the earliest DueAt to come of what is PENDING, are as the store has them:
// without a lane, they tell.
func (d *Dispatcher) Pace(w *store.Webhook, next, now time.Time) store.Pace {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.lanes[w.AccountID]; m != nil {
		if p, ok := m.Pace(now); ok {
			return p
		}
	}
	p := w.Pace(next)
	p.Horizon = d.cfg.RetryHorizon
	return p
}
