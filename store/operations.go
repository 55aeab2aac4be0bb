package store

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"time"
)

// Operations is the account of the platform's own webhook, to which operational events
// are delivered as status events are to others'. It is no AccountId of the contract, so
// that no request can name it; it has no API key, and is not among [Accounts].
const Operations = "$operations"

// NoticeKind is the type of an operational event, a word of the contract.
type NoticeKind string

const (
	WebhookRegistered NoticeKind = "WEBHOOK_REGISTERED"
	WebhookReplaced   NoticeKind = "WEBHOOK_REPLACED"
	WebhookRemoved    NoticeKind = "WEBHOOK_REMOVED"
	EndpointSuspended NoticeKind = "ENDPOINT_SUSPENDED" // it answered 410
	// EndpointFailing and EndpointRecovered are told of an endpoint that was FAILING or
	// PROBING for [NoticeDelay] or longer, until a change of its webhook.
	EndpointFailing   NoticeKind = "ENDPOINT_FAILING"
	EndpointRecovered NoticeKind = "ENDPOINT_RECOVERED"
	// DeliveryGivenUp is told of all deliveries that an account has lost within
	// [NoticeDelay].
	DeliveryGivenUp NoticeKind = "DELIVERY_GIVEN_UP"
)

// NoticeDelay is how long it takes until the platform is told of what is summed, and of
// an endpoint that fails.
const NoticeDelay = time.Minute

// Notice is what the platform is told of an account, by an operational event. Stores make
// it in the commit of what it tells of: after a crash there are both, or neither.
type Notice struct {
	Kind         NoticeKind
	AccountID    string
	WebhookID    string    // empty: it was removed before
	Version      int64     // of the webhook; it only tells notices apart
	At           time.Time // when it happened, or began
	CallbackHost string    // of a webhook that was registered or replaced
	Deliveries   int       // that were given up
	Since        time.Time // when an endpoint that recovered had begun to fail
	Error        ErrorKind // why an endpoint fails
	StatusCode   int       // the same; 0: it did not answer
}

// NoticeOf tells of a webhook.
func NoticeOf(kind NoticeKind, w *Webhook, at time.Time) Notice {
	n := Notice{Kind: kind, AccountID: w.AccountID, WebhookID: w.ID, Version: w.Version, At: at}
	if u, err := url.Parse(w.CallbackURL); err == nil && (kind == WebhookRegistered || kind == WebhookReplaced) {
		n.CallbackHost = u.Host
	}
	return n
}

// Fails reports whether the endpoint does, in this state.
func (s HealthState) Fails() bool { return s == HealthFailing || s == HealthProbing }

// NoticeOfFailure tells of an endpoint that began to fail.
func NoticeOfFailure(c *HealthChange) Notice {
	return Notice{
		Kind: EndpointFailing, AccountID: c.AccountID, WebhookID: c.WebhookID, Version: c.Version,
		At: c.At, Error: c.Error, StatusCode: c.StatusCode,
	}
}

// Recovered tells of the end of a failure.
func (n *Notice) Recovered(at time.Time) Notice {
	return Notice{Kind: EndpointRecovered, AccountID: n.AccountID, WebhookID: n.WebhookID, Version: n.Version, At: at, Since: n.At}
}

// Event is the operational event: one of a message that has the account's id, so that an
// account's are delivered in order, and counted by their sequence. The same notice is
// the same event.
func (n *Notice) Event() Event {
	digest := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %d %d", n.Kind, n.AccountID, n.WebhookID, n.Version, n.At.UnixMicro()))
	id := "op_" + base64.RawURLEncoding.EncodeToString(digest[:18])
	payload, _ := json.Marshal(struct { // of texts and numbers, which never fails
		EventID      string     `json:"eventId"`
		Version      int        `json:"version"`
		EventType    NoticeKind `json:"eventType"`
		AccountID    string     `json:"accountId"`
		WebhookID    string     `json:"webhookId,omitempty"`
		Timestamp    string     `json:"timestamp"`
		CallbackHost string     `json:"callbackHost,omitempty"`
		Deliveries   int        `json:"deliveries,omitempty"`
		FailingSince string     `json:"failingSince,omitempty"`
		Error        ErrorKind  `json:"error,omitempty"`
		StatusCode   int        `json:"statusCode,omitempty"`
	}{id, 1, n.Kind, n.AccountID, n.WebhookID, showTime(n.At), n.CallbackHost, n.Deliveries, showTime(n.Since), n.Error, n.StatusCode})
	return Event{AccountID: Operations, ID: id, MessageID: n.AccountID, Payload: payload}
}

// showTime shows a time as the contract does, and the zero time as nothing.
func showTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}
