package dispatcher

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// maxTestTimeout bounds a test, so that its caller gets an answer.
const maxTestTimeout = 30 * time.Second

// Test POSTs one event to a webhook's URL now, signed as any callback, and says how
// that ended and what TLS told (see [egress.Result]). It knows no lane, order,
// schedule, limit or breaker, and changes none: the caller bounds how many there
// are. It is not recorded. INTERNAL_ERROR: this process could not make it.
func (d *Dispatcher) Test(ctx context.Context, w *store.Webhook, eventID string, body []byte) (store.Attempt, *tls.ConnectionState) {
	started := time.Now()
	res := d.send(ctx, "a test", w.AccountID, &egress.Request{
		URL: w.CallbackURL, Header: d.cfg.header(w, eventID, body, 1, started), Body: body,
		Deadline: started.Add(min(d.cfg.AttemptTimeout, maxTestTimeout)), Test: true,
	})
	switch res.Kind {
	case egress.Interrupted, egress.Exhausted, egress.NoWayOut, egress.Withdrawn:
		res.Kind = egress.Internal
	}
	a := attemptOf(&res, started, time.Now())
	a.Number = 1
	attrs := []slog.Attr{
		slog.String("outcome", outcomeWord(a)), slog.String("account", w.AccountID), slog.String("event", eventID),
		slog.String("host", host(w.CallbackURL)), slog.Duration("took", a.Duration), slog.Int("status", a.StatusCode), slog.String("detail", a.Detail),
	}
	if res.Err != nil {
		attrs = append(attrs, slog.String("error", res.Err.Error()))
	}
	d.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "test event", attrs...)
	return *a, res.TLS
}
