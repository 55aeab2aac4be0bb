package server

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

func (s *server) ListAttempts(ctx context.Context, r gen.ListAttemptsRequestObject) (gen.ListAttemptsResponseObject, error) {
	p := &r.Params
	q := store.AttemptQuery{
		AccountID: accountOf(ctx), MessageID: value(p.MessageID), From: time.Time(value(p.From)), To: time.Time(value(p.To)),
		Outcome: store.AttemptOutcome(value(p.Outcome)), Status: statusClass(value(p.StatusClass)),
	}
	if p.Cursor != nil {
		var err error
		if q.After, err = s.cursors.toAttempts(*p.Cursor, q.AccountID); err != nil {
			return nil, err
		}
	}
	read := func(limit int) ([]gen.DeliveryAttempt, *string, error) {
		q.Limit = limit
		return s.attempts(ctx, &q)
	}
	if wantsLines(ctx) {
		return attemptLines{newLines(ctx, s, p.Limit, read)}, nil
	}
	found, next, err := read(limitOf(p.Limit))
	if err != nil {
		return nil, err
	}
	return gen.ListAttempts200JSONResponse{Attempts: found, NextCursor: next}, nil
}

type attemptLines struct{ *lines[gen.DeliveryAttempt] }

func (l attemptLines) VisitListAttemptsResponse(w http.ResponseWriter) error { return l.write(w) }

// statusClass is the first digit.
func statusClass(class gen.StatusClass) int {
	switch class {
	case "":
		return 0
	case gen.StatusClassNONE:
		return store.NoAnswer
	}
	return int(class[0] - '0')
}

// attempts reads a page, in the account's turn, and moves the query to the next.
func (s *server) attempts(ctx context.Context, q *store.AttemptQuery) ([]gen.DeliveryAttempt, *string, error) {
	done, err := s.listings.take(ctx, q.AccountID)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	found, err := s.Store.Attempts(ctx, *q)
	if err != nil {
		return nil, nil, err
	}
	q.After = found.Next
	shown := make([]gen.DeliveryAttempt, 0, len(found.Attempts))
	for _, of := range found.Attempts {
		shown = append(shown, gen.DeliveryAttempt{EventID: of.EventID, MessageID: of.MessageID, Attempt: showAttempt(of.Attempt)})
	}
	return shown, s.cursors.ofAttempts(found.Next, q.AccountID), nil
}

func showAttempt(a store.Attempt) gen.Attempt {
	out := gen.Attempt{
		Number: int32(a.Number), At: showTime(a.At), DurationMs: a.Duration.Milliseconds(), Probe: a.Probe,
		StatusCode: showStatus(a.StatusCode), Location: optional(a.Location),
		Error: (*gen.AttemptError)(optional(string(a.Error))), Detail: (*gen.AttemptDetail)(optional(a.Detail)),
	}
	if len(a.Response) > 0 {
		text := strings.ToValidUTF8(string(a.Response), "\uFFFD")
		out.Response = &text
	}
	out.ResponseHeader, out.Address = optional(a.Header), optional(a.Address)
	if a.Phases != (store.Phases{}) {
		out.Phases = &gen.AttemptPhases{
			DNSMs: millis(a.Phases.DNS), ConnectMs: millis(a.Phases.Connect), ProxyMs: millis(a.Phases.Proxy), TLSMs: millis(a.Phases.TLS), FirstByteMs: millis(a.Phases.FirstByte),
		}
	}
	if a.Phases.FirstByte > 0 {
		out.Reused = &a.Reused
	}
	return out
}

// millis shows zero as absent.
func millis(d time.Duration) *int64 {
	if d == 0 {
		return nil
	}
	return new(d.Milliseconds())
}
