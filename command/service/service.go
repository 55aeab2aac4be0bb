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
	"os"
	"runtime/debug"
	"sync"
	"time"

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
	Version, Commit string // of the build

	Listen    string // address of the API
	OpsListen string // address of metrics, health and profiles
	Store     string // its URL
	Quota     store.Quota
	Traces    Traces

	Live
	// Reload makes the service Load the live part anew; nil: never.
	Reload <-chan os.Signal
	Load   func() (Live, error)
	// Level is the logger's. It is set to that of a live part that was loaded.
	Level *slog.LevelVar

	// OnReady is called when the service is ready.
	OnReady func()
	// MakePlatformKey makes the platform key of a first start without one, and tells the operator of it.
	MakePlatformKey func() (key string, err error)

	Server     server.Config
	Dispatcher dispatcher.Config
	Egress     egress.Config

	// Notify is told READY=1, RELOADING=1 and STOPPING=1, states of sd_notify(3).
	Notify func(state string)

	Logger *slog.Logger
}

// Run serves until ctx ends, then drains: no new requests, no new attempts;
// those under way finish, their outcomes are recorded, the store closes.
func Run(ctx context.Context, cfg Config) (err error) {
	log, m, recent := cfg.Logger, newMetrics(), &lately{}
	m.built(cfg.Version, cfg.Commit)
	st, err := open.Store(ctx, cfg.Store, open.Config{SecretKeys: cfg.SecretKeys, Quota: cfg.Quota, OnCommit: func(c store.Commit) {
		m.committed(c)
		recent.committed(time.Now(), c)
	}, OnChange: m.settled, Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	tr, err := newTraces(ctx, cfg.Traces, cfg.Version, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tr.close()) }()

	cfg.Egress.RootCAs, cfg.Egress.Certificate = cfg.Authorities, cfg.ClientCertificate
	client := egress.New(cfg.Egress)
	defer client.Close()
	connections, attempts := ShareFiles(OpenFiles(), cfg.Dispatcher.MaxInFlight)
	cfg.Dispatcher.Store, cfg.Dispatcher.Sender = st, client
	cfg.Dispatcher.MaxInFlight, cfg.Dispatcher.Logger = attempts, log
	cfg.Dispatcher.Tell.Attempt = func(o dispatcher.Observation) {
		m.attempted(o)
		recent.attempted(o)
	}
	cfg.Dispatcher.Tell.Change = func(c dispatcher.Change) { m.changed(string(c)) }
	if tr != nil {
		cfg.Server.Follow, cfg.Dispatcher.Follow = tr.accept, tr.attempt
	}
	disp, err := dispatcher.New(cfg.Dispatcher)
	if err != nil {
		return err
	}
	m.watch(st, disp, client)

	apiDoor, opsDoor, err := listen(cfg, connections, client.Shed)
	if err != nil {
		return err
	}
	live := &reloader{load: cfg.Load, store: st, egress: client, level: cfg.Level, metrics: m, notify: cfg.Notify, log: log}
	if err := cfg.completeServer(ctx, live, disp); err != nil {
		return errors.Join(err, apiDoor.Close(), opsDoor.Close())
	}
	cfg.Server.Status = (&status{version: cfg.Version, store: st, dispatcher: disp, lately: recent}).now
	cfg.Server.Stop, cfg.Server.MaxWaiting = ctx.Done(), max(1, connections/4)
	api, err := server.New(cfg.Server)
	if err != nil {
		return errors.Join(err, apiDoor.Close(), opsDoor.Close())
	}
	var apiListener net.Listener = apiDoor
	if cfg.Certificate != nil {
		apiListener = tls.NewListener(apiDoor, live.tls())
	}
	ops := &opsHandler{store: st, metrics: m}
	p := process{
		api: newHTTPServer(api, apiDoor, log), ops: newHTTPServer(ops.routes(), opsDoor, log),
		apiListener: apiListener, opsListener: opsDoor,
		dispatcher: disp, draining: &ops.draining, notify: cfg.Notify, log: log,
	}
	if shared, ok := st.(nodes); ok {
		p.handOver = shared.HandOver
	}
	debug.FreeOSMemory() // loading the document has left 10 MiB, which an idle service would keep
	log.Info("recapito is ready", "version", cfg.Version, "api", apiListener.Addr().String(), "ops", opsDoor.Addr().String(), "store", open.Name(cfg.Store))
	m.configured(true)
	st.Listen(listenerOf(st, disp, m.handedOff)) // last: other processes leave accounts to this one from then on
	cfg.OnReady()
	var reloads sync.WaitGroup
	reloads.Go(func() { live.run(ctx, cfg.Reload) })
	err = p.run(ctx)
	reloads.Wait()
	apiDoor.answers.Wait() // those that were cut off see it; the store closes after them
	return err
}

// completeServer fills in what the server is to know of the others.
func (c *Config) completeServer(ctx context.Context, live *reloader, disp *dispatcher.Dispatcher) error {
	s, st, m := &c.Server, live.store, live.metrics
	keys, err := platformKeys(ctx, st, c.PlatformKeys, c.MakePlatformKey)
	if err != nil {
		return err
	}
	live.platformKeys.Store(&keys)
	live.certificate.Store(c.Certificate)
	s.PlatformKeys = func() []store.KeyHash { return *live.platformKeys.Load() }
	if s.CursorKey, err = keptKey(ctx, st); err != nil {
		return err
	}
	s.Store, s.Engine, s.Translations, s.Logger = st, engineOf(st, disp), map[string][]byte{"it": gen.Italian}, c.Logger
	s.OnRequest, s.OnKey, s.OnWaiting, s.OnEvents = m.requested, hasKey, m.waits, m.handedIn
	if _, ok := st.(nodes); ok {
		s.FeedGap = feedGap
	}
	s.OnChange = func(c server.Change) { m.changed(string(c)) }
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
