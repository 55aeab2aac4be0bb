package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

func (s *server) GetHealth(ctx context.Context, _ gen.GetHealthRequestObject) (gen.GetHealthResponseObject, error) {
	w, err := s.Store.Webhook(ctx, accountOf(ctx))
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoWebhook)
	}
	now := s.Now()
	v, err := s.Store.Vitals(ctx, w.AccountID, now)
	if err != nil {
		return nil, err
	}
	h := health{Vitals: v, Pace: s.Engine.Pace(&w, v.NextDue, now)}
	h.complete(now)
	return gen.GetHealth200JSONResponse(h.show(&w, now)), nil
}

// health is what is told of an endpoint.
type health struct {
	store.Vitals
	store.Pace
	givenUp time.Time // when the delivery that waits longest is
}

// complete finds out what neither the rows nor the engine say.
func (h *health) complete(now time.Time) {
	if h.Pending() == 0 {
		h.NextAttempt, h.OldestPending = time.Time{}, time.Time{}
	}
	h.State, h.Since = h.Rested(h.State, h.Since, now)
	if !h.OldestPending.IsZero() && h.Horizon > 0 {
		h.givenUp = h.OldestPending.Add(h.Horizon)
	}
}

func (h *health) show(w *store.Webhook, now time.Time) gen.Health {
	out := gen.Health{
		State: gen.EndpointState(h.State), Since: showTime(h.Since), Summary: h.summary(), ConsecutiveFailures: h.InARow,
		NextAttemptAt: showOptionalTime(h.NextAttempt), Pending: h.Pending(), OldestPendingAt: showOptionalTime(h.OldestPending),
		FirstGivenUpAt: showOptionalTime(h.givenUp), Concurrency: int32(h.Concurrency), Secrets: showSecrets(*w, now), Skipped: h.Day.Skipped(),
		LastHour: showCounts(h.Hour), LastDay: showCounts(h.Day), LastWeek: showCounts(h.Week),
	}
	if m := h.Success; !m.At.IsZero() {
		out.LastSuccess = &gen.LastSuccess{At: showTime(m.At), StatusCode: int32(m.StatusCode)}
	}
	out.LastFailure = showLastFailure(h.LastFailure)
	return out
}

// showLastFailure shows no attempt as absent.
func showLastFailure(a *store.Attempt) *gen.LastFailure {
	if a == nil {
		return nil
	}
	shown := showAttempt(*a)
	return &gen.LastFailure{
		At: shown.At, Error: gen.AttemptError(a.Error), Detail: shown.Detail, StatusCode: shown.StatusCode, Response: shown.Response, Address: shown.Address,
	}
}

func showCounts(t *store.Tally) gen.AttemptCounts {
	failed, kinds := t.Failed()
	out := gen.AttemptCounts{
		Acknowledged: t.Acknowledged(), Failed: failed, Errors: make([]gen.ErrorCount, 0, len(kinds)),
		AnswerTimeMs: gen.AnswerTimes{P50: showQuantile(t, 0.5), P95: showQuantile(t, 0.95), P99: showQuantile(t, 0.99)},
	}
	for _, k := range kinds {
		out.Errors = append(out.Errors, gen.ErrorCount{Error: gen.AttemptError(k.Kind), Attempts: k.N})
	}
	if all := out.Acknowledged + failed; all > 0 {
		out.AcknowledgedShare = new(float64(out.Acknowledged) / float64(all))
	}
	return out
}

// minutesTold is how many minutes are told of, the present one included.
const minutesTold = 24 * 60

func (s *server) ListHealthMinutes(ctx context.Context, r gen.ListHealthMinutesRequestObject) (gen.ListHealthMinutesResponseObject, error) {
	w, err := s.Store.Webhook(ctx, accountOf(ctx))
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoWebhook)
	}
	now := store.Minute(s.Now())
	first, last := now-minutesTold+1, now
	if from := r.Params.From; from != nil {
		first = min(max(first, store.Minute(time.Time(*from))), now+1)
	}
	if to := r.Params.To; to != nil {
		last = max(min(last, store.Minute(time.Time(*to).Add(-1))), first-1)
	}
	all, err := s.Store.Minutes(ctx, w.AccountID, first, last)
	if err != nil {
		return nil, err
	}
	return gen.ListHealthMinutes200JSONResponse(showMinutes(first, last, all)), nil
}

