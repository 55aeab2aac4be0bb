package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"time"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

// What the document states for the parameter limit.
const defaultLimit, pageLimit = 50, 100

var (
	errNoDelivery = &refusal{status: http.StatusNotFound, code: gen.ProblemCodeDELIVERYNOTFOUND, detail: "There is no such delivery."}
	errBadAfter   = &refusal{status: http.StatusBadRequest, code: gen.ProblemCodePARAMETERINVALID, detail: `Query parameter "after": is neither a cursor of this feed nor latest.`}
	errBadCursor  = &refusal{status: http.StatusBadRequest, code: gen.ProblemCodePARAMETERINVALID, detail: `Query parameter "cursor": is not a cursor of this listing.`}
)

func (s *server) ListDeliveries(ctx context.Context, r gen.ListDeliveriesRequestObject) (gen.ListDeliveriesResponseObject, error) {
	q := deliveryQuery(accountOf(ctx), &r.Params)
	if cursor := r.Params.Cursor; cursor != nil {
		var err error
		if q.After, err = s.cursors.toDeliveries(*cursor, q.AccountID); err != nil {
			return nil, err
		}
	}
	read := func(limit int) ([]gen.Delivery, *string, error) {
		q.Limit = limit
		return s.deliveries(ctx, &q, value(r.Params.Payload))
	}
	if wantsLines(ctx) {
		return deliveryLines{newLines(ctx, s, r.Params.Limit, read)}, nil
	}
	found, next, err := read(limitOf(r.Params.Limit))
	if err != nil {
		return nil, err
	}
	return gen.ListDeliveries200JSONResponse{Deliveries: found, NextCursor: next}, nil
}

type deliveryLines struct{ *lines[gen.Delivery] }

func (l deliveryLines) VisitListDeliveriesResponse(w http.ResponseWriter) error { return l.write(w) }

func limitOf(p *int32) int {
	if p == nil {
		return defaultLimit
	}
	return int(*p)
}

func deliveryQuery(account string, p *gen.ListDeliveriesParams) store.DeliveryQuery {
	q := store.DeliveryQuery{
		AccountID: account, MessageID: value(p.MessageID), Channel: string(value(p.Channel)),
		Error: store.ErrorKind(value(p.Error)), StatusCode: int(value(p.Status)),
		From: time.Time(value(p.From)), To: time.Time(value(p.To)),
		FinishedFrom: time.Time(value(p.FinishedFrom)), FinishedTo: time.Time(value(p.FinishedTo)),
		FailedSince: time.Time(value(p.FailedSince)), OldestFirst: value(p.Order) == gen.OrderAsc,
	}
	for _, state := range value(p.State) {
		q.States = append(q.States, store.State(state))
	}
	q.Holding, q.HoldingToo = holding(p.CustomerMessageID, p.Destination)
	return q
}

// holding is what the payload of an event of such a message holds.
func holding(customerMessageID, destination *string) (id, number []byte) {
	if customerMessageID != nil {
		id = payloadMember("customerMessageId", *customerMessageID)
	}
	if destination != nil {
		number = payloadMember("destination", *destination)
	}
	return id, number
}

// deliveries reads a page, in the account's turn, and moves the query to the next.
func (s *server) deliveries(ctx context.Context, q *store.DeliveryQuery, payload bool) ([]gen.Delivery, *string, error) {
	done, err := s.listings.take(ctx, q.AccountID)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	found, err := s.Store.Deliveries(ctx, *q)
	if err != nil {
		return nil, nil, err
	}
	q.After = found.Next
	shown := make([]gen.Delivery, 0, len(found.Deliveries))
	waits := s.waits(ctx, q.AccountID, found.Deliveries)
	for _, d := range found.Deliveries {
		line := showDelivery(d, waits[d.Seq])
		if payload {
			line.Payload = showPayload(&d)
		}
		shown = append(shown, line)
	}
	return shown, s.cursors.ofDeliveries(found.Next, q.AccountID), nil
}

