package command

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/open"
)

type serveCmd struct {
	Listen    string `default:":8080" placeholder:"ADDR" help:"Address of the API. Default: ${default}."`
	TLSCert   string `type:"existingfile" placeholder:"FILE" help:"Certificate chain (PEM). Without it the API is plain HTTP."`
	TLSKey    string `type:"existingfile" placeholder:"FILE" help:"Private key (PEM) of --tls-cert."`
	OpsListen string `default:"127.0.0.1:9090" placeholder:"ADDR" help:"Address of /metrics, /livez, /readyz and /debug/pprof; keep it private. Default: ${default}."`
	BasePath  string `placeholder:"PATH" help:"Prefix of every path of the API, for example /api/partner-gateway/v1."`

	RateLimit  float64  `placeholder:"N" help:"Requests per second of each account to its deliveries and to the rotation of its secret, and of the platform to /events. Ten seconds' worth may come at once; further requests get 429. The four operations of the webhook are never limited. Default: none."`
	CORSOrigin []string `name:"cors-origin" placeholder:"ORIGIN" help:"Origin whose pages may call the API, for example https://console.example.com, or * for any; repeatable. Default: none."`

	storeFlags
	PlatformKey string `placeholder:"KEY" help:"The platform's bearer key. Without it, the first start makes a key, shows it once, and keeps only its digest."`

	RetrySchedule  []time.Duration `placeholder:"GAP" help:"Gaps between the attempts of a delivery. Default: 5s,30s,2m,10m,30m,1h,2h,4h,8h,12h,20h,24h."`
	RetryHorizon   time.Duration   `default:"72h" placeholder:"AGE" help:"Age at which a pending delivery is given up. Default: ${default}."`
	AttemptTimeout time.Duration   `default:"10s" placeholder:"TIME" help:"Deadline of one whole attempt. Default: ${default}."`
	OrderWait      time.Duration   `default:"60s" placeholder:"TIME" help:"How long an event waits for an earlier one of its message, from when that one first failed. Default: ${default}."`
	MaxInFlight    int             `default:"1024" placeholder:"N" help:"Attempts at a time, of all accounts. Default: ${default}."`

	AllowNetwork           []netip.Prefix `placeholder:"CIDR" help:"Opens a private range to callbacks, for example 127.0.0.0/8; repeatable. Default: none."`
	DenyNetwork            []netip.Prefix `placeholder:"CIDR" help:"Closes a range to callbacks, whatever --allow-network says, for example the network's own NAT64 prefix; repeatable. Default: none."`
	CallbackPort           []uint16       `placeholder:"PORT" help:"Port that callbacks may go to, and no other; repeatable. Default: any."`
	CallbackConnectionLife time.Duration  `default:"60s" placeholder:"TIME" help:"Age at which a connection to an endpoint is closed, so that its name is looked up again. Default: ${default}."`
	CallbackCA             string         `type:"existingfile" placeholder:"FILE" help:"Certificate authorities (PEM) trusted for callbacks, beside the system's."`
	Retention              time.Duration  `default:"168h" placeholder:"TIME" help:"How long finished deliveries can be read. Default: ${default}."`

	LogFormat string     `enum:"text,json" default:"text" placeholder:"FORMAT" help:"text or json. Default: ${default}."`
	LogLevel  slog.Level `default:"info" placeholder:"LEVEL" help:"debug, info, warn or error. Default: ${default}."`
}

// Validate is called by the parser.
func (c *serveCmd) Validate() error {
	switch {
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key go together")
	case c.BasePath != "" && (!strings.HasPrefix(c.BasePath, "/") || strings.HasSuffix(c.BasePath, "/")):
		return fmt.Errorf("--base-path %q: must begin with / and not end with it", c.BasePath)
	case c.RateLimit < 0:
		return errors.New("--rate-limit: must not be negative")
	case c.MaxInFlight < 1:
		return errors.New("--max-in-flight: must be at least 1")
	case c.PlatformKey != "" && len(c.PlatformKey) < 16:
		return errors.New("--platform-key: must have at least 16 characters")
	}
	for _, origin := range c.CORSOrigin {
		if err := server.CheckOrigin(origin); err != nil {
			return fmt.Errorf("--cors-origin: %w", err)
		}
	}
	for flag, d := range map[string]time.Duration{
		"retry-horizon": c.RetryHorizon, "attempt-timeout": c.AttemptTimeout, "order-wait": c.OrderWait,
		"callback-connection-life": c.CallbackConnectionLife, "retention": c.Retention,
	} {
		if d <= 0 {
			return fmt.Errorf("--%s: must be longer than zero", flag)
		}
	}
	if slices.Contains(c.CallbackPort, 0) {
		return errors.New("--callback-port: must be 1 to 65535")
	}
	for _, d := range c.RetrySchedule {
		if d <= 0 {
			return errors.New("--retry-schedule: every gap must be longer than zero")
		}
	}
	return nil
}

