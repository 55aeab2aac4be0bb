package store

import "time"

// HealthState is what is known of an endpoint, a word of the contract.
type HealthState string

const (
	HealthHealthy   HealthState = "HEALTHY"   // it acknowledges, or nothing is known
	HealthSlowed    HealthState = "SLOWED"    // fewer attempts at a time than there were, or it is slow to answer
	HealthFailing   HealthState = "FAILING"   // several attempts in a row have failed; it is still attempted
	HealthProbing   HealthState = "PROBING"   // its breaker is open: there are only probes
	HealthSuspended HealthState = "SUSPENDED" // its webhook is
	// HealthIdle is never recorded: nothing has been attempted for a day, and
	// nothing waits.
	HealthIdle HealthState = "IDLE"
)

// Health is what was last recorded of an endpoint. It is part of its [Webhook], and is
// changed by [Queue.RecordHealth]; a registration, a PUT and a suspension begin it anew.
type Health struct {
	State HealthState
	Since time.Time
	// Version is of the webhook, when its health last began anew. A change that was
	// seen of an earlier version says nothing of it.
	Version int64
}

// BeginAnew begins the health of a webhook anew that has just been registered, put or
// suspended, by which it gets this version. It returns the change of state that this is;
// nil: it is none.
func (w *Webhook) BeginAnew(version int64, now time.Time) *HealthChange {
	before := w.Health.State
	w.Health = Health{State: HealthHealthy, Since: now, Version: version}
	if w.Status == Suspended {
		w.Health.State = HealthSuspended
	}
	if before == "" || before == w.Health.State {
		return nil
	}
	return &HealthChange{AccountID: w.AccountID, WebhookID: w.ID, Version: version, From: before, To: w.Health.State, At: now}
}

// HealthChange is a change of an endpoint's state.
type HealthChange struct {
	AccountID string
	WebhookID string
	Version   int64 // of the webhook, as whoever saw the change knew it
	Number    int64 // among those of the webhook, from 1; the store sets it, and From
	From, To  HealthState
	At        time.Time
	// What the last failed attempt before it brought; both are empty if the change was
	// not for the worse.
	Error      ErrorKind
	StatusCode int
}

// Apply takes a change in and reports whether it is one: what it says is of the webhook
// as it is, and is not so already. One that was left and has come back, unrecorded, is so
// since then.
func (c *HealthChange) Apply(w *Webhook) bool {
	h := &w.Health
	if c.WebhookID != w.ID || c.Version < h.Version || c.To == h.State && !c.At.After(h.Since) {
		return false
	}
	c.From, h.State, h.Since = h.State, c.To, c.At
	return true
}

// MaxHealthChanges is how many changes of a webhook are kept, the newest.
const MaxHealthChanges = 1000

// HealthChangeQuery selects changes of the account's present webhook.
type HealthChangeQuery struct {
	AccountID string
	Before    int64 // Numbers less than this one: Next of the page before; zero: from the newest
	Limit     int
}

// HealthChangePage is a part of a listing.
type HealthChangePage struct {
	Changes []HealthChange // newest first, at most the query's Limit
	Next    int64          // continues the listing; zero: it is complete
}
