package server

import (
	"context"
	"net/http"
	"time"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

const operationsPath = "/webhooks/operations"

var (
	errNoOperationsWebhook     = &refusal{status: http.StatusNotFound, code: gen.ProblemCodeWEBHOOKNOTFOUND, detail: "The platform has no webhook."}
	errOperationsWebhookExists = &refusal{
		status: http.StatusConflict, code: gen.ProblemCodeWEBHOOKEXISTS,
		detail: "The platform has a webhook already. Use PUT to change its callback URL.",
	}
)

func (s *server) GetOperationsWebhook(ctx context.Context, _ gen.GetOperationsWebhookRequestObject) (gen.GetOperationsWebhookResponseObject, error) {
	w, err := s.Store.Webhook(ctx, store.Operations)
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoOperationsWebhook)
	}
	return gen.GetOperationsWebhook200JSONResponse(showWebhook(w, s.Now())), nil
}

func (s *server) CreateOperationsWebhook(ctx context.Context, r gen.CreateOperationsWebhookRequestObject) (gen.CreateOperationsWebhookResponseObject, error) {
	w, err := s.register(ctx, store.Operations, r.Body.CallbackURL)
	if err != nil {
		return nil, when(err, store.ErrConflict, errOperationsWebhookExists)
	}
	return gen.CreateOperationsWebhook201JSONResponse{
		Body:    showSecret(w, w.CreatedAt),
		Headers: gen.CreateOperationsWebhook201ResponseHeaders{Location: s.BasePath + operationsPath},
	}, nil
}

func (s *server) ReplaceOperationsWebhook(ctx context.Context, r gen.ReplaceOperationsWebhookRequestObject) (gen.ReplaceOperationsWebhookResponseObject, error) {
	now := s.Now()
	noteHost(ctx, r.Body.CallbackURL)
	w, err := s.Store.ReplaceCallbackURL(ctx, store.Operations, r.Body.CallbackURL, now)
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoOperationsWebhook)
	}
	return gen.ReplaceOperationsWebhook200JSONResponse(showWebhook(w, now)), nil
}

func (s *server) DeleteOperationsWebhook(ctx context.Context, _ gen.DeleteOperationsWebhookRequestObject) (gen.DeleteOperationsWebhookResponseObject, error) {
	if err := s.Store.DeleteWebhook(ctx, store.Operations, s.Now()); err != nil {
		return nil, when(err, store.ErrNotFound, errNoOperationsWebhook)
	}
	return gen.DeleteOperationsWebhook204Response{}, nil
}

func (s *server) RotateOperationsSecret(ctx context.Context, _ gen.RotateOperationsSecretRequestObject) (gen.RotateOperationsSecretResponseObject, error) {
	w, err := s.rotate(ctx, store.Operations)
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoOperationsWebhook)
	}
	return gen.RotateOperationsSecret200JSONResponse(w), nil
}

func (s *server) ListOperationsDeliveries(ctx context.Context, r gen.ListOperationsDeliveriesRequestObject) (gen.ListOperationsDeliveriesResponseObject, error) {
	p := &r.Params
	q := store.DeliveryQuery{
		AccountID: store.Operations, MessageID: value(p.AccountID), From: time.Time(value(p.From)), To: time.Time(value(p.To)),
		OldestFirst: value(p.Order) == gen.OrderAsc, Limit: limitOf(p.Limit),
	}
	for _, state := range value(p.State) {
		q.States = append(q.States, store.State(state))
	}
	if p.Cursor != nil {
		var err error
		if q.After, err = s.cursors.toDeliveries(*p.Cursor, q.AccountID); err != nil {
			return nil, err
		}
	}
	lines, next, err := s.deliveries(ctx, &q, true)
	if err != nil {
		return nil, err
	}
	out := gen.ListOperationsDeliveries200JSONResponse{Deliveries: make([]gen.OperationsDelivery, 0, len(lines)), NextCursor: next}
	for i := range lines {
		out.Deliveries = append(out.Deliveries, showOperationsDelivery(&lines[i]))
	}
	return out, nil
}

func showOperationsDelivery(line *gen.Delivery) gen.OperationsDelivery {
	return gen.OperationsDelivery{
		EventID: line.EventID, State: line.State, AttemptCount: line.AttemptCount, AcceptedAt: line.AcceptedAt, NextAttemptAt: line.NextAttemptAt,
		WaitingFor: line.WaitingFor, FinishedAt: line.FinishedAt, LastError: line.LastError, LastDetail: line.LastDetail, LastStatusCode: line.LastStatusCode, Payload: line.Payload,
	}
}