// Run serves until ctx ends, then drains: no new requests, no new attempts;
// those under way finish, their outcomes are recorded, the store closes.
func (c *serveCmd) Run(ctx context.Context, spec contract, std Streams) (err error) {
	log := c.logger(std)
	// net/http's client logs only to package log.
	stdlog.SetFlags(0)
	stdlog.SetOutput(slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer())
	m := newMetrics()
	st, err := open.Store(ctx, string(c.Store), open.Config{SecretKey: c.SecretKey, OnCommit: m.committed, Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()

	roots, err := loadRoots(c.CallbackCA)
	if err != nil {
		return err
	}
	client := egress.New(egress.Config{Allow: c.AllowNetwork, Deny: c.DenyNetwork, Ports: c.CallbackPort, RootCAs: roots, ConnectionLife: c.CallbackConnectionLife})
	defer client.Close()
	connections, attempts := shareFiles(openFiles(), c.MaxInFlight)
	if attempts < c.MaxInFlight {
		log.Warn("the limit of open files allows fewer attempts at a time than --max-in-flight; raise it (ulimit -n, LimitNOFILE)",
			"files", openFiles(), "max_in_flight", c.MaxInFlight, "attempts", attempts)
	}
	disp, err := dispatcher.New(dispatcher.Config{
		Store: st, Sender: client,
		RetrySchedule: c.RetrySchedule, RetryHorizon: c.RetryHorizon, AttemptTimeout: c.AttemptTimeout,
		OrderWait: c.OrderWait, MaxInFlight: attempts, Retention: c.Retention,
		UserAgent: "Recapito/" + version(), Observe: m.attempted, Logger: log,
	})
	if err != nil {
		return err
	}
	st.Listen(disp)
	m.watch(st, disp, client)

	apiDoor, opsDoor, tlsConfig, err := c.listen(connections, client.Shed)
	if err != nil {
		return err
	}
	var apiListener net.Listener = apiDoor
	if tlsConfig != nil {
		apiListener = tls.NewListener(apiDoor, tlsConfig)
	}
	keyHash, err := c.platformKeyHash(ctx, st, std)
	if err != nil {
		return errors.Join(err, apiDoor.Close(), opsDoor.Close())
	}
	cursorKey, err := keptKey(ctx, st)
	if err != nil {
		return errors.Join(err, apiDoor.Close(), opsDoor.Close())
	}
	api, err := server.New(server.Config{
		Store: st, Engine: disp, Spec: spec, Translations: map[string][]byte{"it": gen.Italian}, PlatformKeyHash: keyHash, BasePath: c.BasePath,
		RateLimit: c.RateLimit, CORSOrigins: c.CORSOrigin, CursorKey: cursorKey,
		CheckURL: func(raw string) error {
			return egress.CheckURL(raw, egress.Destinations{Allow: c.AllowNetwork, Deny: c.DenyNetwork, Ports: c.CallbackPort})
		},
		Logger:    log,
		OnRequest: m.requested,
	})
	if err != nil {
		return errors.Join(err, apiDoor.Close(), opsDoor.Close())
	}
	ops := &opsHandler{store: st, metrics: m}
	p := process{
		api: newHTTPServer(api, apiDoor, log), ops: newHTTPServer(ops.routes(), opsDoor, log),
		apiListener: apiListener, opsListener: opsDoor,
		dispatcher: disp, draining: &ops.draining, log: log,
	}
	debug.FreeOSMemory() // loading the document has left 10 MiB, which an idle service would keep
	log.Info("recapito is ready", "version", version(), "api", apiListener.Addr().String(), "ops", opsDoor.Addr().String(), "store", c.Store)
	err = p.run(ctx)
	apiDoor.answers.Wait() // those that were cut off see it; the store closes after them
	return err
}

func (c *serveCmd) logger(std Streams) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(std.Err, opts))
	}
	return slog.New(slog.NewTextHandler(std.Err, opts))
}

// listen opens both ports, or neither. The ops port has files of its own: it
// answers when the API's are all taken.
func (c *serveCmd) listen(connections int, scarce func()) (api, ops *door, tlsConfig *tls.Config, err error) {
	if c.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("--tls-cert: %w", err)
		}
		tlsConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	}
	apiListener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("--listen: %w", err)
	}
	opsListener, err := net.Listen("tcp", c.OpsListen)
	if err != nil {
		return nil, nil, nil, errors.Join(fmt.Errorf("--ops-listen: %w", err), apiListener.Close())
	}
	return newDoor(apiListener, connections, scarce), newDoor(opsListener, mostOperator, scarce), tlsConfig, nil
}

