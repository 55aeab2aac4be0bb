// Package server implements openapi.yaml: it authenticates, validates, hands over
// to the store and turns errors into problems. It also serves the document, as
// it is and as a page, and the console. It promises:
//
//   - A request is authenticated before a byte of its body is read.
//   - An operation gets only requests that the document describes.
//   - Every error on every path is an RFC 9457 problem.
//   - A problem reveals nothing internal.
//
// [New] refuses a document in which any of this would be lost.
//
// It leaves out sockets, TLS, timeouts and header limits (the http.Server's),
// limits on callers that have no key, and what the callback URL's host resolves to.
package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

// Store is the part of the store that the operations use.
type Store interface {
	store.Accounts
	store.APIKeys
	store.Webhooks
	store.Intake
	store.History
	store.HealthRecords
	store.Feed
	// Oldest is [store.Queue]'s: the delivery that a probe goes with.
	Oldest(ctx context.Context, accountID string) (store.Backlog, error)
	store.Replays
}

// Engine knows of deliveries and endpoints what their rows do not tell: whether an
// attempt is under way, and whether the breaker is open. It is the dispatcher's part that the
// operations use.
type Engine interface {
	// Waits says what each of an account's PENDING deliveries waits for. Nil: the
	// account has no webhook.
	Waits(accountID string, w *store.Webhook, pending []store.Delivery, now time.Time) []store.Wait
	// Probe has the account's open breaker probe now, and says what becomes of that.
	Probe(accountID string, now time.Time) store.Probing
	// Pace says how the account's endpoint does, and when it is attempted next. next is
	// the earliest DueAt to come of what is PENDING; zero: there is none.
	Pace(w *store.Webhook, next, now time.Time) store.Pace
	// Test POSTs one event to the webhook's URL now, outside of everything else, and
	// says how that ended, and what TLS told; nil: nothing.
	Test(ctx context.Context, w *store.Webhook, eventID string, body []byte) (store.Attempt, *tls.ConnectionState)
}

// Config configures a server. Fields without a default are required.
type Config struct {
	Store Store
	// Engine attempts the deliveries. Default: nobody does, and the rows tell all.
	Engine Engine
	// Spec is the text of openapi.yaml.
	Spec []byte
	// Translations are the same document in other languages, by the tag that
	// asks for it: "it" is served at /docs?lang=it. Default: none.
	Translations map[string][]byte
	// PlatformKeys returns the digests of the platform keys, of which each is as
	// good. Every request of the platform asks for them.
	PlatformKeys func() []store.KeyHash
	// BasePath goes before every path, such as "/api/partner-gateway/v1".
	// Default: none.
	BasePath string
	// RateLimit is how many requests per second each account may make to the
	// operations that document 429, and the platform to those of its own that
	// do. Ten seconds' worth may come at once. Default: no limit.
	RateLimit float64
	// CORSOrigins are the origins whose pages may call, such as
	// "https://console.example.com", or "*" for any. Default: none.
	CORSOrigins []string
	// CursorKey encrypts cursors: [CursorKeySize] bytes that no account knows.
	// Default: new ones, and cursors end with the process.
	CursorKey []byte
	// CheckURL returns why a callback URL is refused, in words for the account.
	CheckURL func(raw string) error
	// CallbackSources are where callbacks come from, as the operator states it.
	// Default: the operator states nothing.
	CallbackSources []netip.Prefix
	// Stop ends every wait for events when it is closed. Default: nothing does.
	Stop <-chan struct{}
	// MaxWaiting is how many requests may wait for events, of all accounts; each
	// holds a connection. Default: 256. Negative: none.
	MaxWaiting int
	// FeedGap is how often a request that waits for events looks for those that
	// another process has accepted. Default: never, as there is no other.
	FeedGap time.Duration
	// ConsoleAncestors are the origins whose pages may show the console in a frame,
	// such as "https://platform.example.com". Default: none.
	ConsoleAncestors []string
	// Status says how the process does. It must not block. Default: it says nothing
	// but the time.
	Status func(ctx context.Context, now time.Time) gen.ServiceStatus
	// OnWaiting is told how many wait, when that changes; it must not block.
	// Default: nobody is told.
	OnWaiting func(requests int)
	// Logger gets one line for every request that failed inside, and one for every
	// change. Default: slog.Default().
	Logger *slog.Logger
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// OnChange is told of every change, once. Default: nobody is told.
	OnChange func(Change)
	// Follow follows each batch of events. Default: nobody does.
	Follow Follow
	// OnEvents is told what became of each batch. Default: nobody is told.
	OnEvents func(gen.EventsResult)
	// OnRequest is told of every answer. The operationID is empty if the
	// request met no operation. Default: nobody is told.
	OnRequest func(operationID string, status int, duration time.Duration)
	// OnKey is told the context of every request that carries a valid key, before
	// its body is read. Default: nobody is told.
	OnKey func(context.Context)
}

