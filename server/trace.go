package server

import (
	"context"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/recapito/recapito/gen"
)

// Follow begins to follow a batch of events. It gets the traceparent of the request (W3C
// Trace Context; empty: none) and when that began. It returns what is kept with the
// events, and is told how their acceptance ended.
type Follow func(traceparent string, began time.Time) (kept string, ended func(Acceptance))

// Acceptance is what became of a batch that was followed.
type Acceptance struct {
	StoredFrom, StoredTo time.Time // when the store was asked, and when it had answered
	Result               gen.EventsResult
	Err                  error // not nil: it is not known what became of it
}

// caller is what a request says of its trace.
type (
	callerContext struct{}
	caller        struct {
		traceparent string
		began       time.Time
	}
)

// follow notes it.
func (s *server) follow(o *operation) []echo.MiddlewareFunc {
	if s.Follow == nil || o.id != "sendEvents" {
		return nil
	}
	return []echo.MiddlewareFunc{func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			from := caller{r.Header.Get("Traceparent"), s.Now()}
			c.SetRequest(r.WithContext(context.WithValue(r.Context(), callerContext{}, from)))
			return next(c)
		}
	}}
}

// followed begins to follow the batch of a request. Without anybody who does, both are
// empty.
func (s *server) followed(ctx context.Context) (kept string, ended func(Acceptance)) {
	from, is := ctx.Value(callerContext{}).(caller)
	if !is {
		return "", nil
	}
	return s.Follow(from.traceparent, from.began)
}