// loadRoots adds the authorities of a file to the system's.
func loadRoots(file string) (*x509.CertPool, error) {
	roots, err := x509.SystemCertPool() // now: with no file descriptor left it would fail for good
	if err != nil {
		roots = x509.NewCertPool()
	}
	if file == "" {
		return roots, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--callback-ca: %w", err)
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--callback-ca %s: holds no certificate in PEM form", file)
	}
	return roots, nil
}

// platformKeySetting names the digest of the platform key that was made at the
// first start.
const platformKeySetting = "platform-key-sha256"

// platformKeyHash is the digest of the given key, or of the one that was made
// at the first start, now if this is it.
func (c *serveCmd) platformKeyHash(ctx context.Context, st store.Settings, std Streams) (store.KeyHash, error) {
	if c.PlatformKey != "" {
		return store.HashKey(c.PlatformKey), nil
	}
	kept, err := st.Setting(ctx, platformKeySetting)
	if err == nil && len(kept) == len(store.KeyHash{}) {
		return store.KeyHash(kept), nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return store.KeyHash{}, fmt.Errorf("reading the platform key's digest: %w", err)
	}
	key := store.NewID("platform_")
	hash := store.HashKey(key)
	if err := st.PutSetting(ctx, platformKeySetting, hash[:]); err != nil {
		return store.KeyHash{}, fmt.Errorf("keeping the platform key's digest: %w", err)
	}
	_, err = fmt.Fprintf(std.Err, "\nA platform key was made. It is shown only now; keep it:\n\n    %s\n\n", key)
	return hash, err
}

// cursorKeySetting names the key of cursors, which outlive a restart by it.
const cursorKeySetting = "cursor-key"

// keptKey is the key of cursors that was made at the first start, now if this is
// it.
func keptKey(ctx context.Context, st store.Settings) ([]byte, error) {
	key, err := st.Setting(ctx, cursorKeySetting)
	if errors.Is(err, store.ErrNotFound) {
		key = make([]byte, server.CursorKeySize)
		_, _ = rand.Read(key) // never fails
		err = st.PutSetting(ctx, cursorKeySetting, key)
	}
	if err != nil {
		return nil, fmt.Errorf("the key of cursors: %w", err)
	}
	return key, nil
}

// newHTTPServer has limits against clients that are slow to send, slow to read,
// or idle; net/http's zero value has none. The longest answer, the docs page's
// renderer, is 1.2 MiB.
func newHTTPServer(h http.Handler, d *door, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    maxHeader - headerSlop,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	d.attend(s)
	return s
}

// maxHeader is how long a request's header may be. What is made of it takes some
// ten times as much memory, for a client without a key too.
const (
	maxHeader  = 8 << 10
	headerSlop = 4 << 10 // net/http adds it to its limit
)

// process is what runs while the service runs, and the order of its end.
type process struct {
	api, ops                 *http.Server
	apiListener, opsListener net.Listener
	dispatcher               *dispatcher.Dispatcher
	draining                 interface{ Store(bool) }
	log                      *slog.Logger
}

// drainTimeout is how long requests under way may take at shutdown.
const drainTimeout = 10 * time.Second

// run ends when ctx does, or when a server fails. Everything that it started
// has ended when it returns.
func (p *process) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dispCtx, stopDispatcher := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDispatcher()

	var servers, engine sync.WaitGroup
	serve := func(s *http.Server, l net.Listener) {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			cancel(err)
		}
	}
	servers.Go(func() { serve(p.api, p.apiListener) })
	servers.Go(func() { serve(p.ops, p.opsListener) })
	engine.Go(func() { _ = p.dispatcher.Run(dispCtx) })

	<-ctx.Done()
	p.log.Info("shutting down: finishing requests and attempts under way")
	p.draining.Store(true)
	shut, done := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer done()
	err := p.end(shut, p.api)
	stopDispatcher()
	engine.Wait()
	err = errors.Join(err, p.end(shut, p.ops))
	servers.Wait()
	p.log.Info("stopped")
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// end lets requests under way finish while ctx lasts, and cuts off the rest: a
// client that is slow to send is no failure of ours.
func (p *process) end(ctx context.Context, s *http.Server) error {
	err := s.Shutdown(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	p.log.Warn("requests were cut off: their clients were too slow", "after", drainTimeout)
	return s.Close()
}
