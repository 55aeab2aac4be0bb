package server

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

// defaultLimit is what the document states for the parameter limit.
const defaultLimit = 50

var (
	errNoDelivery = &refusal{status: http.StatusNotFound, code: gen.ProblemCodeDELIVERYNOTFOUND, detail: "There is no such delivery."}
	errBadCursor  = &refusal{status: http.StatusBadRequest, code: gen.ProblemCodePARAMETERINVALID, detail: `Query parameter "cursor": is not a cursor of this listing.`}
)

func (s *server) ListDeliveries(ctx context.Context, r gen.ListDeliveriesRequestObject) (gen.ListDeliveriesResponseObject, error) {
	p := r.Params
	q := store.DeliveryQuery{
		AccountID: accountOf(ctx), State: store.State(value(p.State)), MessageID: value(p.MessageID),
		From: value(p.From), To: value(p.To),
	}
	if p.Cursor != nil {
		var err error
		if q.BeforeTime, q.BeforeSeq, err = parseCursor(*p.Cursor); err != nil {
			return nil, errBadCursor
		}
	}
	limit := defaultLimit
	if p.Limit != nil {
		limit = int(*p.Limit)
	}
	q.Limit = limit + 1 // one more tells whether there is a next page
	found, err := s.Store.Deliveries(ctx, q)
	if err != nil {
		return nil, err
	}
	return gen.ListDeliveries200JSONResponse(showPage(found, limit)), nil
}

func (s *server) GetDelivery(ctx context.Context, r gen.GetDeliveryRequestObject) (gen.GetDeliveryResponseObject, error) {
	d, attempts, err := s.Store.Delivery(ctx, accountOf(ctx), r.EventID)
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoDelivery)
	}
	line := showDelivery(d)
	out := gen.GetDelivery200JSONResponse{
		EventID: line.EventID, MessageID: line.MessageID, State: line.State, AttemptCount: line.AttemptCount,
		AcceptedAt: line.AcceptedAt, NextAttemptAt: line.NextAttemptAt, FinishedAt: line.FinishedAt,
		Payload:  json.RawMessage(d.Body),
		Attempts: make([]gen.Attempt, 0, len(attempts)),
	}
	for _, a := range attempts {
		out.Attempts = append(out.Attempts, showAttempt(a))
	}
	return out, nil
}

func showPage(found []store.Delivery, limit int) gen.DeliveryList {
	var next *string
	if len(found) > limit {
		found = found[:limit]
		c := cursor(found[limit-1])
		next = &c
	}
	page := gen.DeliveryList{Deliveries: make([]gen.Delivery, 0, len(found)), NextCursor: next}
	for _, d := range found {
		page.Deliveries = append(page.Deliveries, showDelivery(d))
	}
	return page
}

func showDelivery(d store.Delivery) gen.Delivery {
	out := gen.Delivery{
		EventID: d.EventID, MessageID: d.MessageID, State: gen.DeliveryState(d.State), AttemptCount: int32(d.Attempts),
		AcceptedAt: showTime(d.AcceptedAt), FinishedAt: showOptionalTime(d.FinishedAt),
	}
	if d.State == store.Pending {
		out.NextAttemptAt = showOptionalTime(d.DueAt)
	}
	return out
}

func showAttempt(a store.Attempt) gen.Attempt {
	out := gen.Attempt{
		Number: int32(a.Number), At: showTime(a.At), DurationMs: a.Duration.Milliseconds(), Probe: a.Probe,
	}
	if a.StatusCode != 0 {
		status := int32(a.StatusCode)
		out.StatusCode = &status
	}
	if a.Error != "" {
		kind := gen.AttemptError(a.Error)
		out.Error = &kind
	}
	if len(a.Response) > 0 {
		text := strings.ToValidUTF8(string(a.Response), "\uFFFD")
		out.Response = &text
	}
	return out
}

// A cursor is where a page ended: the time of acceptance in nanoseconds since
// 1970 and the place in the order of acceptance, 8 bytes each.
const cursorSize = 16

func cursor(d store.Delivery) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, cursorSize), uint64(d.AcceptedAt.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, uint64(d.Seq))
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(text string) (at time.Time, seq int64, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return time.Time{}, 0, err
	}
	if len(b) != cursorSize {
		return time.Time{}, 0, errors.New("wrong length")
	}
	at = time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC()
	seq = int64(binary.BigEndian.Uint64(b[8:]))
	if at.IsZero() || seq <= 0 {
		return time.Time{}, 0, errors.New("out of range")
	}
	return at, seq, nil
}

// value is what p points to, else the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
