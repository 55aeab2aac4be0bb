package server_test

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/recapito/recapito/server"
)

func corsOrigins(origins ...string) func(*server.Config) {
	return func(c *server.Config) { c.CORSOrigins = origins }
}

const console = "https://console.example.com"

func TestCORS(t *testing.T) {
	for _, tt := range []struct {
		name    string
		allowed []string
		origin  string
		want    string // Access-Control-Allow-Origin
	}{
		{"off", nil, console, ""},
		{"allowed", []string{console}, console, console},
		{"second of two", []string{"http://localhost:3000", console}, console, console},
		{"any", []string{"*"}, console, "*"},
		{"no origin", []string{console}, "", ""},
		{"another", []string{console}, "https://evil.example.com", ""},
		{"another scheme", []string{console}, "http://console.example.com", ""},
		{"another port", []string{console}, console + ":8443", ""},
		{"longer", []string{console}, console + ".evil.example", ""},
		{"null", []string{console}, "null", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, corsOrigins(tt.allowed...))
			_, key := s.account()
			header := map[string]string{"Origin": tt.origin}
			preflight := map[string]string{"Origin": tt.origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-api-key,content-type"}
			for name, got := range map[string]answer{
				"preflight":    s.do(call{method: "OPTIONS", path: webhookPath, header: preflight}).want(t, http.StatusNoContent),
				"answer":       s.do(call{method: "GET", path: webhookPath + "/deliveries", apiKey: key, header: header}).want(t, http.StatusOK),
				"unauthorized": s.do(call{method: "GET", path: webhookPath, header: header}).want(t, http.StatusUnauthorized),
				"not found":    s.do(call{method: "GET", path: "/nowhere", header: header}).want(t, http.StatusNotFound),
			} {
				if got := got.header.Get("Access-Control-Allow-Origin"); got != tt.want {
					t.Errorf("Access-Control-Allow-Origin of the %s: got %q, want %q", name, got, tt.want)
				}
				if varies := strings.Contains(got.header.Get("Vary"), "Origin"); varies != (len(tt.allowed) > 0) {
					t.Errorf("Vary of the %s: got %q, want Origin in it: %t", name, got.header.Get("Vary"), len(tt.allowed) > 0)
				}
				exposes := got.header.Get("Access-Control-Expose-Headers")
				if (exposes != "") != (tt.want != "" && name != "preflight") {
					t.Errorf("Access-Control-Expose-Headers of the %s: got %q", name, exposes)
				}
				methods := got.header.Get("Access-Control-Allow-Methods")
				if (methods != "") != (tt.want != "" && name == "preflight") {
					t.Errorf("Access-Control-Allow-Methods of the %s: got %q", name, methods)
				}
				if got.header.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("Access-Control-Allow-Credentials of the %s: got some, want none", name)
				}
			}
		})
	}
}

// TestPreflightAllowsWhatClientsSend: each operation's method and its
// credential, and what they need of the answer.
func TestPreflightAllowsWhatClientsSend(t *testing.T) {
	s := start(t, corsOrigins(console))
	for _, o := range loadContract(t).operations(t) {
		got := s.do(call{method: "OPTIONS", path: o.path, header: map[string]string{
			"Origin": console, "Access-Control-Request-Method": o.method,
		}}).want(t, http.StatusNoContent)
		if !strings.Contains(got.header.Get("Access-Control-Allow-Methods"), o.method) {
			t.Errorf("%s: methods %q, want %s", o.id, got.header.Get("Access-Control-Allow-Methods"), o.method)
		}
		if age, err := strconv.Atoi(got.header.Get("Access-Control-Max-Age")); err != nil || age < 600 {
			t.Errorf("%s: a preflight is kept %q seconds, want ten minutes at least", o.id, got.header.Get("Access-Control-Max-Age"))
		}
		for _, name := range []string{"X-API-Key", "Authorization", "Content-Type", "X-Request-Id", "If-None-Match"} {
			if !strings.Contains(got.header.Get("Access-Control-Allow-Headers"), name) {
				t.Errorf("%s: headers %q, want %s", o.id, got.header.Get("Access-Control-Allow-Headers"), name)
			}
		}
		answer := s.do(call{method: o.method, path: o.path, header: map[string]string{"Origin": console}})
		useful := []string{"X-Request-Id", "Allow", "ETag"} // of every answer, of a 405, of the document
		for _, response := range o.op.Responses.Map() {
			useful = slices.AppendSeq(useful, maps.Keys(response.Value.Headers))
		}
		exposed := strings.Split(answer.header.Get("Access-Control-Expose-Headers"), ", ")
		for _, name := range useful {
			if !slices.Contains(exposed, name) {
				t.Errorf("%s: exposed %q, want %s", o.id, exposed, name)
			}
		}
	}
}
