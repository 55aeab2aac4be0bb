package command

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/recapito/recapito/command/service"
	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

type serveCmd struct {
	Listen    string `default:":8080" placeholder:"ADDR" help:"Address of the API. Default: ${default}."`
	TLSCert   string `type:"path" placeholder:"FILE" help:"Certificate chain (PEM). Without it the API is plain HTTP."`
	TLSKey    string `type:"path" placeholder:"FILE" help:"Private key (PEM) of --tls-cert."`
	OpsListen string `default:"127.0.0.1:9090" placeholder:"ADDR" help:"Address of /metrics, /livez, /readyz and /debug/pprof; keep it private. Default: ${default}."`
	BasePath  string `placeholder:"PATH" help:"Prefix of every path of the API, for example /api/partner-gateway/v1."`

	RateLimit  float64  `placeholder:"N" help:"Requests per second of each account to its deliveries, attempts and events and to the rotation of its secret, and of the platform to /events. Ten seconds' worth may come at once; further requests get 429. The four operations of the webhook are never limited. Default: none."`
	CORSOrigin []string `name:"cors-origin" placeholder:"ORIGIN" help:"Origin whose pages may call the API, for example https://console.example.com, or * for any; repeatable. Default: none."`

	ConsoleFrameAncestors []string `placeholder:"ORIGIN" help:"Origin whose pages may show the console in a frame, for example https://platform.example.com; repeatable. Default: none may."`

	storeFlags
	platformKeyFlags

	RetrySchedule  []time.Duration `placeholder:"GAP" help:"Gaps between the attempts of a delivery. Default: 5s,30s,2m,10m,30m,1h,2h,4h,8h,12h,20h,24h."`
	RetryHorizon   time.Duration   `default:"72h" placeholder:"AGE" help:"Age at which a pending delivery is given up. Default: ${default}."`
	AttemptTimeout time.Duration   `default:"10s" placeholder:"TIME" help:"Deadline of one whole attempt. Default: ${default}."`
	OrderWait      time.Duration   `default:"60s" placeholder:"TIME" help:"How long an event waits for an earlier one of its message, from when that one first failed. Default: ${default}."`
	MaxInFlight    int             `default:"1024" placeholder:"N" help:"Attempts at a time, of all accounts. Default: ${default}."`

	egressFlags

	MaxBacklogEvents int64 `placeholder:"N" help:"Events that may wait for one account's endpoint. Further ones are skipped (OVER_QUOTA). Default: no limit."`
	MaxBacklogBytes  int64 `placeholder:"BYTES" help:"Bytes of them, at least 16384. Default: no limit."`

	Retention time.Duration `default:"168h" placeholder:"TIME" help:"How long finished deliveries can be read. Default: ${default}."`

	TracesEndpoint      string  `placeholder:"URL" help:"Collector of traces (OTLP, protobuf over HTTP), for example http://127.0.0.1:4318. Default: there are no traces."`
	TracesSample        float64 `default:"1" placeholder:"SHARE" help:"Share of the batches of events that are followed if their request has no traceparent, from 0 to 1. Default: ${default}."`
	CallbackTraceparent bool    `help:"Callbacks carry the header traceparent (W3C Trace Context)."`

	logFlags
}

// logFlags say how a process that runs on logs.
type logFlags struct {
	LogFormat string     `enum:"text,json" default:"text" placeholder:"FORMAT" help:"text or json. Default: ${default}."`
	LogLevel  slog.Level `default:"info" placeholder:"LEVEL" help:"debug, info, warn or error. Default: ${default}."`
}

