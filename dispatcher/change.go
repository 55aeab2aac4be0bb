package dispatcher

import (
	"context"
	"log/slog"
	"strings"

	"github.com/recapito/recapito/store"
)

// Change is what has changed of an endpoint, or of a bulk replay. The operator is told of
// each once: by a line whose text is these words, and by [Tell].
type Change string

// words are the text of a line in the log.
func (c Change) words() string { return strings.ToLower(strings.ReplaceAll(string(c), "_", " ")) }

const (
	BreakerOpened    Change = "BREAKER_OPENED"    // WARN: the endpoint is only probed from now on
	BreakerClosed    Change = "BREAKER_CLOSED"    // INFO: it is not only probed any more
	WebhookSuspended Change = "WEBHOOK_SUSPENDED" // WARN: the endpoint answered 410
	ReplayEnded      Change = "REPLAY_ENDED"      // INFO: a bulk replay, of one account or of several
)

// Changes are all of them.
var Changes = []Change{BreakerOpened, BreakerClosed, WebhookSuspended, ReplayEnded}

// changesOf are those that a change of an endpoint's state is, in their order.
func changesOf(c *store.HealthChange) (changes []Change) {
	if c.From == store.HealthProbing {
		changes = append(changes, BreakerClosed)
	}
	switch c.To {
	case store.HealthProbing:
		changes = append(changes, BreakerOpened)
	case store.HealthSuspended:
		changes = append(changes, WebhookSuspended)
	}
	return changes
}

// news is a change that the operator has not been told of. The loop tells, since a log
// may be slow.
type news struct {
	store.HealthChange
	host string // of the callback URL; empty: not known
}

// HealthChanged implements [store.Listener]. The lanes know: they saw the changes, or are
// told of the webhooks.
func (d *Dispatcher) HealthChanged(changes []store.HealthChange) {
	for _, c := range changes {
		d.cfg.Tell.Health(c)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range changes {
		n := news{HealthChange: c}
		if m := d.lanes[c.AccountID]; m != nil && m.Webhook() != nil {
			n.host = host(m.Webhook().CallbackURL)
		}
		d.news = append(d.news, n)
	}
	d.alarms.wake()
}

// tellNews tells of the changes.
func (d *Dispatcher) tellNews() {
	d.mu.Lock()
	all := d.news
	d.news = nil
	d.mu.Unlock()
	for i := range all {
		for _, what := range changesOf(&all[i].HealthChange) {
			all[i].tell(d.cfg.Logger, what)
			d.cfg.Tell.Change(what)
		}
	}
}

// tell writes the line.
func (n *news) tell(log *slog.Logger, what Change) {
	level := slog.LevelWarn
	if what == BreakerClosed {
		level = slog.LevelInfo
	}
	attrs := []slog.Attr{slog.String("account", n.AccountID), slog.String("host", n.host)}
	if what == BreakerOpened {
		attrs = append(attrs, slog.String("outcome", string(n.Error)))
		if n.StatusCode != 0 {
			attrs = append(attrs, slog.Int("status", n.StatusCode))
		}
	}
	log.LogAttrs(context.Background(), level, what.words(), attrs...)
}
