package server_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/recapito/recapito/server"
)

func basePath(base string) func(*server.Config) {
	return func(c *server.Config) { c.BasePath = base }
}

func rateLimit(perSecond float64) func(*server.Config) {
	return func(c *server.Config) { c.RateLimit = perSecond }
}

// TestRateLimit follows one account's bucket: ten seconds' worth at once, then
// as many as come in.
func TestRateLimit(t *testing.T) {
	s := start(t, rateLimit(0.3)) // 3 at once
	_, key := s.account()
	list := call{method: "GET", path: webhookPath + "/deliveries", apiKey: key}
	for _, step := range []struct {
		after             time.Duration
		status            int
		limit, retryAfter string
	}{
		{0, 200, `"account";r=2;t=4`, ""},
		{0, 200, `"account";r=1;t=7`, ""},
		{0, 200, `"account";r=0;t=10`, ""},
		{0, 429, `"account";r=0;t=10`, "4"},
		{time.Second, 429, `"account";r=0;t=9`, "3"},
		{3 * time.Second, 200, `"account";r=0;t=10`, ""},
		{time.Hour, 200, `"account";r=2;t=4`, ""},
	} {
		s.setNow(s.now.Load().Add(step.after))
		got := s.do(list).want(t, step.status)
		for name, want := range map[string]string{
			"RateLimit-Policy": `"account";q=3;w=10`, "RateLimit": step.limit, "Retry-After": step.retryAfter,
		} {
			if got.header.Get(name) != want {
				t.Errorf("%s of the %d: got %q, want %q", name, got.status, got.header.Get(name), want)
			}
		}
	}
}

// TestRateLimitIsForOperationsThatDocumentIt: no other operation ever answers
// 429, or tells of a limit.
func TestRateLimitIsForOperationsThatDocumentIt(t *testing.T) {
	s := start(t, rateLimit(0.1)) // 1 at once
	_, key := s.account()
	limited := map[string]string{"listDeliveries": "account", "getDelivery": "account", "replayDelivery": "account", "startReplay": "account", "listReplays": "account", "getReplay": "account", "stopReplay": "account", "listAttempts": "account", "getHealth": "account", "listHealthChanges": "account", "listHealthMinutes": "account", "readEvents": "account", "rotateSigningSecret": "account", "sendTestEvent": "account", "probeEndpoint": "account", "sendEvents": "platform", "rotateOperationsSecret": "platform"}
	for _, o := range loadContract(t).operations(t) {
		t.Run(o.id, func(t *testing.T) {
			who := limited[o.id]
			if documented := o.op.Responses.Status(http.StatusTooManyRequests) != nil; documented != (who != "") {
				t.Fatalf("429 documented: %t, want %t", documented, who != "")
			}
			s.setNow(s.now.Load().Add(time.Hour))
			c := call{method: o.method, path: o.path, apiKey: key, platform: true, body: validBody(o.id)}
			first, second := s.do(c), s.do(c)
			if first.status == http.StatusTooManyRequests {
				t.Errorf("the first request: got 429, want none")
			}
			if got, want := second.status == http.StatusTooManyRequests, who != ""; got != want {
				t.Errorf("the second request: got %d, want 429: %t", second.status, want)
			}
			want := ""
			if who != "" {
				want = fmt.Sprintf(`"%s";q=1;w=10`, who)
			}
			if got := first.header.Get("RateLimit-Policy"); got != want {
				t.Errorf("RateLimit-Policy: got %q, want %q", got, want)
			}
		})
	}
}

func TestRateLimitIsPerAccount(t *testing.T) {
	s := start(t, rateLimit(0.1))
	_, one := s.account()
	_, other := s.account()
	list := func(key string) call { return call{method: "GET", path: webhookPath + "/deliveries", apiKey: key} }
	s.do(list(one)).want(t, http.StatusOK)
	s.do(list(one)).want(t, http.StatusTooManyRequests)
	s.do(list(other)).want(t, http.StatusOK)
	s.do(call{method: "GET", path: webhookPath + "/deliveries"}).want(t, http.StatusUnauthorized) // who is nobody is not counted
	s.do(call{method: "POST", path: "/events", platform: true, body: batch(event("evt_1", "acc_1"))}).want(t, http.StatusAccepted)
}

func TestNoRateLimitByDefault(t *testing.T) {
	s := start(t)
	_, key := s.account()
	for range 50 {
		got := s.do(call{method: "GET", path: webhookPath + "/deliveries", apiKey: key}).want(t, http.StatusOK)
		if got.header.Get("RateLimit-Policy") != "" || got.header.Get("RateLimit") != "" {
			t.Fatalf("header: got %v, want nothing of a limit", got.header)
		}
	}
}
