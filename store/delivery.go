package store

import (
	"bytes"
	"cmp"
	"strconv"
	"time"
)

// Event is one status event as the platform handed it in, ready to be stored.
type Event struct {
	AccountID string
	ID        string // the platform's; unique within the account while retained
	MessageID string
	// Channel and Part say, with the message, whose statuses are counted by
	// sequence: each part of a message on each channel has a count of its own.
	Channel string
	Part    int // 0: not a part
	// Payload is the JSON object to be sent, but for the member sequence, which
	// the store alone can know. See [Body].
	Payload []byte
	// Traceparent is the trace context in which it was handed in (W3C Trace Context);
	// empty: none. It is no part of what the event says.
	Traceparent string
}

// Verdict says what became of an event that was handed in.
type Verdict uint8

const (
	// Accepted means that the event is stored and will be delivered.
	Accepted Verdict = iota + 1
	// Duplicate means that the account has this event already, perhaps from
	// earlier in the same batch.
	Duplicate
	// Reused means that the account has another event with this ID, by
	// [SameContent]. Nothing was stored.
	Reused
	// NoWebhook means that the account has no webhook. Nothing was stored.
	NoWebhook
	// UnknownAccount means that there is no such account. Nothing was stored.
	UnknownAccount
	// Unreadable means that the account has a webhook, but the store cannot
	// read what it holds of it. Nothing was stored.
	Unreadable
	// OverQuota means that as much as may waits of the account, see [Quota]. Nothing
	// was stored.
	OverQuota
)

// State is where a delivery stands.
type State string

const (
	Pending   State = "PENDING"
	Delivered State = "DELIVERED"
	Failed    State = "FAILED"
	Cancelled State = "CANCELLED"
)

// Delivery is the work of bringing one event to the callback URL.
type Delivery struct {
	// Seq is the place in the order of acceptance: of two events of one account
	// the one accepted later has the greater.
	Seq        int64
	AccountID  string
	EventID    string
	MessageID  string
	Body       []byte // what is sent: the payload with its sequence, see [Body]
	Damaged    bool   // what is kept is not what was accepted: there is no Body
	AcceptedAt time.Time
	// Traceparent is its event's.
	Traceparent string
	State       State
	Attempts    int       // made so far, probes included
	Failures    int       // attempts that used up the retry schedule
	DueAt       time.Time // while PENDING; zero: fresh
	FinishedAt  time.Time // zero while PENDING
	// FailedAt is when the first attempt that used up some of the schedule ended;
	// zero: none has. Behind are the earlier events of the same message. Both are
	// set while PENDING.
	FailedAt time.Time
	Behind   Behind
	Replay   Replay // zero unless it is PENDING again
	// What the last attempt brought; set by [History]. All are empty if none was
	// made.
	LastError      ErrorKind // empty: it was acknowledged
	LastDetail     string    // its [Attempt.Detail]
	LastStatusCode int       // 0: no answer
}

// Behind says which of the events of a message before one of them were PENDING
// when that one was read or accepted. Events that are sent again hold back none in
// its first run, nor do these hold back the others.
type Behind struct {
	Fresh  bool      // one was fresh
	PutOff int       // so many had been put off;
	DueAt  time.Time // of these the earliest DueAt, and
	// FailedAt the latest; zero: one of them has not failed. One beyond the present
	// time is by a clock that has been set back: it counts if all are.
	FailedAt time.Time
	EventID  string // of the last one; set by [History]
}

// Any reports whether there was any.
func (b *Behind) Any() bool { return b.Fresh || b.PutOff > 0 }

// Add counts one that is PENDING: dueAt and failedAt are those of its [Delivery].
func (b *Behind) Add(dueAt, failedAt, now time.Time) {
	if dueAt.IsZero() {
		b.Fresh = true
		return
	}
	first := b.PutOff == 0
	b.PutOff++
	if first || dueAt.Before(b.DueAt) {
		b.DueAt = dueAt
	}
	switch {
	case failedAt.IsZero():
		b.FailedAt = failedAt
	case first, !b.FailedAt.IsZero() && later(failedAt, b.FailedAt, now):
		b.FailedAt = failedAt
	}
}

// later compares two times; those beyond now are before all others.
func later(a, b, now time.Time) bool {
	if a.After(now) != b.After(now) {
		return b.After(now)
	}
	return a.After(b)
}

const sequenceMember = `,"sequence":`

// Body completes a payload: it is the payload's JSON object with a last member
// "sequence".
func Body(payload []byte, sequence int64) []byte {
	b := make([]byte, 0, len(payload)+24)
	b = append(b, payload[:len(payload)-1]...)
	b = append(b, sequenceMember...)
	b = strconv.AppendInt(b, sequence, 10)
	return append(b, '}')
}

// SameContent reports whether two payloads say the same. When each was handed
// in, their member "receivedAt", is no part of what they say.
func SameContent(a, b []byte) bool {
	a, afterA := cutReceived(a)
	b, afterB := cutReceived(b)
	return bytes.Equal(a, b) && bytes.Equal(afterA, afterB)
}

// cutReceived returns what is before and what is after the value of the member.
// Inside a text its name would have escaped quotation marks.
func cutReceived(payload []byte) (before, after []byte) {
	before, rest, _ := bytes.Cut(payload, []byte(`,"receivedAt":"`))
	_, after, _ = bytes.Cut(rest, []byte(`"`))
	return before, after
}

