//go:build contract

package e2e

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Prism: a walk through every operation and its refusals. Prism answers itself a
// request or a success that the document does not describe, so that its status
// is not the wanted one; an error that the document lacks it passes on and
// writes down.
func TestContractPrism(t *testing.T) {
	bin := build(t, false)
	svc, keys := seeded(t, bin)
	to := prism(t, svc)
	key, events := keys["acc_a"], hook+"/deliveries"
	attempts, feed := hook+"/attempts", hook+"/events"
	good, secret := callback("https://example.com/status"), hook+"/signing-secret"
	test := hook + "/test-event"
	apiKeys := "/accounts/acc_new/api-keys"
	_, made := to.api("POST", "/accounts/acc_a/api-keys", bearer, "")
	large := strings.Replace(event("acc_b", "e5", "m", "SENT"), "{", `{"description":"`+strings.Repeat("ü", 512)+`",`, 1)
	walk(to, []step{
		{"GET", hook, key, "", 200},
		{"GET", hook, "wrong", "", 401},
		{"POST", hook, key, good, 409},
		{"POST", hook, key, callback("https://10.0.0.1/"), 400},
		{"POST", hook, "wrong", good, 401},
		{"PUT", hook, key, good, 200},
		{"PUT", hook, key, callback("https://localhost.internal/"), 400},
		{"PUT", hook, "wrong", good, 401},
		{"POST", secret, key, "", 200},
		{"PUT", hook, key, callback("https://callback.example/"), 200},
		{"POST", test, key, "", 200},
		{"POST", test, key, `{"sample":"RCS_READ"}`, 200},
		{"POST", test, key, `{"sample":"NONE"}`, 400},
		{"POST", test, key, `{"sample":"` + strings.Repeat("x", 100<<10) + `"}`, 413},
		{"POST", test, "wrong", "", 401},
		{"GET", hook + "/health", key, "", 200},
		{"GET", hook + "/health/changes", key, "", 200},
		{"GET", hook + "/health/minutes", key, "", 200},
		{"POST", hook + "/probe", key, "", 409},
		{"POST", hook + "/probe", "wrong", "", 401},
		{"POST", secret, "wrong", "", 401},
		{"GET", operations, bearer, "", 404},
		{"POST", operations, bearer, good, 201},
		{"POST", operations, bearer, good, 409},
		{"POST", operations, bearer, callback("https://10.0.0.1/"), 400},
		{"POST", operations, "Bearer wrong", good, 401},
		{"PUT", operations, bearer, good, 200},
		{"GET", operations, bearer, "", 200},
		{"POST", operations + "/signing-secret", bearer, "", 200},
		{"GET", operations + "/deliveries?state=PENDING&accountId=acc_a&order=asc", bearer, "", 200},
		{"GET", operations + "/deliveries?cursor=AAAA", bearer, "", 400},
		{"GET", operations + "/deliveries", "Bearer wrong", "", 401},
		{"DELETE", operations, bearer, "", 204},
		{"DELETE", operations, bearer, "", 404},
		{"GET", events, key, "", 200},
		{"GET", events + "?limit=1&state=DELIVERED&messageId=m-1&from=2026-01-01T00:00:00Z", key, "", 200},
		{"GET", events + "?cursor=AAAA", key, "", 400},
		{"GET", events, "wrong", "", 401},
		{"GET", events + "?state=DELIVERED&state=FAILED&channel=RCS&status=204&order=asc&finishedFrom=2026-01-01T00:00:00Z", key, "", 200},
		{"GET", events + "?customerMessageId=none&error=TIMEOUT&failedSince=2026-01-01T00:00:00Z", key, "", 200},
		{"GET", attempts + "?outcome=ACKNOWLEDGED&statusClass=2XX&limit=1", key, "", 200},
		{"GET", attempts + "?cursor=AAAA", key, "", 400},
		{"GET", attempts, "wrong", "", 401},
		{"GET", feed + "?limit=2", key, "", 200},
		{"GET", feed + "?after=latest&wait=1", key, "", 200},
		{"GET", feed + "?after=AAAA", key, "", 400},
		{"GET", feed, "wrong", "", 401},
		{"GET", events + "/evt_acc_a_1", key, "", 200},
		{"GET", events + "/evt_acc_b_1", key, "", 404},
		{"GET", events + "/evt_acc_a_1", "wrong", "", 401},
		{"DELETE", hook, "wrong", "", 401},
		{"DELETE", hook, key, "", 204},
		{"DELETE", hook, key, "", 404},
		{"GET", hook, key, "", 404},
		{"PUT", hook, key, good, 404},
		{"POST", secret, key, "", 404},
		{"POST", test, key, "", 404},
		{"POST", hook, key, good, 201},
		{"POST", "/events", bearer, batch([]string{event("acc_none", "e1", "m", "SENT"), event("acc_b", "e2", "m", "SENT")}), 202},
		{"POST", "/events", bearer, strings.Replace(batch([]string{event("acc_b", "e3", "m", "READ")}), "RCS", "SMS", 1), 400},
		{"POST", "/events", "Bearer wrong", batch([]string{event("acc_b", "e4", "m", "SENT")}), 401},
		{"POST", "/events", bearer, batch(slices.Repeat([]string{large}, 1000)), 413},
		{"PUT", "/accounts/acc_new", bearer, "", 201},
		{"GET", "/accounts?idPrefix=acc_&limit=1", bearer, "", 200},
		{"GET", "/accounts?state=HEALTHY&state=IDLE", bearer, "", 200},
		{"GET", "/accounts?cursor=AAAA", bearer, "", 400},
		{"GET", "/accounts", "Bearer wrong", "", 401},
		{"PUT", "/accounts/acc_new", bearer, "", 200},
		{"PUT", "/accounts/acc_new", "Bearer wrong", "", 401},
		{"GET", "/accounts/acc_new", bearer, "", 200},
		{"GET", "/accounts/acc_none", bearer, "", 404},
		{"GET", "/accounts/acc_new", "Bearer wrong", "", 401},
		{"POST", apiKeys, bearer, "{}", 201},
		{"POST", apiKeys, bearer, `{"sha256":"` + strings.Repeat("0f", 32) + `"}`, 201},
		{"POST", apiKeys, bearer, `{"sha256":"` + strings.Repeat("0f", 32) + `"}`, 409},
		{"POST", "/accounts/acc_none/api-keys", bearer, "{}", 404},
		{"POST", apiKeys, "Bearer wrong", "{}", 401},
		{"GET", apiKeys, bearer, "", 200},
		{"GET", "/accounts/acc_none/api-keys", bearer, "", 404},
		{"GET", apiKeys, "Bearer wrong", "", 401},
		{"DELETE", apiKeys + "/key_none", bearer, "", 404},
		{"DELETE", apiKeys + "/key_none", "Bearer wrong", "", 401},
		{"DELETE", "/accounts/acc_a/api-keys/" + field(t, made, "id"), bearer, "", 204},
		{"DELETE", "/accounts/acc_new", "Bearer wrong", "", 401},
		{"DELETE", "/accounts/acc_new", bearer, "", 204},
		{"DELETE", "/accounts/acc_new", bearer, "", 404},
	})

	svc = serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"), "--rate-limit", "0.1") // 1 at once
	key = svc.account("acc_a")
	one := batch([]string{event("acc_a", "e1", "m", "SENT")})
	walk(prism(t, svc), []step{
		{"GET", events, key, "", 200},
		{"GET", events, key, "", 429},
		{"GET", events + "/evt_1", key, "", 429},
		{"POST", secret, key, "", 429},
		{"POST", test, key, "", 429},
		{"POST", "/events", bearer, one, 202},
		{"POST", "/events", bearer, one, 429},
	})
}

