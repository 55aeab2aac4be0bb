package server_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

// TestEveryCode: each code of the document is met, where the document says.
func TestEveryCode(t *testing.T) {
	s := start(t, func(c *server.Config) { c.RateLimit = 100 })
	id, key := s.subscriber()
	_, bare := s.account()
	_, hasty := s.account()
	for range 1000 {
		if s.do(call{method: "GET", path: webhookPath + "/deliveries", apiKey: hasty}).status == http.StatusTooManyRequests {
			break
		}
	}
	id2, rotated := s.subscriber()
	for range store.MaxOldSecrets {
		if _, err := s.store.RotateSecret(t.Context(), id2, store.NewSecret(), epoch.Add(time.Hour), epoch); err != nil {
			t.Fatal(err)
		}
	}
	erasing := start(t, func(c *server.Config) { c.Store = down{store.ErrErasing} })
	broken := start(t, func(c *server.Config) { c.Store = down{errDown} })
	damaged := start(t, func(c *server.Config) { c.Store = down{store.ErrDamaged} })
	left, without := s.subscriber()
	s.do(call{method: "POST", path: webhookPath + "/replays", apiKey: key, body: "{}"}).want(t, http.StatusAccepted)
	s.accept(t, event("evt_1", id), event("evt_old", left))
	s.do(call{method: "DELETE", path: webhookPath, apiKey: without}).want(t, http.StatusNoContent)
	crowded := start(t, func(c *server.Config) { c.MaxWaiting = -1 })
	_, reader := crowded.account()
	gone, suspended := s.account()
	s.enter(t, gone, "suspended")
	digest := fmt.Sprintf(`{"sha256":"%064d"}`, 7)
	s.do(call{method: "POST", path: "/accounts/" + id + "/api-keys", platform: true, body: digest}).want(t, http.StatusCreated)
	url := `{"callbackUrl":"` + goodURL + `"}`
	large := strings.Repeat(" ", 1<<20+1)
	got := map[string]bool{}
	for _, tt := range []struct {
		s      *service
		call   call
		status int
		code   string
	}{
		{s, call{method: "GET", path: webhookPath + "/deliveries?limit=0", apiKey: key}, 400, "PARAMETER_INVALID"},
		{s, call{method: "PUT", path: "/accounts/a%20b", platform: true}, 400, "PARAMETER_INVALID"},
		{s, call{method: "PUT", path: webhookPath, apiKey: key}, 400, "BODY_MISSING"},
		{s, call{method: "PUT", path: webhookPath, apiKey: key, body: "{"}, 400, "BODY_INVALID"},
		{s, call{method: "PUT", path: webhookPath, apiKey: key, body: large}, 400, "BODY_TOO_LARGE"},
		{s, call{method: "POST", path: "/events", platform: true, body: large}, 413, "BODY_TOO_LARGE"},
		{s, call{method: "PUT", path: webhookPath, apiKey: key, body: url, header: map[string]string{"Content-Type": "text/plain"}}, 400, "MEDIA_TYPE_UNSUPPORTED"},
		{s, call{method: "POST", path: "/events", platform: true, body: url, header: map[string]string{"Content-Encoding": "gzip"}}, 415, "MEDIA_TYPE_UNSUPPORTED"},
		{s, call{method: "GET", path: webhookPath}, 401, "API_KEY_REQUIRED"},
		{s, call{method: "GET", path: "/accounts/a"}, 401, "PLATFORM_KEY_REQUIRED"},
		{s, call{method: "GET", path: "/nowhere"}, 404, "PATH_UNKNOWN"},
		{s, call{method: "PATCH", path: webhookPath}, 405, "METHOD_NOT_ALLOWED"},
		{s, call{method: "GET", path: webhookPath, apiKey: bare}, 404, "WEBHOOK_NOT_FOUND"},
		{s, call{method: "GET", path: webhookPath + "/deliveries/e", apiKey: key}, 404, "DELIVERY_NOT_FOUND"},
		{s, call{method: "GET", path: "/accounts/nobody", platform: true}, 404, "ACCOUNT_NOT_FOUND"},
		{s, call{method: "DELETE", path: "/accounts/" + id + "/api-keys/key_1", platform: true}, 404, "API_KEY_NOT_FOUND"},
		{s, call{method: "POST", path: webhookPath, apiKey: key, body: url}, 409, "WEBHOOK_EXISTS"},
		{s, call{method: "POST", path: "/accounts/" + id + "/api-keys", platform: true, body: digest}, 409, "API_KEY_EXISTS"},
		{s, call{method: "POST", path: webhookPath + "/deliveries/evt_1/replay", apiKey: key}, 409, "DELIVERY_PENDING"},
		{s, call{method: "POST", path: webhookPath + "/deliveries/evt_old/replay", apiKey: without}, 409, "WEBHOOK_MISSING"},
		{s, call{method: "POST", path: webhookPath + "/replays", apiKey: key, body: "{}"}, 409, "REPLAY_RUNNING"},
		{s, call{method: "GET", path: webhookPath + "/replays/rpl_01234567890123456789abcdef", apiKey: key}, 404, "REPLAY_NOT_FOUND"},
		{damaged, call{method: "POST", path: webhookPath + "/deliveries/evt_1/replay", apiKey: key}, 409, "PAYLOAD_DAMAGED"},
		{s, call{method: "POST", path: webhookPath + "/probe", apiKey: key}, 409, "NOT_PROBING"},
		{s, call{method: "POST", path: webhookPath + "/probe", apiKey: suspended}, 409, "WEBHOOK_SUSPENDED"},
		{s, call{method: "GET", path: webhookPath + "/deliveries", apiKey: hasty}, 429, "RATE_LIMITED"},
		{s, call{method: "POST", path: webhookPath + "/signing-secret", apiKey: rotated}, 429, "TOO_MANY_SECRETS"},
		{crowded, call{method: "GET", path: webhookPath + "/events?wait=1", apiKey: reader}, 429, "TOO_MANY_WAITING"},
		{broken, call{method: "GET", path: webhookPath, apiKey: "k"}, 500, "INTERNAL_ERROR"},
		{broken, call{method: "POST", path: "/events", platform: true, body: batch(event("e", "a"))}, 503, "STORE_UNAVAILABLE"},
		{erasing, call{method: "PUT", path: "/accounts/" + id, platform: true}, 503, "STORE_UNAVAILABLE"},
	} {
		got[tt.code] = true
		if p := decode[gen.Problem](t, tt.s.do(tt.call).want(t, tt.status)); string(p.Code) != tt.code {
			t.Errorf("%s %s: got code %s, want %s", tt.call.method, tt.call.path, p.Code, tt.code)
		}
	}
	s.cutShort(t, key)
	got["BODY_UNREADABLE"] = true
	var want []string
	for _, code := range loadContract(t).doc.Components.Schemas["ProblemCode"].Value.Enum {
		want = append(want, code.(string))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("codes met (-document +got):\n%s", diff)
	}
}

// cutShort sends a chunked body that is badly framed.
func (s *service) cutShort(t *testing.T, key string) {
	t.Helper()
	got := s.raw(t, "PUT "+webhookPath+" HTTP/1.1\r\nHost: x\r\nX-API-Key: "+key+"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
	if p := decode[gen.Problem](t, got.want(t, http.StatusBadRequest)); p.Code != gen.ProblemCodeBODYUNREADABLE {
		t.Errorf("a body that is badly framed: got %s, want BODY_UNREADABLE", p.Code)
	}
}