// server is the strict server that gen describes. Its operations are in one
// file per tag.
type server struct {
	Config
	limiter  *limiter // nil: no limit
	cursors  cursors
	listings *turns
	outages  outages
	waiting  *waiting
	samples  samples
	tests    *tests
	probes   *limiter
	quotas   quotas
}

var _ gen.StrictServerInterface = (*server)(nil)

// New returns the handler of every operation, of the docs and of the console. It fails if the configuration is
// incomplete, if the document is invalid, or if an operation would be left
// without authentication or validation.
func New(cfg Config) (http.Handler, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	doc, err := document(cfg.Spec)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s := &server{Config: cfg, listings: newTurns(), waiting: newWaiting(cfg.MaxWaiting, cfg.OnWaiting), tests: newTests(), probes: perMinute(probesPerMinute), quotas: quotas{log: cfg.Logger, over: map[string]*overQuota{}}}
	if s.samples, err = newSamples(doc); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if s.cursors, err = newCursors(cfg.CursorKey); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if cfg.RateLimit > 0 {
		s.limiter = newLimiter(cfg.RateLimit)
	}
	checks, documented, err := s.operationChecks(doc)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	e := echo.New()
	e.Binder = binder{}
	e.HTTPErrorHandler = s.fail
	e.Use(before(wholeSegments))
	routes := &checkedRouter{echo: e}
	gen.RegisterHandlersWithOptions(routes, gen.NewStrictHandler(s, nil), gen.RegisterHandlersOptions{
		BaseURL: cfg.BasePath, OperationMiddlewares: checks,
	})
	if err := routes.complete(documented); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if err := s.routeDocs(e); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if err := s.routeConsole(e); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return &edge{next: e, Config: cfg}, nil
}

// complete fills in the defaults and returns what is missing.
func (c *Config) complete() error {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Engine == nil {
		c.Engine = noEngine{}
	}
	if c.Status == nil {
		c.Status = func(_ context.Context, now time.Time) gen.ServiceStatus {
			return gen.ServiceStatus{At: showTime(now), Attempting: true}
		}
	}
	if c.OnWaiting == nil {
		c.OnWaiting = func(int) {}
	}
	if c.MaxWaiting == 0 {
		c.MaxWaiting = maxWaiting
	}
	if c.OnChange == nil {
		c.OnChange = func(Change) {}
	}
	if c.OnEvents == nil {
		c.OnEvents = func(gen.EventsResult) {}
	}
	if c.OnRequest == nil {
		c.OnRequest = func(string, int, time.Duration) {}
	}
	if c.OnKey == nil {
		c.OnKey = func(context.Context) {}
	}
	if len(c.CursorKey) == 0 {
		c.CursorKey = make([]byte, CursorKeySize)
		_, _ = rand.Read(c.CursorKey) // never fails
	}
	switch {
	case c.Store == nil:
		return errors.New("no store")
	case c.CheckURL == nil:
		return errors.New("no check of callback URLs")
	case c.PlatformKeys == nil || len(c.PlatformKeys()) == 0:
		return errors.New("no platform key")
	case !(c.RateLimit >= 0 && c.RateLimit <= maxRate):
		return fmt.Errorf("rate limit %v: want 0 to %d requests per second", c.RateLimit, maxRate)
	}
	for _, origin := range c.CORSOrigins {
		if err := CheckOrigin(origin); err != nil {
			return err
		}
	}
	for _, origin := range c.ConsoleAncestors {
		if err := CheckAncestor(origin); err != nil {
			return err
		}
	}
	return CheckBasePath(c.BasePath)
}

// CheckBasePath returns why a base path is refused: characters are special to the
// router, for one.
func CheckBasePath(p string) error {
	if p == "" {
		return nil
	}
	if !strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/") || strings.Contains(p, "//") || strings.ContainsAny(p, ":*%?# ") {
		return fmt.Errorf("base path %q: want /one/or/more/segments of plain characters", p)
	}
	return nil
}
