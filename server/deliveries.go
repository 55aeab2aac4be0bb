package server

import (
	"context"
	"encoding/json"
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
		From: time.Time(value(p.From)), To: time.Time(value(p.To)),
	}
	q.Limit = defaultLimit
	if p.Limit != nil {
		q.Limit = int(*p.Limit)
	}
	var err error
	if p.Cursor != nil {
		if q.Before, err = s.cursors.read(*p.Cursor, q.AccountID); err != nil {
			return nil, err
		}
	}
	done, err := s.listings.take(ctx, q.AccountID)
	if err != nil {
		return nil, err
	}
	defer done()
	found, err := s.Store.Deliveries(ctx, q)
	if err != nil {
		return nil, err
	}
	page := gen.DeliveryList{
		Deliveries: make([]gen.Delivery, 0, len(found.Deliveries)),
		NextCursor: s.cursors.write(found.Next, q.AccountID),
	}
	waits := s.waits(ctx, found.Deliveries)
	for _, d := range found.Deliveries {
		page.Deliveries = append(page.Deliveries, showDelivery(d, waits[d.Seq]))
	}
	return gen.ListDeliveries200JSONResponse(page), nil
}

func (s *server) GetDelivery(ctx context.Context, r gen.GetDeliveryRequestObject) (gen.GetDeliveryResponseObject, error) {
	d, attempts, err := s.Store.Delivery(ctx, accountOf(ctx), r.EventID)
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoDelivery)
	}
	line := showDelivery(d, s.waits(ctx, []store.Delivery{d})[d.Seq])
	out := gen.GetDelivery200JSONResponse{
		EventID: line.EventID, MessageID: line.MessageID, State: line.State, AttemptCount: line.AttemptCount,
		AcceptedAt: line.AcceptedAt, NextAttemptAt: line.NextAttemptAt, WaitingFor: line.WaitingFor, FinishedAt: line.FinishedAt,
		Attempts: make([]gen.Attempt, 0, len(attempts)),
	}
	if !d.Damaged {
		payload := json.RawMessage(d.Body)
		out.Payload = &payload
	}
	for _, a := range attempts {
		out.Attempts = append(out.Attempts, showAttempt(a))
	}
	return out, nil
}

// waits says what those of the account's deliveries that are PENDING wait for, by
// Seq.
func (s *server) waits(ctx context.Context, ds []store.Delivery) map[int64]store.Wait {
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
	if w, err := s.Store.Webhook(ctx, accountOf(ctx)); err == nil {
		webhook = &w
	}
	waits := map[int64]store.Wait{}
	for i, wait := range s.Engine.Waits(accountOf(ctx), webhook, pending, s.Now()) {
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

// showDelivery shows one that waits so, if it is PENDING. The time is rounded up:
// what is to come is not shown as past.
func showDelivery(d store.Delivery, wait store.Wait) gen.Delivery {
	out := gen.Delivery{
		EventID: d.EventID, MessageID: d.MessageID, State: gen.DeliveryState(d.State), AttemptCount: int32(d.Attempts),
		AcceptedAt: showTime(d.AcceptedAt), FinishedAt: showOptionalTime(d.FinishedAt),
	}
	if d.State == store.Pending {
		out.WaitingFor = new(gen.WaitingFor(wait.For))
	}
	if !wait.NextAttempt.IsZero() {
		out.NextAttemptAt = showOptionalTime(wait.NextAttempt.Add(time.Millisecond - 1))
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
	if a.Detail != "" {
		detail := gen.AttemptDetail(a.Detail)
		out.Detail = &detail
	}
	if a.Location != "" {
		out.Location = &a.Location
	}
	if len(a.Response) > 0 {
		text := strings.ToValidUTF8(string(a.Response), "\uFFFD")
		out.Response = &text
	}
	return out
}

// value is what p points to, else the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
