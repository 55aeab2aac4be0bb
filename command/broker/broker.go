// Package broker hands in what the platform's message broker holds. It reads messages,
// makes status events of each with a map in the language of jq, POSTs them in batches,
// and acknowledges a message only when the server has answered for all of its events.
//
// It promises that no message is lost, whatever is killed; that a message that comes
// again makes the same events with the same ids, so that the server knows them; and that
// messages that a broker hands over in order are handed in in that order. What can never
// be handed in goes to a dead-letter place. It leaves out the brokers themselves: each
// has a package below.
package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Message is one message of a broker.
type Message struct {
	Body    []byte
	Key     string // the broker's, or ""
	Subject string // topic, subject or routing key
	Headers map[string]string
	Time    time.Time // the broker's or the sender's, the same each time; or zero
	Place   string    // for people: where it stands
	// Identity is the same each time that the message comes, and no other message's.
	// Empty: the broker gives none.
	Identity string
	Native   any // the source's own
}

// ID is an event id made of the identity, or "".
func (m *Message) ID() string {
	if m.Identity == "" {
		return ""
	}
	return digest([]byte(m.Identity))
}

// digest is an event id made of anything.
func digest(of []byte) string {
	sum := sha256.Sum256(of)
	return "evt_" + hex.EncodeToString(sum[:16])
}

// Source is where messages come from. One goroutine uses it.
type Source interface {
	// Receive waits some seconds for messages, and returns at most so many, in order;
	// none: the broker answers, and has none for this process. An error passes, unless it
	// is a [SetupError]; the next call tries again.
	Receive(ctx context.Context, most int) ([]*Message, error)
	// Acknowledge takes the messages of the last Receive off the broker. If that fails,
	// they come again.
	Acknowledge(ctx context.Context, messages []*Message) error
	// Return gives the messages of the last Receive back: those that are still this
	// process's come first at the next one, in the same order.
	Return(ctx context.Context, messages []*Message) error
	// DeadLetter keeps a message with the reason why it cannot be handed in. It returns
	// when the broker has it for good.
	DeadLetter(ctx context.Context, m *Message, why Reason) error
	// Close ends the connection. What is not acknowledged comes again.
	Close(ctx context.Context) error
}

// The headers of a dead letter, beside the message's own.
const (
	ReasonHeader = "recapito-reason"
	DetailHeader = "recapito-detail"
	SourceHeader = "recapito-source" // where the message stood
)

// Reason says why a message cannot be handed in.
type Reason struct {
	Code   string // NOT_TEXT, NOT_JSON, MAP_FAILED, REFUSED, or why the server skipped it
	Detail string // for people
}

// The reasons beside those of the server.
const (
	NotText   = "NOT_TEXT"
	NotJSON   = "NOT_JSON"
	MapFailed = "MAP_FAILED"
	Refused   = "REFUSED"
)

// Headers are those of the dead letter of a message.
func (r Reason) Headers(m *Message) map[string]string {
	return map[string]string{ReasonHeader: r.Code, DetailHeader: shortened(r.Detail), SourceHeader: m.Place}
}

// detailLength is more than a detail needs, and less than what a header may take.
const detailLength = 1000

func shortened(text string) string {
	if len(text) > detailLength {
		return text[:detailLength] + "…"
	}
	return text
}

// SetupError is a failure that does not pass by waiting.
type SetupError struct{ Text string }

func (e *SetupError) Error() string { return e.Text }
