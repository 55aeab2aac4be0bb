package store

import (
	"cmp"
	"time"
)

// AccountQuery selects accounts, the worst first: by [HarmAt] the end of a minute, which
// is that of the first page. Those with none are the last, in order of ID. Zero fields
// select all.
type AccountQuery struct {
	Prefix string        // of the ID
	States []HealthState // of the endpoint, IDLE among them; an account without a webhook has none
	After  AccountPlace  // Next of the page before
	Limit  int
	Now    time.Time
}

// AccountPlace is a place in a listing of accounts: behind an account with this harm by
// the end of this minute.
type AccountPlace struct {
	Minute int64 // since 1970
	Harm   int64
	ID     string
}

// Compare orders two places of one minute.
func (p AccountPlace) Compare(q AccountPlace) int {
	return cmp.Or(cmp.Compare(q.Harm, p.Harm), cmp.Compare(p.ID, q.ID))
}

// countedWithin is how long after the end of a minute all is counted that belongs to it.
const countedWithin = 10 * time.Second

// RankedBy is the minute at whose end accounts are compared now.
func RankedBy(now time.Time) int64 { return Minute(now.Add(-countedWithin)) - 1 }

// HarmAt is how much an account's PENDING deliveries had waited by the end of a minute:
// their number then, times how long the one that is now the first of them had waited, in
// milliseconds. When it is asked for later, it is the same or less: so an account can fall
// behind in a listing, and is listed again, but cannot be left out.
func HarmAt(minute, pending int64, oldest time.Time) int64 {
	if pending <= 0 || oldest.IsZero() {
		return 0
	}
	return pending * max(0, (minute+1)*60_000-oldest.UnixMilli())
}

// AccountHealth is an account with what is known of its endpoint.
type AccountHealth struct {
	Account
	State         HealthState // empty: it has no webhook
	Since         time.Time   // in that state
	Pending       int64
	OldestPending time.Time // as in [Vitals]
	InARow        int64     // as in [Tally]
	LastFailure   *Attempt  // as in [Vitals]
	CallbackURL   string    // empty: it has no webhook
}

// Add adds what is kept of its attempts and of what waits.
func (h *AccountHealth) Add(v *Vitals, now time.Time) {
	h.Pending, h.OldestPending, h.InARow, h.LastFailure = v.Pending(), v.OldestPending, v.InARow, v.LastFailure
	if h.State != "" {
		h.State, h.Since = v.Rested(h.State, h.Since, now)
	}
}

// AccountPage is a part of a listing.
type AccountPage struct {
	Accounts []AccountHealth // at most the query's Limit
	Next     AccountPlace    // continues the listing; zero: it is complete
}
