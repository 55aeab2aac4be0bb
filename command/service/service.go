// Package service is what runs while "recapito serve" runs: store, dispatcher, API and
// ops endpoint, and the order of their end. It promises that everything it started
// has ended when [Run] returns, and that what was accepted is in the store then. It
// knows no flags, except that an error about an address names the address's flag.
package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/open"
)

// Config configures a service. Server, Dispatcher and Egress are those of the parts;
// what the parts are to each other, Run fills in.
type Config struct {
	Version string

	Listen    string      // address of the API
	TLS       *tls.Config // of the API; nil: plain HTTP
	OpsListen string      // address of metrics, health and profiles

	Store     string // its URL
	SecretKey []byte // of the store; nil: none

	// PlatformKey is the platform's. Default: the one that was made at the first
	// start, whose digest the store keeps.
	PlatformKey string
	// ShowKey is given the platform key that was made now.
	ShowKey func(key string) error

	Server     server.Config
	Dispatcher dispatcher.Config
	Egress     egress.Config

	Logger *slog.Logger
}

// Run serves until ctx ends, then drains: no new requests, no new attempts;
// those under way finish, their outcomes are recorded, the store closes.
func Run(ctx context.Context, cfg Config) (err error) {
	log, m := cfg.Logger, newMetrics()
	st, err := open.Store(ctx, cfg.Store, open.Config{SecretKey: cfg.SecretKey, OnCommit: m.committed, Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()

	client := egress.New(cfg.Egress)
	defer client.Close()
	connections, attempts := shareFiles(openFiles(), cfg.Dispatcher.MaxInFlight)
	if attempts < cfg.Dispatcher.MaxInFlight {
		log.Warn("the limit of open files allows fewer attempts at a time than --max-in-flight; raise it (ulimit -n, LimitNOFILE)",
			"files", openFiles(), "max_in_flight", cfg.Dispatcher.MaxInFlight, "attempts", attempts)
	}
	cfg.Dispatcher.Store, cfg.Dispatcher.Sender = st, client
	cfg.Dispatcher.MaxInFlight, cfg.Dispatcher.Observe, cfg.Dispatcher.Logger = attempts, m.attempted, log
	disp, err := dispatcher.New(cfg.Dispatcher)
	if err != nil {
		return err
	}
	st.Listen(disp)
	m.watch(st, disp, client)

	apiDoor, opsDoor, err := listen(cfg, connections, client.Shed)
	if err != nil {
		return err
	}
	if err := cfg.completeServer(ctx, st, disp, m); err != nil {
		return errors.Join(err, apiDoor.Close(), opsDoor.Close())
	}
	cfg.Server.Stop, cfg.Server.MaxWaiting = ctx.Done(), max(1, connections/4)
	api, err := server.New(cfg.Server)
	if err != nil {
		return errors.Join(err, apiDoor.Close(), opsDoor.Close())
	}
	var apiListener net.Listener = apiDoor
	if cfg.TLS != nil {
		apiListener = tls.NewListener(apiDoor, cfg.TLS)
	}
	ops := &opsHandler{store: st, metrics: m}
	p := process{
		api: newHTTPServer(api, apiDoor, log), ops: newHTTPServer(ops.routes(), opsDoor, log),
		apiListener: apiListener, opsListener: opsDoor,
		dispatcher: disp, draining: &ops.draining, log: log,
	}
	debug.FreeOSMemory() // loading the document has left 10 MiB, which an idle service would keep
	log.Info("recapito is ready", "version", cfg.Version, "api", apiListener.Addr().String(), "ops", opsDoor.Addr().String(), "store", cfg.Store)
	err = p.run(ctx)
	apiDoor.answers.Wait() // those that were cut off see it; the store closes after them
	return err
}

// completeServer fills in what the server is to know of the others.
func (c *Config) completeServer(ctx context.Context, st store.Store, disp *dispatcher.Dispatcher, m *metrics) (err error) {
	s := &c.Server
	if s.PlatformKeyHash, err = platformKeyHash(ctx, st, c.PlatformKey, c.ShowKey); err != nil {
		return err
	}
	if s.CursorKey, err = keptKey(ctx, st); err != nil {
		return err
	}
	s.Store, s.Engine, s.Translations, s.Logger = st, disp, map[string][]byte{"it": gen.Italian}, c.Logger
	s.OnRequest, s.OnKey, s.OnWaiting = m.requested, hasKey, m.waits
	s.CheckURL = func(raw string) error {
		return egress.CheckURL(raw, egress.Destinations{Allow: c.Egress.Allow, Deny: c.Egress.Deny, Ports: c.Egress.Ports})
	}
	return nil
}

// listen opens both ports, or neither. The ops port has files of its own: it
// answers when the API's are all taken.
func listen(cfg Config, connections int, scarce func()) (api, ops *door, err error) {
	apiListener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("--listen: %w", err)
	}
	opsListener, err := net.Listen("tcp", cfg.OpsListen)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("--ops-listen: %w", err), apiListener.Close())
	}
	return newDoor(apiListener, connections, scarce), newDoor(opsListener, mostOperator, scarce), nil
}
