package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

var (
	errPending        = &refusal{status: http.StatusConflict, code: gen.ProblemCodeDELIVERYPENDING, detail: "The delivery is PENDING; it is attempted until it ends."}
	errWebhookMissing = &refusal{status: http.StatusConflict, code: gen.ProblemCodeWEBHOOKMISSING, detail: "The account has no webhook to which anything could be sent; register one."}
	errDamaged        = &refusal{status: http.StatusConflict, code: gen.ProblemCodePAYLOADDAMAGED, detail: "What was kept of the event is damaged and cannot be sent."}
)

func (s *server) ReplayDelivery(ctx context.Context, r gen.ReplayDeliveryRequestObject) (gen.ReplayDeliveryResponseObject, error) {
	account := accountOf(ctx)
	switch err := s.Store.Replay(ctx, account, r.EventID, s.Now()); {
	case errors.Is(err, store.ErrConflict):
		return nil, errPending
	case errors.Is(err, store.ErrNoWebhook):
		return nil, errWebhookMissing
	case errors.Is(err, store.ErrDamaged):
		return nil, errDamaged
	case err != nil:
		return nil, when(err, store.ErrNotFound, errNoDelivery)
	}
	d, _, err := s.Store.Delivery(ctx, account, r.EventID)
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoDelivery)
	}
	return gen.ReplayDelivery202JSONResponse(showDelivery(d, s.waits(ctx, d.AccountID, []store.Delivery{d})[d.Seq])), nil
}