// ErrorKind says why an attempt failed, in words that tell an account nothing
// of the inside.
type ErrorKind string

const (
	DNSFailed          ErrorKind = "DNS_FAILED"          // the host's name did not resolve, or not in time
	ConnectFailed      ErrorKind = "CONNECT_FAILED"      // no TCP connection, or not in time
	DestinationRefused ErrorKind = "DESTINATION_REFUSED" // the address is not a public one
	TLSFailed          ErrorKind = "TLS_FAILED"          // no TLS session, or not in time
	Timeout            ErrorKind = "TIMEOUT"             // no complete answer to what was sent
	ConnectionLost     ErrorKind = "CONNECTION_LOST"     // ended before an answer
	ResponseInvalid    ErrorKind = "RESPONSE_INVALID"    // the answer was not HTTP
	PayloadDamaged     ErrorKind = "PAYLOAD_DAMAGED"     // see Delivery.Damaged; nothing was sent
	InternalError      ErrorKind = "INTERNAL_ERROR"      // ours: the attempt could not be made
	HTTPStatus         ErrorKind = "HTTP_STATUS"         // an answer other than 2xx
)

// Attempt is one HTTP POST of a delivery with its outcome.
type Attempt struct {
	Number     int // 1, 2, …, probes included
	At         time.Time
	Duration   time.Duration
	StatusCode int       // 0: no answer
	Error      ErrorKind // empty: acknowledged
	Detail     string    // more of it, a word of the contract's list; empty: no more is known
	Location   string    // of a redirect; empty: none
	Header     string    // the first KiB of a failed answer's status line and header
	Response   []byte    // the first KiB of a failed answer's body
	Probe      bool      // made by the breaker; does not use up the schedule
	Phases     Phases
	Reused     bool   // its connection was kept from an earlier one
	Address    string // where it went, with the port; empty: nowhere, or it is not known
}

// Phases are how long the parts of an attempt took, the one that failed up to its
// failure. Zero: it had no such part, or it is not known.
type Phases struct{ DNS, Connect, Proxy, TLS, FirstByte time.Duration }

// Outcome is what the dispatcher has to say of a delivery.
type Outcome struct {
	Delivery *Delivery // as it was read; only Seq, AccountID, MessageID, DueAt and Replay are used
	Attempt  *Attempt  // nil: none was made
	State    State     // the new state
	Failures int       // the new count, if there was an attempt
	// DueAt is when a PENDING delivery is attempted again; zero leaves it
	// fresh.
	DueAt time.Time
	// Behind means that the delivery waits for earlier events of its message,
	// until DueAt at the longest. If none of them is PENDING any more, the
	// store makes it due now.
	Behind bool
}

// AtFirst reports whether the delivery was acknowledged at its first attempt,
// never having been put off: nearly all are, and no other waits behind them.
func (o *Outcome) AtFirst() bool {
	return o.State == Delivered && o.Delivery.DueAt.IsZero() && o.Attempt != nil && o.Attempt.Number == 1
}

// Releases reports whether others may be waiting behind this outcome's
// delivery, so that finishing it must make them due: those of the same message
// that are PENDING, put off beyond now, and never attempted.
func (o *Outcome) Releases() bool { return o.State != Pending && !o.AtFirst() }

// BacklogQuery says what of an account's backlog is read.
type BacklogQuery struct {
	AccountID string
	Now       time.Time
	Due       int     // at most so many that were put off until Now or earlier, longest due first,
	Known     []int64 // but for those with these Seqs
	After     int64   // of the fresh ones those with a greater Seq,
	Fresh     int     // at most so many, in order of Seq; fewer: the snapshot has no more
	Replays   int     // as Due, of those that are sent again
}

// Backlog is a part of an account's PENDING deliveries, from one snapshot.
type Backlog struct {
	Webhook *Webhook   // nil: the account has none
	Due     []Delivery // in their first run, as Fresh
	Fresh   []Delivery
	Replays []Delivery // due as well
	// NextDue is the earliest DueAt beyond Now, of a replay too; zero: none.
	NextDue time.Time
}

// DeliveryQuery selects deliveries of one account. Zero fields select all.
type DeliveryQuery struct {
	AccountID  string
	States     []State // one of these
	MessageID  string
	Channel    string
	Holding    []byte    // the payload holds these bytes,
	HoldingToo []byte    // and these
	Error      ErrorKind // of the last attempt
	StatusCode int       // of the last attempt's answer
	From, To   time.Time // accepted at From or later and before To
	// Finished at FinishedFrom or later and before FinishedTo.
	FinishedFrom, FinishedTo time.Time
	FailedSince              time.Time // an attempt begun then or later failed
	OldestFirst              bool
	After                    Place // continues a listing: Next of the page before
	Limit                    int
}

// Place is where a delivery stands in a listing.
type Place struct {
	AcceptedAt time.Time
	Seq        int64 // zero: the zero Place, which is before the first
}

// Compare is negative if p is older than other.
func (p Place) Compare(other Place) int {
	return cmp.Or(p.AcceptedAt.Compare(other.AcceptedAt), cmp.Compare(p.Seq, other.Seq))
}

// DeliveryPage is a part of a listing.
type DeliveryPage struct {
	Deliveries []Delivery // in the query's order, at most its Limit
	// Next continues the listing; zero: it is complete. A page that has looked
	// at many deliveries ends there, with fewer than Limit or none.
	Next Place
}
