package store

import "time"

// ReplayState is where a bulk replay stands.
type ReplayState string

const (
	ReplayCounting  ReplayState = "COUNTING"  // what it lists is being counted
	ReplayRunning   ReplayState = "RUNNING"   // it is being sent again
	ReplayDone      ReplayState = "DONE"      // each was attempted, or left out
	ReplayStopped   ReplayState = "STOPPED"   // on request
	ReplayCancelled ReplayState = "CANCELLED" // the webhook was deleted
)

// BulkReplay sends again what a query lists of an account: those deliveries that had
// ended before it was asked for. They become PENDING a few at a time, the oldest first.
type BulkReplay struct {
	ID        string // "rpl_…"
	AccountID string
	GroupID   string        // of the replay over several accounts that it is a part of; empty: none
	Query     DeliveryQuery // but for account, order, place and limit
	Asked     []byte        // the filters in the words of the request, to be shown
	StartedAt time.Time
	State     ReplayState
	EndedAt   time.Time // zero: it goes on
	// Matched is how many it lists, as far as they have been counted.
	Matched int64
	// Replayed of these have become PENDING again. Damaged of these cannot be sent.
	Replayed, Damaged int64
	// Waiting is how many of the account's replays have not been attempted yet; no
	// more than some thousand are looked at. It is zero when the replay has ended.
	Waiting int64
}

// SentAgain is how many have been attempted since.
func (r *BulkReplay) SentAgain() int64 { return max(0, r.Replayed-r.Waiting) }

// Changed is how many were counted and are left out, as they were removed when their
// retention ended, or sent again one by one. It is known at the end.
func (r *BulkReplay) Changed() int64 {
	if r.State != ReplayDone {
		return 0
	}
	return max(0, r.Matched-r.Replayed-r.Damaged)
}

// Remaining is how many have not been attempted, and would be.
func (r *BulkReplay) Remaining() int64 {
	return max(0, r.Matched-r.SentAgain()-r.Damaged-r.Changed())
}

// Asks is the query of a step: it finds what the replay lists from a place on.
func (r *BulkReplay) Asks(after Place, limit int) DeliveryQuery {
	q := r.Query
	q.AccountID, q.OldestFirst, q.After, q.Limit = r.AccountID, true, after, limit
	if q.FinishedTo.IsZero() || q.FinishedTo.After(r.StartedAt) {
		q.FinishedTo = r.StartedAt
	}
	return q
}
