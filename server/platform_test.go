package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
)

// TestPlatformActsForAnAccount: with its key and the account's id it gets the
// answers of the account, from each of its operations.
func TestPlatformActsForAnAccount(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	s.accept(t, event("evt_x", id))
	for _, o := range loadContract(t).operations(t) {
		if _, account := (*o.op.Security)[0]["AccountKey"]; !account || o.method != http.MethodGet {
			continue
		}
		t.Run(o.id, func(t *testing.T) {
			header := map[string]string{"X-Request-Id": "same", "X-Account-Id": id}
			got := s.do(call{method: o.method, path: o.path, platform: true, header: header})
			delete(header, "X-Account-Id")
			want := s.do(call{method: o.method, path: o.path, apiKey: key, header: header})
			if got.status != want.status || withoutCursor(t, got.body) != withoutCursor(t, want.body) {
				t.Errorf("for the account: got %d %s, want what the account gets: %d %s", got.status, got.body, want.status, want.body)
			}
		})
	}
}

// withoutCursor leaves out what differs from answer to answer.
func withoutCursor(t *testing.T, body string) string {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatal(err)
	}
	delete(members, "nextCursor")
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestWhatThePlatformChangesForAnAccountIsInTheLog: who, what and the request;
// no reading, and nothing that was refused.
func TestWhatThePlatformChangesForAnAccountIsInTheLog(t *testing.T) {
	s := start(t)
	id, key := s.account()
	for i, tt := range []struct {
		method, path, body string
		status             int
		operation          string // empty: not in the log
	}{
		{"POST", webhookPath, `{"callbackUrl":"` + goodURL + `?token=secret"}`, 201, "createWebhook"},
		{"POST", webhookPath, `{"callbackUrl":"` + goodURL + `"}`, 409, ""},
		{"GET", webhookPath, "", 200, ""},
		{"PUT", webhookPath, `{"callbackUrl":"` + goodURL + `"}`, 200, "replaceWebhook"},
		{"PUT", webhookPath, `{}`, 400, ""},
		{"POST", webhookPath + "/signing-secret", "", 200, "rotateSigningSecret"},
		{"DELETE", webhookPath, "", 204, "deleteWebhook"},
		{"DELETE", webhookPath, "", 404, ""},
	} {
		s.log.Reset()
		request := fmt.Sprint("req_", i)
		s.do(call{method: tt.method, path: tt.path, body: tt.body, platform: true, header: map[string]string{"X-Account-Id": id, "X-Request-Id": request}}).want(t, tt.status)
		line := s.log.String()
		if tt.operation == "" {
			if line != "" {
				t.Errorf("%s %s, %d: log: got %s, want nothing", tt.method, tt.path, tt.status, line)
			}
			continue
		}
		for _, want := range []string{"level=INFO", "account=" + id, "operation=" + tt.operation, "request_id=" + request, "outcome=done", "the platform"} {
			if !strings.Contains(line, want) {
				t.Errorf("%s %s: log: got %s, want one with %q", tt.method, tt.path, line, want)
			}
		}
		if strings.Contains(line, "secret\"") || strings.Contains(line, platformKey) {
			t.Errorf("%s %s: log: got %s, want no secret", tt.method, tt.path, line)
		}
	}
	s.log.Reset()
	s.do(call{method: "POST", path: webhookPath, apiKey: key, body: `{"callbackUrl":"` + goodURL + `"}`}).want(t, http.StatusCreated)
	if s.log.Len() > 0 {
		t.Errorf("the account itself: log: got %s, want nothing", s.log)
	}
	broken := start(t, func(c *server.Config) { c.Store = &lost{c.Store} })
	other, _ := broken.subscriber()
	broken.do(call{method: "DELETE", path: webhookPath, platform: true, header: map[string]string{"X-Account-Id": other}}).want(t, http.StatusInternalServerError)
	if !strings.Contains(broken.log.String(), "outcome=unknown") {
		t.Errorf("a change that failed inside: log: got %s, want one with an unknown outcome", broken.log)
	}
}

// TestPlatformActingForAnAccountHasALimitOfItsOwn: support takes nothing from the
// account, nor from the intake.
func TestPlatformActingForAnAccountHasALimitOfItsOwn(t *testing.T) {
	s := start(t, rateLimit(0.1)) // 1 at once
	id, key := s.account()
	acting := call{method: "GET", path: webhookPath + "/deliveries", platform: true, header: map[string]string{"X-Account-Id": id}}
	var got []int
	for _, c := range []call{acting, acting, {method: "GET", path: acting.path, apiKey: key}, {method: "POST", path: "/events", platform: true, body: batch(event("evt_1", id))}} {
		got = append(got, s.do(c).status)
	}
	if want := []int{200, 429, 200, 202}; !slices.Equal(got, want) {
		t.Errorf("twice for the account, once by it, once a batch: got %v, want %v", got, want)
	}
	if p := decode[gen.Problem](t, s.do(acting)); p.Code != gen.ProblemCodeRATELIMITED {
		t.Errorf("code: got %s, want RATE_LIMITED", p.Code)
	}
}