func (s *server) GetDelivery(ctx context.Context, r gen.GetDeliveryRequestObject) (gen.GetDeliveryResponseObject, error) {
	d, attempts, err := s.Store.Delivery(ctx, accountOf(ctx), r.EventID)
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoDelivery)
	}
	line := showDelivery(d, s.waits(ctx, d.AccountID, []store.Delivery{d})[d.Seq])
	out := gen.GetDelivery200JSONResponse{
		EventID: line.EventID, MessageID: line.MessageID, State: line.State, AttemptCount: line.AttemptCount,
		AcceptedAt: line.AcceptedAt, NextAttemptAt: line.NextAttemptAt, WaitingFor: line.WaitingFor, WaitingForEventID: line.WaitingForEventID, ReplayedAt: line.ReplayedAt,
		FinishedAt: line.FinishedAt, LastError: line.LastError, LastDetail: line.LastDetail, LastStatusCode: line.LastStatusCode,
		Attempts: make([]gen.Attempt, 0, len(attempts)),
	}
	out.Payload = showPayload(&d)
	for _, a := range attempts {
		out.Attempts = append(out.Attempts, showAttempt(a))
	}
	return out, nil
}

// showPayload is what is sent, or nil if that is damaged.
func showPayload(d *store.Delivery) *json.RawMessage {
	if d.Damaged {
		return nil
	}
	return (*json.RawMessage)(&d.Body)
}

// waits says what those of the account's deliveries that are PENDING wait for, by
// Seq.
func (s *server) waits(ctx context.Context, account string, ds []store.Delivery) map[int64]store.Wait {
	var pending []store.Delivery
	for _, d := range ds {
		if d.State == store.Pending {
			pending = append(pending, d)
		}
	}
	if len(pending) == 0 {
		return nil
	}
	var webhook *store.Webhook // nil if it cannot be read: then nothing can be attempted
	if w, err := s.Store.Webhook(ctx, account); err == nil {
		webhook = &w
	}
	waits := map[int64]store.Wait{}
	for i, wait := range s.Engine.Waits(account, webhook, pending, s.Now()) {
		waits[pending[i].Seq] = wait
	}
	return waits
}

// noEngine knows nothing but the rows.
type noEngine struct{}

func (noEngine) Waits(_ string, w *store.Webhook, pending []store.Delivery, now time.Time) []store.Wait {
	waits := make([]store.Wait, len(pending))
	for i := range pending {
		waits[i] = pending[i].Wait(w, now)
	}
	return waits
}

func (noEngine) Probe(string, time.Time) store.Probing { return store.NotOpen }

func (noEngine) Pace(w *store.Webhook, next, _ time.Time) store.Pace { return w.Pace(next) }

func (noEngine) Test(context.Context, *store.Webhook, string, []byte) (store.Attempt, *tls.ConnectionState) {
	return store.Attempt{Number: 1, At: time.Now(), Error: store.InternalError}, nil
}

// showDelivery shows one that waits so, if it is PENDING. The time is rounded up:
// what is to come is not shown as past.
func showDelivery(d store.Delivery, wait store.Wait) gen.Delivery {
	out := gen.Delivery{
		EventID: d.EventID, MessageID: d.MessageID, State: gen.DeliveryState(d.State), AttemptCount: int32(d.Attempts),
		AcceptedAt: showTime(d.AcceptedAt), FinishedAt: showOptionalTime(d.FinishedAt),
		LastError: (*gen.AttemptError)(optional(string(d.LastError))), LastDetail: (*gen.AttemptDetail)(optional(d.LastDetail)), LastStatusCode: showStatus(d.LastStatusCode),
	}
	if d.State == store.Pending {
		out.WaitingFor, out.WaitingForEventID = new(gen.WaitingFor(wait.For)), optional(wait.EventID)
		out.ReplayedAt = showOptionalTime(d.Replay.At)
	}
	if !wait.NextAttempt.IsZero() {
		out.NextAttemptAt = showOptionalTime(wait.NextAttempt.Add(time.Millisecond - 1))
	}
	return out
}

// showStatus shows no answer as absent.
func showStatus(code int) *int32 {
	if code == 0 {
		return nil
	}
	return new(int32(code))
}

// value is what p points to, else the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
