package command

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/recapito/recapito/command/service"
	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/server"
)

type serveCmd struct {
	Listen    string `default:":8080" placeholder:"ADDR" help:"Address of the API. Default: ${default}."`
	TLSCert   string `type:"existingfile" placeholder:"FILE" help:"Certificate chain (PEM). Without it the API is plain HTTP."`
	TLSKey    string `type:"existingfile" placeholder:"FILE" help:"Private key (PEM) of --tls-cert."`
	OpsListen string `default:"127.0.0.1:9090" placeholder:"ADDR" help:"Address of /metrics, /livez, /readyz and /debug/pprof; keep it private. Default: ${default}."`
	BasePath  string `placeholder:"PATH" help:"Prefix of every path of the API, for example /api/partner-gateway/v1."`

	RateLimit  float64  `placeholder:"N" help:"Requests per second of each account to its deliveries, attempts and events and to the rotation of its secret, and of the platform to /events. Ten seconds' worth may come at once; further requests get 429. The four operations of the webhook are never limited. Default: none."`
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

// Run serves until ctx ends.
func (c *serveCmd) Run(ctx context.Context, spec contract, std Streams) error {
	log := c.logger(std)
	// net/http's client logs only to package log.
	stdlog.SetFlags(0)
	stdlog.SetOutput(slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer())
	tlsConfig, err := c.tls()
	if err != nil {
		return err
	}
	roots, err := loadRoots(c.CallbackCA)
	if err != nil {
		return err
	}
	return service.Run(ctx, service.Config{
		Version: version(), Listen: c.Listen, TLS: tlsConfig, OpsListen: c.OpsListen, Logger: log,
		Store: string(c.Store), SecretKey: c.SecretKey, PlatformKey: c.PlatformKey,
		ShowKey: func(key string) error {
			_, err := fmt.Fprintf(std.Err, "\nA platform key was made. It is shown only now; keep it:\n\n    %s\n\n", key)
			return err
		},
		Server: server.Config{Spec: spec, BasePath: c.BasePath, RateLimit: c.RateLimit, CORSOrigins: c.CORSOrigin},
		Dispatcher: dispatcher.Config{
			RetrySchedule: c.RetrySchedule, RetryHorizon: c.RetryHorizon, AttemptTimeout: c.AttemptTimeout,
			OrderWait: c.OrderWait, MaxInFlight: c.MaxInFlight, Retention: c.Retention, UserAgent: "Recapito/" + version(),
		},
		Egress: egress.Config{Allow: c.AllowNetwork, Deny: c.DenyNetwork, Ports: c.CallbackPort, RootCAs: roots, ConnectionLife: c.CallbackConnectionLife},
	})
}

func (c *serveCmd) logger(std Streams) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(std.Err, opts))
	}
	return slog.New(slog.NewTextHandler(std.Err, opts))
}

// tls is nil without a certificate.
func (c *serveCmd) tls() (*tls.Config, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
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
