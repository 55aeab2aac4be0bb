package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/labstack/echo/v4"
)

// Change is what an operation has changed. The operator is told of each once: by a
// line at INFO, whose text is these words, and by [Config.OnChange].
type Change string

const (
	AccountCreated    Change = "ACCOUNT_CREATED"
	AccountErased     Change = "ACCOUNT_ERASED"
	APIKeyCreated     Change = "API_KEY_CREATED"
	APIKeyRevoked     Change = "API_KEY_REVOKED"
	WebhookRegistered Change = "WEBHOOK_REGISTERED"
	WebhookReplaced   Change = "WEBHOOK_REPLACED" // a PUT, of the same URL as well
	WebhookRemoved    Change = "WEBHOOK_REMOVED"
	SecretRotated     Change = "SECRET_ROTATED"
	ConsoleLinkMade   Change = "CONSOLE_LINK_MADE"
	ReplayBegun       Change = "REPLAY_BEGUN" // in bulk, of one account or of several
	ReplayStopped     Change = "REPLAY_STOPPED"
)

// Changes are all of them, by the operation that makes it.
var Changes = map[string]Change{
	"putAccount":               AccountCreated,
	"deleteAccount":            AccountErased,
	"createApiKey":             APIKeyCreated,
	"deleteApiKey":             APIKeyRevoked,
	"createConsoleLink":        ConsoleLinkMade,
	"createWebhook":            WebhookRegistered,
	"replaceWebhook":           WebhookReplaced,
	"deleteWebhook":            WebhookRemoved,
	"rotateSigningSecret":      SecretRotated,
	"createOperationsWebhook":  WebhookRegistered, // of the platform itself, as the next three
	"replaceOperationsWebhook": WebhookReplaced,
	"deleteOperationsWebhook":  WebhookRemoved,
	"rotateOperationsSecret":   SecretRotated,
	"startReplay":              ReplayBegun,
	"stopReplay":               ReplayStopped,
	"startAccountReplay":       ReplayBegun,
	"stopAccountReplay":        ReplayStopped,
}

// words are the text of a line in the log.
func (c Change) words() string { return strings.ToLower(strings.ReplaceAll(string(c), "_", " ")) }

// trail is what an operation says of what it changes.
type trail struct {
	unchanged bool
	attrs     []slog.Attr
}

type trailContext struct{}

// unchanged notes that everything was so before.
func unchanged(ctx context.Context) {
	if t, ok := ctx.Value(trailContext{}).(*trail); ok {
		t.unchanged = true
	}
}

// note adds to the line of the change. It must be no secret, and of a callback URL the
// host alone.
func note(ctx context.Context, name, value string) {
	if t, ok := ctx.Value(trailContext{}).(*trail); ok {
		t.attrs = append(t.attrs, slog.String(name, value))
	}
}

// noteHost notes where callbacks go, without path and query.
func noteHost(ctx context.Context, callbackURL string) {
	if u, err := url.Parse(callbackURL); err == nil {
		note(ctx, "host", u.Host)
	}
}

// audit tells of what has been changed, and of all else that the platform has done for
// an account. After an error inside, which has a line anyway, that line tells it: the
// change may have happened.
func (s *server) audit(o *operation) []echo.MiddlewareFunc {
	change, changes := Changes[o.id]
	if o.route.Method == http.MethodGet || o.id == "sendEvents" {
		return nil
	}
	text := change.words()
	if !changes {
		text = "done for an account"
	}
	return []echo.MiddlewareFunc{func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if !changes && !byPlatform(c.Request().Context()) {
				return next(c)
			}
			t := newTrail(c)
			ctx := context.WithValue(c.Request().Context(), trailContext{}, t)
			c.SetRequest(c.Request().WithContext(ctx))
			err := next(c)
			if err != nil || t.unchanged {
				return err
			}
			if changes {
				s.OnChange(change)
			}
			s.Logger.LogAttrs(ctx, slog.LevelInfo, text, append(t.attrs,
				slog.String("operation", o.id), slog.String("request_id", c.Response().Header().Get(requestIDHeader)))...)
			return nil
		}
	}}
}

// newTrail begins with who makes the request, and for whom.
func newTrail(c echo.Context) *trail {
	by, account := "account", accountOf(c.Request().Context())
	if account == "" || byPlatform(c.Request().Context()) {
		by = "platform"
	}
	if account == "" {
		account = c.Param("accountId")
	}
	t := &trail{attrs: []slog.Attr{slog.String("by", by)}}
	if account != "" {
		t.attrs = append(t.attrs, slog.String("account", account))
	}
	if reason := reasonOf(c.Request().Header.Get(reasonHeader)); by == "platform" && reason != "" {
		t.attrs = append(t.attrs, slog.String("reason", reason))
	}
	return t
}

// reasonHeader is where the platform may say why it changes something.
const (
	reasonHeader = "X-Reason"
	reasonLength = 256
)

// reasonOf is what the log can show of a reason.
func reasonOf(header string) string {
	text, err := url.PathUnescape(header)
	if err != nil {
		text = header
	}
	shown := []rune(strings.ToValidUTF8(text, "\uFFFD"))
	for i, r := range shown {
		if !unicode.IsPrint(r) {
			shown[i] = '\uFFFD'
		}
	}
	return string(shown[:min(len(shown), reasonLength)])
}
