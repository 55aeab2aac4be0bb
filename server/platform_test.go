package server_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
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

// TestThePlatformsKeyIsChangedWithoutAGap: while there are two each is as good, and
// a change is seen by the next request.
func TestThePlatformsKeyIsChangedWithoutAGap(t *testing.T) {
	present := keys("old-platform-key")
	s := start(t, func(cfg *server.Config) {
		cfg.PlatformKeys = func() []store.KeyHash { return present() }
	})
	get := func(key string) int {
		return s.do(call{method: http.MethodGet, path: "/accounts", header: map[string]string{"Authorization": "Bearer " + key}}).status
	}
	for _, tt := range []struct {
		keys     []string
		old, new int
	}{
		{[]string{"old-platform-key"}, 200, 401},
		{[]string{"new-platform-key", "old-platform-key"}, 200, 200},
		{[]string{"new-platform-key"}, 401, 200},
	} {
		present = keys(tt.keys...)
		if got := get("old-platform-key"); got != tt.old {
			t.Errorf("keys %q: the old one gets %d, want %d", tt.keys, got, tt.old)
		}
		if got := get("new-platform-key"); got != tt.new {
			t.Errorf("keys %q: the new one gets %d, want %d", tt.keys, got, tt.new)
		}
	}
}
