package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

// errDown tells what no answer may.
var errDown = errors.New("dial tcp 10.0.0.7:5432: connection refused")

// down is a store that knows one key of one account and fails in all else.
type down struct{ err error }

func (d down) APIKeyByHash(_ context.Context, h store.KeyHash) (store.APIKey, error) {
	if h == store.HashKey("broken-lookup") {
		return store.APIKey{}, d.err
	}
	return store.APIKey{AccountID: "acc_1", ID: "key_1"}, nil
}
func (d down) Vitals(context.Context, string, time.Time) (store.Vitals, error) {
	return store.Vitals{}, d.err
}
func (d down) HealthChanges(context.Context, store.HealthChangeQuery) (store.HealthChangePage, error) {
	return store.HealthChangePage{}, d.err
}
func (d down) Minutes(context.Context, string, int64, int64) ([]store.MinuteTally, error) {
	return nil, d.err
}
func (d down) PutAccount(context.Context, string, time.Time) (store.Account, bool, error) {
	return store.Account{}, false, d.err
}
func (d down) Account(context.Context, string) (store.Account, error)         { return store.Account{}, d.err }
func (d down) Oldest(context.Context, string) (store.Backlog, error)          { return store.Backlog{}, d.err }
func (d down) DeleteAccount(context.Context, string) error                    { return d.err }
func (d down) AddAPIKey(context.Context, store.APIKey) error                  { return d.err }
func (d down) APIKeys(context.Context, string) ([]store.APIKey, error)        { return nil, d.err }
func (d down) RevokeAPIKey(context.Context, string, string) error             { return d.err }
func (d down) Webhook(context.Context, string) (store.Webhook, error)         { return store.Webhook{}, d.err }
func (d down) SuspendWebhook(context.Context, store.Webhook, time.Time) error { return d.err }
func (d down) DeleteWebhook(context.Context, string, time.Time) error         { return d.err }
func (d down) CreateWebhook(context.Context, store.Webhook) (store.Webhook, error) {
	return store.Webhook{}, d.err
}
func (d down) ReplaceCallbackURL(context.Context, string, string, time.Time) (store.Webhook, error) {
	return store.Webhook{}, d.err
}
func (d down) RotateSecret(context.Context, string, []byte, time.Time, time.Time) (store.Webhook, error) {
	return store.Webhook{}, d.err
}
func (d down) Accept(context.Context, []store.Event, time.Time) ([]store.Verdict, error) {
	return nil, d.err
}
func (d down) Attempts(context.Context, store.AttemptQuery) (store.AttemptPage, error) {
	return store.AttemptPage{}, d.err
}
func (d down) Events(context.Context, store.FeedQuery) (store.FeedPage, error) {
	return store.FeedPage{}, d.err
}
func (d down) Replay(context.Context, string, string, time.Time) error   { return d.err }
func (d down) StartReplayGroup(context.Context, store.ReplayGroup) error { return d.err }
func (d down) StopReplayGroup(context.Context, string, time.Time) error  { return d.err }
func (d down) ReplayGroup(context.Context, string) (store.ReplayGroup, error) {
	return store.ReplayGroup{}, d.err
}
func (d down) ReplayGroups(context.Context, int) ([]store.ReplayGroup, error) { return nil, d.err }
func (d down) StartReplay(context.Context, store.BulkReplay) error            { return d.err }
func (d down) StopReplay(context.Context, string, string, time.Time) error    { return d.err }
func (d down) BulkReplay(context.Context, string, string) (store.BulkReplay, error) {
	return store.BulkReplay{}, d.err
}
func (d down) BulkReplays(context.Context, string, int) ([]store.BulkReplay, error) {
	return nil, d.err
}
func (d down) Accounts(context.Context, store.AccountQuery) (store.AccountPage, error) {
	return store.AccountPage{}, d.err
}
func (d down) Deliveries(context.Context, store.DeliveryQuery) (store.DeliveryPage, error) {
	return store.DeliveryPage{}, d.err
}
func (d down) Delivery(context.Context, string, string) (store.Delivery, []store.Attempt, error) {
	return store.Delivery{}, nil, d.err
}

// validBody makes a request that only the store can fail.
func validBody(id string) string {
	switch id {
	case "createWebhook", "replaceWebhook", "createOperationsWebhook", "replaceOperationsWebhook":
		return `{"callbackUrl":"https://user-secret.example/?token=canary"}`
	case "startReplay":
		return `{"messageId":"canary"}`
	case "startAccountReplay":
		return `{"filters":{"messageId":"canary"}}`
	case "sendEvents":
		return batch(event("evt_1", "acc_1"))
	}
	return ""
}

func TestStoreFailures(t *testing.T) {
	const key = "canary-api-key"
	s := start(t, func(c *server.Config) { c.Store = down{errDown} })
	for _, o := range loadContract(t).operations(t) {
		if o.id == "getCallbackSources" || o.id == "getStatus" {
			continue // they ask the store nothing
		}
		t.Run(o.id, func(t *testing.T) {
			s.log.Reset()
			want, query := http.StatusInternalServerError, ""
			switch o.id {
			case "listDeliveries":
				query = "?messageId=canary"
			case "getWebhook", "deleteWebhook":
				query = "?canary=1" // ignored
			}
			if o.id == "sendEvents" {
				want = http.StatusServiceUnavailable
			}
			got := s.do(call{method: o.method, path: o.path + query, apiKey: key, platform: true, body: validBody(o.id),
				header: map[string]string{"X-Request-Id": "request-of-" + o.id}}).want(t, want)
			if o.id == "sendEvents" {
				if got.header.Get("Retry-After") != "1" {
					t.Errorf("Retry-After: got %q, want 1", got.header.Get("Retry-After"))
				}
			} else if diff := cmp.Diff(bare500(got), decode[gen.Problem](t, got)); diff != "" {
				t.Errorf("problem (-want +got):\n%s", diff)
			}
			if strings.Contains(got.body, "10.0.0.7") {
				t.Errorf("body: got %s, want nothing of the inside", got.body)
			}
			line := s.log.String()
			for _, part := range []string{"request-of-" + o.id, o.id, "10.0.0.7"} {
				if strings.Count(line, "\n") != 1 || !strings.Contains(line, part) {
					t.Errorf("log: got %q, want one line with %q", line, part)
				}
			}
			if strings.Contains(line, "canary") || strings.Contains(line, platformKey) {
				t.Errorf("log: got %q, want no credential, query or body in it", line)
			}
		})
	}
}

