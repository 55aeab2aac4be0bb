package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// A machine without certificate authorities blames itself: in the account's history
// and, for the operator, in the log.
func TestAMachineWithoutAuthoritiesBlamesItself(t *testing.T) {
	t.Setenv("SSL_CERT_FILE", "/nonexistent")
	t.Setenv("SSL_CERT_DIR", "/nonexistent")
	bin, ca := build(t, false), newAuthority(t)
	to := newSink(t, ca)
	svc := serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"))
	key := svc.account("acc")
	svc.register(to, "acc", key)
	feed(t, svc, 1, [][]string{{event("acc", "e1", "m1", "SENT")}})
	var answer []byte
	eventually(t, "an attempt", func() bool {
		_, answer = svc.api("GET", hook+"/deliveries/e1", key, "")
		return strings.Contains(string(answer), `"attemptCount":1`)
	})
	if !strings.Contains(string(answer), `"error":"INTERNAL_ERROR"`) || strings.Contains(string(answer), `"detail"`) {
		t.Errorf("the delivery: got %s, want an attempt with INTERNAL_ERROR and no detail", answer)
	}
	if log := svc.log.String(); strings.Count(log, "level=ERROR") != 1 || !strings.Contains(log, "knows no certificate authority") {
		t.Errorf("log:\n%s\nwant one line at ERROR that says what is missing", log)
	}
	svc.terminate()
}
