package server

import (
	"context"

	"github.com/recapito/recapito/gen"
)

// GetStatus tells what [Config.Status] knows.
func (s *server) GetStatus(ctx context.Context, _ gen.GetStatusRequestObject) (gen.GetStatusResponseObject, error) {
	return gen.GetStatus200JSONResponse(s.Status(ctx, s.Now())), nil
}
