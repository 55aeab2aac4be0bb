package server

import (
	"time"

	"github.com/go-json-experiment/json"

	"github.com/recapito/recapito/gen"
)

// payloadLimit bounds what is sent, in bytes; the last bytes are kept for the
// sequence, which the store adds.
const payloadLimit = 16<<10 - len(`,"sequence":9223372036854775807`)

// payload is the document's StatusEvent but for sequence, in the order in which
// people read it. A test holds it against the document.
type payload struct {
	EventID           string               `json:"eventId"`
	Version           int                  `json:"version"`
	EventType         gen.EventType        `json:"eventType"`
	AccountID         string               `json:"accountId"`
	MessageID         string               `json:"messageId"`
	CustomerMessageID *string              `json:"customerMessageId"`
	Channel           gen.Channel          `json:"channel"`
	Destination       *string              `json:"destination"`
	RecipientID       *string              `json:"recipientId"`
	Status            gen.MessageStatus    `json:"status"`
	Final             bool                 `json:"final"`
	StatusRank        int                  `json:"statusRank"`
	StatusCode        int                  `json:"statusCode,omitzero"`
	Description       string               `json:"description"`
	Timestamp         string               `json:"timestamp"`
	ReceivedAt        string               `json:"receivedAt"`
	TimestampSource   gen.TimestampSource  `json:"timestampSource"`
	Part              *gen.Part            `json:"part"`
	FallbackChannel   *gen.FallbackChannel `json:"fallbackChannel"`
	Price             *gen.Price           `json:"price,omitzero"`
	Network           *gen.Network         `json:"network,omitzero"`
	Error             *gen.StatusError     `json:"error"`
}

const (
	modelVersion     = 1
	codeDelivered    = 3
	codeNotDelivered = 6
)

// ranks put a message's events right that arrive out of order.
var ranks = map[gen.MessageStatus]int{
	gen.MessageStatusACCEPTED:      10,
	gen.MessageStatusSENT:          20,
	gen.MessageStatusUNKNOWN:       30,
	gen.MessageStatusEXPIRED:       40,
	gen.MessageStatusCANCELLED:     40,
	gen.MessageStatusREJECTED:      40,
	gen.MessageStatusUNDELIVERABLE: 40,
	gen.MessageStatusFAILED:        40,
	gen.MessageStatusDELIVERED:     50,
	gen.MessageStatusREAD:          60,
}

// notDelivered is the rank of the statuses that say so.
const notDelivered = 40

func payloadOf(e *gen.EventInput, receivedAt string) *payload {
	p := &payload{
		EventID: e.ID, Version: modelVersion, EventType: gen.EventTypeDELIVERY,
		AccountID: e.AccountID, MessageID: e.MessageID, CustomerMessageID: e.CustomerMessageID,
		Channel: e.Channel, Destination: e.Destination, RecipientID: e.RecipientID,
		Status: e.Status, Final: isFinal(e), StatusRank: ranks[e.Status],
		Description: value(e.Description),
		Timestamp:   eventTime(e.Timestamp), ReceivedAt: receivedAt,
		TimestampSource: gen.TimestampSourcePROVIDER,
		Part:            e.Part, FallbackChannel: e.FallbackChannel,
		Price: e.Price, Network: e.Network, Error: e.Error,
	}
	if e.Status == gen.MessageStatusREAD {
		p.EventType = gen.EventTypeREAD
	}
	if e.TimestampSource != nil {
		p.TimestampSource = *e.TimestampSource
	}
	p.StatusCode = p.legacyCode()
	return p
}

func isFinal(e *gen.EventInput) bool {
	if e.Final != nil {
		return *e.Final
	}
	return e.Status != gen.MessageStatusACCEPTED && e.Status != gen.MessageStatusSENT
}

// legacyCode is 0 where older callbacks had none.
func (p *payload) legacyCode() int {
	switch {
	case p.Status == gen.MessageStatusDELIVERED:
		return codeDelivered
	case p.StatusRank == notDelivered && p.Final:
		return codeNotDelivered
	}
	return 0
}

// text is compact JSON.
func (p *payload) text() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // every string in it was decoded from valid JSON
	}
	return b
}

// eventTime is RFC 3339 in UTC, with exactly three decimals.
func eventTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