// TestWhatIsNotWrittenInTimeIsToBeRepeated: each change may wait for others', and for the
// database. The contract of the four operations on the webhook has no 503.
func TestWhatIsNotWrittenInTimeIsToBeRepeated(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Store = down{fmt.Errorf("%w: %w", store.ErrUnavailable, errDown)} })
	for _, o := range loadContract(t).operations(t) {
		if o.method == http.MethodGet || o.id == "sendTestEvent" {
			continue // they change nothing
		}
		t.Run(o.id, func(t *testing.T) {
			c := call{method: o.method, path: o.path, apiKey: "k", platform: true, body: validBody(o.id)}
			if o.path == webhookPath {
				got := s.do(c).want(t, http.StatusInternalServerError)
				if diff := cmp.Diff(bare500(got), decode[gen.Problem](t, got)); diff != "" {
					t.Errorf("problem (-want +got):\n%s", diff)
				}
				return
			}
			got := s.do(c).want(t, http.StatusServiceUnavailable)
			if after := got.header.Get("Retry-After"); after != "1" {
				t.Errorf("Retry-After: got %q, want 1", after)
			}
			if p := decode[gen.Problem](t, got); p.Code != gen.ProblemCodeSTOREUNAVAILABLE || p.Detail == nil || strings.Contains(*p.Detail, "10.0.0.7") {
				t.Errorf("problem: got %s, want STORE_UNAVAILABLE with what to do, and nothing of the inside", got.body)
			}
		})
	}
}

// bare500 tells nothing but that, and which request it was.
func bare500(a answer) gen.Problem {
	id := a.header.Get("X-Request-Id")
	return gen.Problem{Type: "about:blank", Title: "Internal Server Error", Status: 500, Code: gen.ProblemCodeINTERNALERROR, RequestID: &id}
}

func TestKeyLookupFails(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Store = down{errDown} })
	s.do(call{method: "GET", path: webhookPath, apiKey: "broken-lookup"}).want(t, http.StatusInternalServerError)
}

// TestEventsAreRefusedWhileTheStoreIsDown: any error but the callers' own is
// 503, also one that would be 404 elsewhere.
func TestEventsAreRefusedWhileTheStoreIsDown(t *testing.T) {
	for _, err := range []error{errDown, store.ErrClosed, store.ErrNotFound, store.ErrConflict, context.DeadlineExceeded} {
		t.Run(err.Error(), func(t *testing.T) {
			s := start(t, func(c *server.Config) { c.Store = down{err} })
			s.do(call{method: "POST", path: "/events", platform: true, body: batch(event("evt_1", "acc_1"))}).want(t, http.StatusServiceUnavailable)
		})
	}
}

// TestErasedMeanwhile: the account was erased after its key was looked up, so
// the key is not valid any more.
func TestErasedMeanwhile(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Store = down{store.ErrNotFound} })
	s.do(call{method: "POST", path: webhookPath, apiKey: "k", body: validBody("createWebhook")}).want(t, http.StatusUnauthorized)
}

// TestAccountIsErasedYet: an account is not made while an earlier one of its id is
// being erased.
func TestAccountIsErasedYet(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Store = down{store.ErrErasing} })
	got := s.do(call{method: "PUT", path: "/accounts/acc_1", platform: true}).want(t, http.StatusServiceUnavailable)
	if after := got.header.Get("Retry-After"); after != "1" {
		t.Errorf("Retry-After: got %q, want 1", after)
	}
}

// TestUnavailabilityIsToldOnceAMinute, of each operation, and is no error of the
// program.
func TestUnavailabilityIsToldOnceAMinute(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Store = down{store.ErrErasing} })
	for minute := range 2 {
		s.setNow(epoch.Add(time.Duration(minute) * time.Minute))
		for range 5 {
			s.do(call{method: "PUT", path: "/accounts/acc_1", platform: true}).want(t, http.StatusServiceUnavailable)
			s.do(call{method: "POST", path: "/events", platform: true, body: batch(event("evt_1", "acc_1"))}).want(t, http.StatusServiceUnavailable)
		}
		for _, operation := range []string{"putAccount", "sendEvents"} {
			if got := strings.Count(s.log.String(), "level=WARN msg=\"request failed\""); got != 2 || strings.Count(s.log.String(), "operation="+operation) != 1 {
				t.Errorf("minute %d: log:\n%s\nwant one line at WARN for %s", minute, s.log, operation)
			}
		}
		s.log.Reset()
	}
}

// lost is a store of which nobody knows whether it deleted a webhook.
type lost struct{ server.Store }

func (*lost) DeleteWebhook(context.Context, string, time.Time) error { return errDown }
