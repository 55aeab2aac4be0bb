package server

import (
	"time"

	"github.com/recapito/recapito/gen"
)

// payloadLimit bounds what is sent, in bytes; the last bytes are kept for the
// sequence, which the store adds.
const payloadLimit = MaxPayload - len(`,"sequence":9223372036854775807`)

// MaxPayload is how long a callback's body is at most.
const MaxPayload = 16 << 10

// payloadSize is the room for a usual payload.
const payloadSize = 640

const (
	modelVersion     = 1
	codeDelivered    = 3
	codeNotDelivered = 6
)

// ranks order the events of a message that arrive out of order.
var ranks = map[gen.MessageStatus]int64{
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

// rankNotDelivered is the rank of the statuses that say so.
const rankNotDelivered = 40

// payload is the document's StatusEvent without sequence: compact JSON, in the
// order in which people read it. It is written by hand: reflection takes 1.4 µs
// an event, this 0.4 µs. Tests hold it against the document.
func payload(e *gen.EventInput, kind gen.EventType, receivedAt time.Time) []byte {
	rank, final := ranks[e.Status], isFinal(e)
	o := object(make([]byte, 0, payloadSize))
	o.text("eventId", e.ID)
	o.number("version", modelVersion)
	o.text("eventType", string(kind))
	o.text("accountId", e.AccountID)
	o.text("messageId", e.MessageID)
	o.optionalText("customerMessageId", e.CustomerMessageID)
	o.text("channel", string(e.Channel))
	o.optionalText("destination", e.Destination)
	o.optionalText("recipientId", e.RecipientID)
	o.text("status", string(e.Status))
	o.boolean("final", final)
	o.number("statusRank", rank)
	if code := legacyCode(e.Status, rank, final); code != 0 {
		o.number("statusCode", code)
	}
	o.text("description", value(e.Description))
	o.time("timestamp", time.Time(e.Timestamp))
	o.time("receivedAt", receivedAt)
	o.text("timestampSource", string(timestampSource(e)))
	nullable(&o, "part", e.Part)
	o.optionalText("fallbackChannel", (*string)(e.FallbackChannel))
	optionalObject(&o, "price", e.Price)
	optionalObject(&o, "network", e.Network)
	nullable(&o, "error", e.Error)
	return append(o, '}')
}

// payloadMember is how a payload holds such a member. Inside another text its
// quotation marks would be escaped.
func payloadMember(name, value string) []byte {
	var o object
	o.text(name, value)
	return o[1:]
}

func eventType(s gen.MessageStatus) gen.EventType {
	if s == gen.MessageStatusREAD {
		return gen.EventTypeREAD
	}
	return gen.EventTypeDELIVERY
}

func isFinal(e *gen.EventInput) bool {
	if e.Final != nil {
		return *e.Final
	}
	return e.Status != gen.MessageStatusACCEPTED && e.Status != gen.MessageStatusSENT
}

// legacyCode is 0 where older callbacks had none.
func legacyCode(s gen.MessageStatus, rank int64, final bool) int64 {
	switch {
	case s == gen.MessageStatusDELIVERED:
		return codeDelivered
	case rank == rankNotDelivered && final:
		return codeNotDelivered
	}
	return 0
}

func timestampSource(e *gen.EventInput) gen.TimestampSource {
	if e.TimestampSource == nil {
		return gen.TimestampSourcePROVIDER
	}
	return gen.TimestampSource(*e.TimestampSource)
}
