package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

// refusal is an error with a text for the caller.
type refusal struct {
	status int
	code   gen.ProblemCode
	detail string
	errors []gen.ProblemError
	header map[string]string
	cause  error // for the log alone
}

func (r *refusal) Error() string { return r.detail }

// maxErrors is how many places a problem names.
const maxErrors = 100

// invalid refuses a body for what is wrong with it.
func invalid(errs []gen.ProblemError) error {
	detail := "The request body is not valid."
	if len(errs) > maxErrors {
		detail = fmt.Sprintf("The request body is not valid in %d places; errors names the first %d.", len(errs), maxErrors)
		errs = errs[:maxErrors]
	}
	return &refusal{status: http.StatusBadRequest, code: gen.ProblemCodeBODYINVALID, detail: detail, errors: errs}
}

// when returns the replacement if err is target, else err itself.
func when(err, target error, replacement *refusal) error {
	if errors.Is(err, target) {
		return replacement
	}
	return err
}

// refusalFor is the only place that turns an error into an answer. An unknown
// error is a bare 500: its text may name hosts, paths or SQL, so only the log
// gets it.
func refusalFor(err error) *refusal {
	var known *refusal
	var routing *echo.HTTPError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &routing):
		return routingRefusal(routing.Code)
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrFenced):
		return unavailable("The change could not be made in time. Repeat the request after Retry-After.")
	}
	return internalError()
}

// unavailable is for what the store cannot do now, and may do a little later.
func unavailable(detail string) *refusal {
	return &refusal{
		status: http.StatusServiceUnavailable, code: gen.ProblemCodeSTOREUNAVAILABLE, detail: detail,
		header: map[string]string{"Retry-After": "1"},
	}
}

func internalError() *refusal {
	return &refusal{status: http.StatusInternalServerError, code: gen.ProblemCodeINTERNALERROR}
}

// routingRefusal is for what echo and the generated code refuse by themselves.
// Their texts are not used.
func routingRefusal(status int) *refusal {
	switch status {
	case http.StatusNotFound:
		return &refusal{status: status, code: gen.ProblemCodePATHUNKNOWN, detail: "There is no such path."}
	case http.StatusMethodNotAllowed:
		return &refusal{status: status, code: gen.ProblemCodeMETHODNOTALLOWED, detail: "This path does not take this method; Allow names those that it takes."}
	case http.StatusBadRequest:
		return &refusal{status: status, code: gen.ProblemCodePARAMETERINVALID, detail: "A parameter is not valid."}
	}
	return internalError()
}

// fail is echo's HTTPErrorHandler.
func (s *server) fail(err error, c echo.Context) {
	ref := refusalFor(err)
	if ref.status >= http.StatusInternalServerError && !s.outages.known(c, ref, s.Now()) {
		logFailure(s.Logger, c.Response().Writer, c.Request(), ref, err)
	}
	if !c.Response().Committed {
		ref.write(c.Response())
	}
}

// logFailure writes the one line of a request that failed inside. It names no
// credential, no query and no body.
func logFailure(log *slog.Logger, w http.ResponseWriter, r *http.Request, ref *refusal, err error) {
	level := slog.LevelError
	switch {
	case r.Context().Err() != nil:
		level = slog.LevelInfo // the caller has gone, which is what failed
	case ref.status == http.StatusServiceUnavailable:
		level = slog.LevelWarn // the store says no, and callers repeat
	}
	if ref.cause != nil {
		err = ref.cause
	}
	attrs := []slog.Attr{
		slog.String("request_id", w.Header().Get(requestIDHeader)),
		slog.String("operation", operationOf(w)),
		slog.Int("status", ref.status),
		slog.Any("error", err),
	}
	if t, ok := r.Context().Value(trailContext{}).(*trail); ok {
		attrs = append(attrs, t.attrs...)
	}
	log.LogAttrs(r.Context(), level, "request failed", attrs...)
}

func operationOf(w http.ResponseWriter) string {
	if out, ok := w.(*response); ok {
		return out.operation
	}
	return ""
}

// outageGap is how often the operator is told that an operation is unavailable.
const outageGap = time.Minute

// outages are the operations that have answered 503, and when that was told last:
// callers repeat their requests, each second as a rule.
type outages struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// known reports whether a refusal need not be told again.
func (o *outages) known(c echo.Context, ref *refusal, now time.Time) bool {
	if ref.status != http.StatusServiceUnavailable || c.Request().Context().Err() != nil {
		return false
	}
	operation := operationOf(c.Response().Writer)
	o.mu.Lock()
	defer o.mu.Unlock()
	if last, ok := o.told[operation]; ok && now.Sub(last) < outageGap {
		return true
	}
	if o.told == nil {
		o.told = map[string]time.Time{}
	}
	o.told[operation] = now
	return false
}

// write answers with the problem.
func (r *refusal) write(w http.ResponseWriter) {
	h := w.Header()
	for name, value := range r.header {
		h.Set(name, value)
	}
	p := r.problem()
	if id := h.Get(requestIDHeader); id != "" {
		p.RequestID = &id
	}
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // it is made of valid strings
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(r.status)
	_, _ = w.Write(append(body, '\n')) // fails when the caller has gone
}

func (r *refusal) problem() gen.Problem {
	p := gen.Problem{Type: "about:blank", Title: http.StatusText(r.status), Status: int32(r.status), Code: r.code}
	if r.detail != "" {
		p.Detail = &r.detail
	}
	if len(r.errors) > 0 {
		p.Errors = &r.errors
	}
	return p
}
