package service

import (
	"context"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

// nodes is a store that several processes serve together.
type nodes interface {
	store.Store
	// HandOver gives all accounts to other processes, as far as that is possible while
	// ctx lasts.
	HandOver(ctx context.Context)
	// Nodes says how the process is doing among the others.
	Nodes() store.NodeStats
	// AskProbe has the process that attempts for an account probe its endpoint now.
	AskProbe(ctx context.Context, accountID string) error
}

// listenerOf is what the store tells.
func listenerOf(st store.Store, disp *dispatcher.Dispatcher, took func(foreign bool, d time.Duration)) store.Listener {
	if _, ok := st.(nodes); ok {
		return handOffs{disp, took}
	}
	return disp
}

// handOffs tells how long what is handed over took since it was accepted. By two nodes'
// clocks that may be no time at all.
type handOffs struct {
	*dispatcher.Dispatcher
	took func(foreign bool, d time.Duration)
}

// Accepted implements [store.Listener].
func (h handOffs) Accepted(batch []store.Acceptance) {
	now := time.Now()
	for i := range batch {
		h.took(batch[i].Foreign, max(0, now.Sub(batch[i].Delivery.AcceptedAt)))
	}
	h.Dispatcher.Accepted(batch)
}

// feedGap is how late a request that waits for events learns of those that another
// process has accepted.
const feedGap = 250 * time.Millisecond

// engineOf is what the server asks.
func engineOf(st store.Store, disp *dispatcher.Dispatcher) server.Engine {
	if shared, ok := st.(nodes); ok {
		return &sharedEngine{disp, shared}
	}
	return disp
}

// sharedEngine asks other processes for what they alone can do.
type sharedEngine struct {
	*dispatcher.Dispatcher
	store nodes
}

// askLimit is how long another process may take to be asked.
const askLimit = 5 * time.Second

// Probe implements [server.Engine]. Of an account of another process it says what the
// store knows.
func (e *sharedEngine) Probe(account string, now time.Time) store.Probing {
	if e.store.May(account) {
		return e.Dispatcher.Probe(account, now)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	w, err := e.store.Webhook(ctx, account)
	if err != nil || w.Health.State != store.HealthProbing || e.store.AskProbe(ctx, account) != nil {
		return store.NotOpen
	}
	return store.ProbeBegins
}
