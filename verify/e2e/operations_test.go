package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const operations = "/webhooks/operations"

// TestOperationalEvents: the platform is told of a webhook that is registered, put and
// removed, of deliveries given up in one sum, and of endpoints that fail for a minute (b),
// recover, and are suspended (c). Its own endpoint refuses until the service has been killed,
// where the store outlives that. What it was told is in its history.
func TestOperationalEvents(t *testing.T) {
	bin := build(t, false)
	for name, store := range map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "recapito.db"), "memory": "memory:"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := newAuthority(t)
			to := newSink(t, ca)
			var repaired, recovered atomic.Bool
			to.answer = func(account string, w http.ResponseWriter, _ *http.Request) {
				switch {
				case account == "c":
					w.WriteHeader(http.StatusGone)
				case account == "platform" && repaired.Load(), account == "b" && recovered.Load():
					w.WriteHeader(http.StatusNoContent)
				default:
					w.WriteHeader(http.StatusInternalServerError)
				}
			}
			flags := []string{"--callback-ca", ca.file, "--store", store, "--retry-schedule", "100ms,1s,4s"}
			svc := serve(t, bin, "", flags...)
			code, answer := svc.api("POST", operations, bearer, callback(to.url("platform")))
			if code != http.StatusCreated {
				t.Fatalf("POST %s: %d %s", operations, code, answer)
			}
			to.trust(t, "platform", field(t, answer, "signingSecret"))

			keys := map[string]string{}
			events := []string{event("c", "c1", "m1", "SENT")}
			for _, account := range []string{"a", "b", "c"} {
				keys[account] = svc.account(account)
				svc.register(to, account, keys[account])
			}
			for i := range 15 { // enough to open the breaker
				events = append(events, event("b", fmt.Sprint("b", i), fmt.Sprint("m", i), "SENT"))
			}
			if code, answer := svc.api("POST", "/events", bearer, batch(events)); code != http.StatusAccepted {
				t.Fatalf("POST /events: %d %s", code, answer)
			}
			key := keys["a"]
			if code, answer := svc.api("POST", "/events", bearer, batch([]string{event("a", "e1", "m1", "SENT"), event("a", "e2", "m2", "SENT")})); code != http.StatusAccepted {
				t.Fatalf("POST /events: %d %s", code, answer)
			}
			svc.failed(key, 2)
			if code, answer := svc.api("PUT", hook, key, callback(to.url("a"))); code != http.StatusOK {
				t.Fatalf("PUT %s: %d %s", hook, code, answer)
			}
			want := []string{
				"1 WEBHOOK_REGISTERED a 0", "1 WEBHOOK_REGISTERED b 0", "1 WEBHOOK_REGISTERED c 0", "2 ENDPOINT_FAILING b 0", "2 ENDPOINT_SUSPENDED c 0",
				"2 WEBHOOK_REPLACED a 0", "3 DELIVERY_GIVEN_UP a 2", "3 ENDPOINT_RECOVERED b 0", "4 WEBHOOK_REMOVED a 0",
			}
			if name == "sqlite" {
				svc.kill()
				svc = serve(t, bin, "", flags...)
			}
			repaired.Store(true)
			if code, answer := svc.api("PUT", operations, bearer, callback(to.url("platform"))); code != http.StatusOK { // all is due
				t.Fatalf("PUT %s: %d %s", operations, code, answer)
			}
			eventually(t, "the sum of deliveries given up, and the endpoint that fails", func() bool { return len(told(t, to)) == len(want)-2 })
			recovered.Store(true)
			if code, answer := svc.api("POST", hook+"/probe", keys["b"], ""); code != http.StatusOK && code != http.StatusAccepted {
				t.Fatalf("POST %s/probe: %d %s", hook, code, answer)
			}
			eventually(t, "the endpoint that recovered", func() bool { return len(told(t, to)) == len(want)-1 })
			if code, answer := svc.api("DELETE", hook, key, ""); code != http.StatusNoContent {
				t.Fatalf("DELETE %s: %d %s", hook, code, answer)
			}
			eventually(t, "the removal to be told", func() bool { return len(told(t, to)) == len(want) })
			if diff := cmp.Diff(want, told(t, to)); diff != "" {
				t.Errorf("the platform is told (-want +got):\n%s", diff)
			}
			// What was told before the platform's endpoint was repaired may have been given up.
			kept := []string{"WEBHOOK_REGISTERED", "ENDPOINT_FAILING DELIVERED", "ENDPOINT_RECOVERED DELIVERED"}
			history := func() (all []string) {
				_, answer := svc.api("GET", operations+"/deliveries?accountId=b&order=asc", bearer, "")
				var page struct {
					Deliveries []struct {
						State   string
						Payload struct{ EventType string }
					}
				}
				if err := json.Unmarshal(answer, &page); err != nil {
					t.Fatalf("the history: %s (%v)", answer, err)
				}
				for _, d := range page.Deliveries {
					all = append(all, d.Payload.EventType+" "+d.State)
				}
				return all
			}
			eventually(t, "the outcomes to be recorded", func() bool { return slices.EqualFunc(history(), kept, strings.HasPrefix) })
		})
	}
}

// failed waits until so many of the account's deliveries have.
func (s *service) failed(key string, n int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprint(n, " deliveries to be given up"), func() bool {
		_, answer := s.api("GET", hook+"/deliveries?state=FAILED", key, "")
		var page struct{ Deliveries []json.RawMessage }
		return json.Unmarshal(answer, &page) == nil && len(page.Deliveries) == n
	})
}

// told are the operational events that have arrived, each once, in order of their
// sequence.
func told(t *testing.T, to *sink) (all []string) {
	t.Helper()
	for _, a := range to.of("platform") {
		if a.Verified != nil {
			t.Errorf("%s: signature: %v", a.ID, a.Verified)
		}
		var e struct {
			EventType, AccountID string
			Deliveries, Sequence int
		}
		if err := json.Unmarshal([]byte(a.Body), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(e.Sequence, " ", e.EventType, " ", e.AccountID, " ", e.Deliveries))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
