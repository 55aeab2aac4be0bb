package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/recapito/recapito/gen"
)

// TestConsoleLinkSignsInForMinutes: the key of a link is good for its account until it
// expires, or is revoked, and is listed as long.
func TestConsoleLinkSignsInForMinutes(t *testing.T) {
	s := start(t)
	id, _ := s.subscriber()
	path := "/accounts/" + id
	link := func(body string) (gen.ConsoleLink, string) {
		t.Helper()
		l := decode[gen.ConsoleLink](t, s.do(call{method: "POST", path: path + "/console-links", platform: true, body: body}).want(t, http.StatusCreated))
		before, key, _ := strings.Cut(l.Path, "/console#/status?key=")
		if before != "" || key == "" {
			t.Fatalf("path: got %q, want the console's with a key behind its #", l.Path)
		}
		return l, key
	}
	listed := func() int {
		t.Helper()
		return len(decode[gen.APIKeyList](t, s.do(call{method: "GET", path: path + "/api-keys", platform: true}).want(t, http.StatusOK)).APIKeys)
	}
	had := listed()
	usual, key := link("")
	short, other := link(`{"minutes":5}`)
	for what, l := range map[time.Duration]gen.ConsoleLink{15 * time.Minute: usual, 5 * time.Minute: short} {
		if want := shown(epoch.Add(what)); !l.ExpiresAt.Equal(want) {
			t.Errorf("expiresAt: got %v, want %v", l.ExpiresAt, want)
		}
	}
	s.do(call{method: "GET", path: webhookPath, apiKey: key}).want(t, http.StatusOK)
	s.do(call{method: "GET", path: webhookPath, apiKey: other}).want(t, http.StatusOK)
	if got := listed() - had; got != 2 {
		t.Errorf("%d more keys are listed, want those of two links", got)
	}
	s.setNow(epoch.Add(5 * time.Minute))
	s.do(call{method: "GET", path: webhookPath, apiKey: other}).want(t, http.StatusUnauthorized)
	s.do(call{method: "GET", path: webhookPath, apiKey: key}).want(t, http.StatusOK)
	if got := listed() - had; got != 1 {
		t.Errorf("%d more keys are listed after one has expired, want one", got)
	}
	s.do(call{method: "DELETE", path: path + "/api-keys/" + usual.KeyID, platform: true}).want(t, http.StatusNoContent)
	s.do(call{method: "GET", path: webhookPath, apiKey: key}).want(t, http.StatusUnauthorized)

	for _, body := range []string{`{"minutes":0}`, `{"minutes":61}`, `{"hours":1}`} {
		s.do(call{method: "POST", path: path + "/console-links", platform: true, body: body}).want(t, http.StatusBadRequest)
	}
	s.do(call{method: "POST", path: "/accounts/nobody/console-links", platform: true}).want(t, http.StatusNotFound)
}
