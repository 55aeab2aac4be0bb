package store

import (
	"cmp"
	"time"
)

// AttemptQuery selects attempts of one account. Zero fields select all.
type AttemptQuery struct {
	AccountID string
	MessageID string
	From, To  time.Time // begun at From or later and before To
	Outcome   AttemptOutcome
	// Status is of the answer, without its last two digits: 2 is 200 to 299, and
	// [NoAnswer] none.
	Status int
	After  AttemptPlace // continues a listing: Next of the page before
	Limit  int
}

// NoAnswer stands for a status, where there was no answer.
const NoAnswer = -1

// AttemptOutcome says how an attempt ended.
type AttemptOutcome string

const (
	AttemptAcknowledged AttemptOutcome = "ACKNOWLEDGED" // by a 2xx
	AttemptFailed       AttemptOutcome = "FAILED"       // any other end
)

// AttemptPlace is where a page of attempts ends. A store may find the attempts in
// two ways, and then goes on from a place in each.
type AttemptPlace struct {
	AtFirst Place      // those that acknowledged a delivery at first, by its place
	Others  AttemptKey // the others, or all
}

// AttemptKey orders attempts by their beginning.
type AttemptKey struct {
	At     time.Time
	Seq    int64 // of the delivery; zero: the zero key, which is before the newest
	Number int
}

// Compare is negative if k is older than other.
func (k AttemptKey) Compare(other AttemptKey) int {
	return cmp.Or(k.At.Compare(other.At), cmp.Compare(k.Seq, other.Seq), cmp.Compare(k.Number, other.Number))
}

// AttemptOf is an attempt with the delivery that it belongs to.
type AttemptOf struct {
	Attempt
	Seq       int64
	EventID   string
	MessageID string
}

// Key is the attempt's place by its beginning.
func (a *AttemptOf) Key() AttemptKey { return AttemptKey{At: a.At, Seq: a.Seq, Number: a.Number} }

// AttemptPage is a part of a listing.
type AttemptPage struct {
	Attempts []AttemptOf // newest first, at most the query's Limit
	// Next continues the listing; zero: it is complete. A page that has looked at
	// many attempts ends there, with fewer than Limit or none.
	Next AttemptPlace
}

// Selects reports whether the query asks for an attempt of its account.
func (q *AttemptQuery) Selects(a *AttemptOf) bool {
	status := a.StatusCode / 100
	if a.StatusCode == 0 {
		status = NoAnswer
	}
	return (q.MessageID == "" || a.MessageID == q.MessageID) &&
		(q.From.IsZero() || !a.At.Before(q.From)) && (q.To.IsZero() || a.At.Before(q.To)) &&
		(q.Outcome == "" || (a.Error == "") == (q.Outcome == AttemptAcknowledged)) &&
		(q.Status == 0 || q.Status == status)
}
