package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

const probesPerMinute = 10

var (
	errNotProbing = &refusal{
		status: http.StatusConflict, code: gen.ProblemCodeNOTPROBING,
		detail: "Deliveries are attempted as usual. To have retries attempted now, PUT the callback URL.",
	}
	errSuspended = &refusal{
		status: http.StatusConflict, code: gen.ProblemCodeWEBHOOKSUSPENDED,
		detail: "The endpoint answered 410. To go on, PUT the callback URL; the same will do.",
	}
)

func (s *server) ProbeEndpoint(ctx context.Context, _ gen.ProbeEndpointRequestObject) (gen.ProbeEndpointResponseObject, error) {
	account := accountOf(ctx)
	w, err := s.Store.Webhook(ctx, account)
	switch {
	case err != nil:
		return nil, when(err, store.ErrNotFound, errNoWebhook)
	case w.Status == store.Suspended:
		return nil, errSuspended
	}
	oldest, err := s.Store.Oldest(ctx, account) // before, as the probe may end what is PENDING
	if err != nil {
		return nil, err
	}
	if left := s.probes.take(account, s.Now()); !left.granted {
		return nil, tooMany(fmt.Sprintf("An account may ask for %d probes a minute.", probesPerMinute), left.retry)
	}
	switch s.Engine.Probe(account, s.Now()) {
	case store.NotOpen:
		return nil, errNotProbing
	case store.ProbeUnderWay:
		return nil, tooMany("A probe is under way, and its outcome decides.", time.Second)
	}
	var out gen.ProbeEndpoint202JSONResponse
	if len(oldest.Fresh) > 0 {
		out.EventID = &oldest.Fresh[0].EventID
	}
	return out, nil
}