// step is a request and the status that it is answered with.
type step struct {
	method, path, credential, body string
	want                           int
}

// walk makes the requests through Prism.
func walk(to *service, steps []step) {
	to.t.Helper()
	for _, s := range steps {
		if code, answer := to.api(s.method, s.path, s.credential, s.body); code != s.want {
			to.t.Errorf("%s %s: got %d, want %d: %s", s.method, s.path, code, s.want, answer)
		}
	}
	to.wantNoViolation()
}

// wantNoViolation fails the test if Prism, behind which s is, wrote down that
// something was not as the document has it. Prism writes in the order of the
// requests, but at leisure: the last one shows that all before are in the log.
func (s *service) wantNoViolation() {
	s.t.Helper()
	const last = "/the/last/request"
	s.api("GET", last, "", "")
	eventually(s.t, "Prism to log the last request", func() bool { return strings.Contains(s.log.String(), last) })
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, "[VALIDATOR]") {
			s.t.Errorf("Prism: %s", line)
		}
	}
}

// prism is the service behind a Prism proxy, which lets no success pass that
// the document does not describe; [service.wantNoViolation] tells of the rest.
func prism(t *testing.T, svc *service) *service {
	t.Helper()
	addr := freeAddr(t)
	host, port, _ := strings.Cut(addr, ":")
	cmd := command(t, ".", nil, tools+"/node_modules/.bin/prism", "proxy", "openapi.yaml", svc.url, "--errors", "--host", host, "--port", port)
	log := startBeside(t, "Prism", cmd)
	eventually(t, "Prism to listen", func() bool {
		resp, err := http.Get("http://" + addr)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return true
	})
	return &service{t: t, url: "http://" + addr, log: log}
}