// Validate is called by the parser. It says all that is wrong.
func (c *serveCmd) Validate() error {
	var wrong []error
	refuse := func(is bool, format string, args ...any) {
		if is {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	refuse((c.TLSCert == "") != (c.TLSKey == ""), "--tls-cert and --tls-key go together")
	if err := server.CheckBasePath(c.BasePath); err != nil {
		refuse(true, "--base-path: %w", err)
	}
	refuse(c.RateLimit < 0, "--rate-limit: must not be negative")
	refuse(c.MaxInFlight < 1, "--max-in-flight: must be at least 1")
	refuse(c.MaxBacklogEvents < 0, "--max-backlog-events: must not be negative")
	refuse(c.MaxBacklogBytes < 0 || c.MaxBacklogBytes > 0 && c.MaxBacklogBytes < server.MaxPayload, "--max-backlog-bytes: must be at least %d, so that every event has room in an empty backlog", server.MaxPayload)
	if c.TracesEndpoint != "" {
		if err := service.CheckCollector(c.TracesEndpoint); err != nil {
			refuse(true, "--traces-endpoint: %w", err)
		}
	}
	refuse(!(c.TracesSample >= 0 && c.TracesSample <= 1), "--traces-sample: must be from 0 to 1")
	refuse(c.CallbackTraceparent && c.TracesEndpoint == "", "--callback-traceparent needs --traces-endpoint")
	for _, origin := range c.CORSOrigin {
		if err := server.CheckOrigin(origin); err != nil {
			refuse(true, "--cors-origin: %w", err)
		}
	}
	for _, origin := range c.ConsoleFrameAncestors {
		if err := server.CheckAncestor(origin); err != nil {
			refuse(true, "--console-frame-ancestors: %w", err)
		}
	}
	for _, t := range []struct {
		flag string
		d    time.Duration
	}{
		{"retry-horizon", c.RetryHorizon}, {"attempt-timeout", c.AttemptTimeout}, {"order-wait", c.OrderWait},
		{"retention", c.Retention},
	} {
		refuse(t.d <= 0, "--%s: must be longer than zero", t.flag)
	}
	refuse(slices.ContainsFunc(c.RetrySchedule, func(d time.Duration) bool { return d <= 0 }), "--retry-schedule: every gap must be longer than zero")
	return errors.Join(append(wrong, each(c.validate())...)...)
}

// Run serves until ctx ends, and reads its configuration anew at each SIGHUP.
func (c *serveCmd) Run(ctx context.Context, spec contract, std Streams, conf *configuration) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	level := new(slog.LevelVar)
	log := c.logger(std, level)
	// net/http's client logs only to package log.
	stdlog.SetFlags(0)
	stdlog.SetOutput(slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer())
	if err := noCore(); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	live, err := c.live()
	if err != nil {
		return err
	}
	way, err := c.egress()
	if err != nil {
		return err
	}
	level.Set(live.LogLevel)
	return service.Run(ctx, service.Config{
		Notify:  func(state string) { notify(log, state) },
		Version: version(), Commit: builtCommit(), Listen: c.Listen, OpsListen: c.OpsListen, Logger: log,
		Store: string(c.Store), Quota: store.Quota{Events: c.MaxBacklogEvents, Bytes: c.MaxBacklogBytes},
		Traces: service.Traces{Endpoint: c.TracesEndpoint, Sample: c.TracesSample, Callback: c.CallbackTraceparent},
		Live:   live, Reload: hangups, Load: func() (service.Live, error) { return c.reload(conf, log) }, Level: level,
		OnReady:         func() { warn(log, c.patient(live, conf), time.Now()) },
		MakePlatformKey: func() (string, error) { return makePlatformKey(std, c.keyFile()) },
		Server:          server.Config{Spec: spec, BasePath: c.BasePath, RateLimit: c.RateLimit, CORSOrigins: c.CORSOrigin, ConsoleAncestors: c.ConsoleFrameAncestors, CallbackSources: c.sources(&way)},
		Dispatcher: dispatcher.Config{
			RetrySchedule: c.RetrySchedule, RetryHorizon: c.RetryHorizon, AttemptTimeout: c.AttemptTimeout,
			OrderWait: c.OrderWait, MaxInFlight: c.MaxInFlight, Retention: c.Retention, UserAgent: "Recapito/" + version(),
		},
		Egress: way,
	})
}

func (c *logFlags) logger(std Streams, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(std.Err, opts))
	}
	return slog.New(slog.NewTextHandler(std.Err, opts))
}
