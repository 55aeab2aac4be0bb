package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestMetricsTellWhatHappened(t *testing.T) {
	ca := newAuthority(t)
	to := newSink(t, ca)
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file)
	svc.register(to, "acc", svc.account("acc"))
	feed(t, svc, 1, [][]string{{event("acc", "e1", "m1", "SENT"), event("acc", "e2", "m2", "SENT")}})
	svc.api("POST", "/events", bearer, batch([]string{event("acc", "e1", "m1", "SENT"), event("nobody", "e1", "m1", "SENT")}))
	eventually(t, "both outcomes to be recorded", func() bool { return metric(t, svc, `recapito_deliveries{state="DELIVERED"}`) == 2 })
	for name, want := range map[string]float64{
		"recapito_events_accepted_total":                                          2,
		"recapito_events_duplicate_total":                                         1,
		`recapito_events_skipped_total{reason="UNKNOWN_ACCOUNT"}`:                 1,
		`recapito_events_skipped_total{reason="ACCOUNT_UNREADABLE"}`:              0,
		`recapito_answers_total{class="2xx"}`:                                     2,
		`recapito_changes_total{change="ACCOUNT_CREATED"}`:                        1,
		`recapito_changes_total{change="API_KEY_CREATED"}`:                        1,
		`recapito_changes_total{change="WEBHOOK_REGISTERED"}`:                     1,
		`recapito_changes_total{change="BREAKER_OPENED"}`:                         0,
		`recapito_oldest_due_seconds{health="healthy"}`:                           0,
		"recapito_last_backup_timestamp_seconds":                                  0,
		`recapito_attempts_total{outcome="ACKNOWLEDGED"}`:                         2,
		"recapito_attempt_duration_seconds_count":                                 2,
		"recapito_delivery_latency_seconds_count":                                 2,
		"recapito_backlog":                                                        0,
		`recapito_lanes{health="healthy"}`:                                        1,
		`recapito_slots_in_use{class="proven"}`:                                   0,
		"recapito_slots":                                                          1024,
		"recapito_window_bytes":                                                   0,
		"recapito_unrecorded_outcomes":                                            0,
		"recapito_dials_total":                                                    1,
		"recapito_dials_resumed_total":                                            0,
		"recapito_connections_reused_total":                                       1,
		"recapito_connections_idle":                                               1,
		"recapito_commit_failures_total":                                          0,
		`recapito_http_requests_total{operation="sendEvents",status="202"}`:       2,
		`recapito_http_request_duration_seconds_count{operation="createWebhook"}`: 1,
	} {
		if got := metric(t, svc, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if bytes, free := metric(t, svc, "recapito_store_bytes"), metric(t, svc, "recapito_store_free_bytes"); bytes < 100_000 || free < 1 {
		t.Errorf("store: %v bytes, %v free, want what its files take and some", bytes, free)
	}
	if code, text := get(t, svc.ops+"/livez"); code != 200 {
		t.Errorf("/livez: %d %s, want 200", code, text)
	}
}

// While it drains, the service is alive but not ready; the attempt under way
// finishes and is recorded, and is not made again after the next start.
func TestShutdownDrains(t *testing.T) {
	ca := newAuthority(t)
	to := newSink(t, ca)
	release := make(chan struct{})
	to.answer = func(_ string, w http.ResponseWriter, _ *http.Request) {
		<-release
		w.WriteHeader(http.StatusNoContent)
	}
	bin, db := build(t, false), filepath.Join(t.TempDir(), "recapito.db")
	svc := serve(t, bin, db, "--callback-ca", ca.file)
	svc.register(to, "acc", svc.account("acc"))
	feed(t, svc, 1, [][]string{{event("acc", "e1", "m1", "SENT")}})
	eventually(t, "the callback", func() bool { return to.count("acc") == 1 })
	if err := svc.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	eventually(t, "/readyz to say that it drains", func() bool {
		code, text := get(t, svc.ops+"/readyz")
		return code == 503 && strings.Contains(text, "draining")
	})
	if code, _ := get(t, svc.ops+"/livez"); code != 200 {
		t.Errorf("/livez while draining: %d, want 200", code)
	}
	close(release)
	err := <-svc.exited
	svc.exited <- err
	if err != nil {
		t.Errorf("the service ended with %v; log:\n%s", err, svc.log)
	}
	svc = serve(t, bin, db, "--callback-ca", ca.file)
	if got := metric(t, svc, `recapito_deliveries{state="DELIVERED"}`); got != 1 || to.count("acc") != 1 {
		t.Errorf("%v delivered after %d callbacks, want 1 after 1", got, to.count("acc"))
	}
}