// showMinutes shows those of the minutes in which something was counted. Before them
// there is one more.
func showMinutes(first, last int64, all []store.MinuteTally) gen.HealthMinutes {
	at := func(minute int64) gen.Time { return showTime(time.Unix(60*minute, 0)) }
	out := gen.HealthMinutes{From: at(first), To: at(last + 1), Pending: all[0].Pending(), Minutes: make([]gen.HealthMinute, 0, len(all)-1)}
	for i := range all[1:] {
		now, before := &all[i+1], &all[i].Tally
		c := showCounts(now.Between(before))
		if c.Acknowledged+c.Failed > 0 || now.Pending() != before.Pending() {
			out.Minutes = append(out.Minutes, gen.HealthMinute{
				At: at(now.Minute), Acknowledged: c.Acknowledged, Failed: c.Failed, Errors: c.Errors, AnswerTimeMs: c.AnswerTimeMs, Pending: now.Pending(),
			})
		}
	}
	return out
}

// showQuantile is in milliseconds, or null.
func showQuantile(t *store.Tally, share float64) *float64 {
	d, ok := t.AnswerTime(share)
	if !ok {
		return nil
	}
	return new(float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond))
}

// summary is one sentence, without its full stop: a time may be its end.
func (h *health) summary() string {
	var b strings.Builder
	switch h.State {
	case store.HealthHealthy:
		b.WriteString("Your endpoint is well" + h.lastHour())
	case store.HealthSlowed:
		fmt.Fprintf(&b, "Your endpoint is slow to answer or asked for less, and gets %s at a time%s", count(int64(h.Concurrency), "attempt"), h.lastHour())
	case store.HealthFailing:
		b.WriteString(h.failures() + ", and it is still attempted")
	case store.HealthProbing:
		b.WriteString(h.failures() + ", so only probes are made until one is acknowledged")
	case store.HealthSuspended:
		b.WriteString("Your endpoint answered 410, so nothing is attempted until you PUT the callback URL again")
	default:
		if h.Success.At.IsZero() && h.Failure.At.IsZero() {
			return "Nothing has been attempted yet"
		}
		return "Nothing has been attempted for a day, and nothing waits"
	}
	b.WriteString(h.waiting())
	return b.String()
}

// failures says how many attempts in a row have failed.
func (h *health) failures() string {
	what := "Your endpoint fails"
	switch {
	case h.InARow == 1:
		what = "The last attempt failed"
	case h.InARow > 1:
		what = fmt.Sprintf("The last %d attempts failed", h.InARow)
	}
	switch m := h.Failure; {
	case m.At.IsZero():
		return what
	case m.StatusCode != 0:
		return what + fmt.Sprintf(", the last with status %d", m.StatusCode)
	default:
		return what + fmt.Sprintf(", the last with %s", m.Error)
	}
}

// lastHour says how the attempts of the last hour ended.
func (h *health) lastHour() string {
	failed, _ := h.Hour.Failed()
	if all := h.Hour.Acknowledged() + failed; all > 0 {
		return fmt.Sprintf(": it acknowledged %d of the last hour's %s", h.Hour.Acknowledged(), count(all, "attempt"))
	}
	return ""
}

// waiting says what waits, and until when.
func (h *health) waiting() string {
	n := h.Pending()
	if n == 0 {
		return ""
	}
	verb := "wait"
	if n == 1 {
		verb = "waits"
	}
	if h.State == store.HealthHealthy || h.givenUp.IsZero() {
		return fmt.Sprintf("; %s %s", count(n, "event"), verb)
	}
	return fmt.Sprintf("; %s %s, the first until %s", count(n, "event"), verb, h.givenUp.UTC().Format("2006-01-02T15:04:05.000Z"))
}

// count is a number of things.
func count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func (s *server) ListHealthChanges(ctx context.Context, r gen.ListHealthChangesRequestObject) (gen.ListHealthChangesResponseObject, error) {
	w, err := s.Store.Webhook(ctx, accountOf(ctx))
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoWebhook)
	}
	q := store.HealthChangeQuery{AccountID: w.AccountID, Limit: limitOf(r.Params.Limit)}
	if cursor := r.Params.Cursor; cursor != nil {
		if err := s.cursors.read(*cursor, healthChangesCursor, w.AccountID, &q.Before); err != nil {
			return nil, err
		}
	}
	page, err := s.Store.HealthChanges(ctx, q)
	if err != nil {
		return nil, err
	}
	out := gen.ListHealthChanges200JSONResponse{Changes: make([]gen.HealthChange, 0, len(page.Changes))}
	for _, c := range page.Changes {
		out.Changes = append(out.Changes, gen.HealthChange{
			At: showTime(c.At), From: gen.EndpointState(c.From), To: gen.EndpointState(c.To),
			Error: (*gen.AttemptError)(optional(string(c.Error))), StatusCode: showStatus(c.StatusCode),
		})
	}
	if page.Next > 0 {
		out.NextCursor = s.cursors.write(healthChangesCursor, w.AccountID, page.Next)
	}
	return out, nil
}
