package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestProbeNow: of two endpoints that are only probed, one holder asks for a probe, by
// the API while it is broken, and by the command when it is repaired; the other PUTs
// the same URL.
func TestProbeNow(t *testing.T) {
	bin := build(t, false)
	for name, store := range map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "recapito.db"), "memory": "memory:"} {
		t.Run(name, func(t *testing.T) {
			ca := newAuthority(t)
			to := newSink(t, ca)
			var repaired atomic.Bool
			to.answer = func(_ string, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(map[bool]int{true: http.StatusNoContent, false: http.StatusInternalServerError}[repaired.Load()])
			}
			svc := serve(t, bin, store, "--callback-ca", ca.file, "--retry-schedule", "1h", "--store", store)
			asks, puts := svc.probed(to, "asks"), svc.probed(to, "puts")

			svc.probeEarly(asks, "asks-0")
			repaired.Store(true)
			cmd := exec.Command(bin, "probe", "--server", svc.url)
			cmd.Env = append(os.Environ(), "RECAPITO_API_KEY="+asks)
			if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != `{"eventId":"asks-0"}` {
				t.Fatalf("recapito probe: %s %v, want the event", out, err)
			}
			if code, answer := svc.api("PUT", hook, puts, callback(to.server.URL+"/puts")); code != http.StatusOK {
				t.Fatalf("PUT: %d %s", code, answer)
			}
			for account, key := range map[string]string{"asks": asks, "puts": puts} {
				eventually(t, account+" to have everything", func() bool {
					waiting, _ := svc.waits(key)
					return len(waiting) == 0
				})
			}
			if code, answer := svc.api("POST", hook+"/probe", asks, ""); code != http.StatusConflict {
				t.Errorf("POST the probe of a repaired endpoint: %d %s, want 409", code, answer)
			}
		})
	}
}

// probed makes an account whose endpoint has failed so often that it is only probed.
func (s *service) probed(to *sink, account string) (key string) {
	s.t.Helper()
	key = s.account(account)
	s.register(to, account, key)
	var events []string
	for i := range 12 {
		events = append(events, event(account, fmt.Sprint(account, "-", i), fmt.Sprint("m", i), "SENT"))
	}
	if code, answer := s.api("POST", "/events", bearer, batch(events)); code != http.StatusAccepted {
		s.t.Fatalf("POST /events: %d %s", code, answer)
	}
	eventually(s.t, account+" to be probed", func() bool {
		waiting, _ := s.waits(key)
		return strings.HasPrefix(waiting[account+"-0"], "PROBE")
	})
	return key
}

// probeEarly asks for a probe, and finds it to begin before the next one would have. On
// a slow machine the next one comes first; the gap after it is twice as long.
func (s *service) probeEarly(key, event string) {
	s.t.Helper()
	for {
		before := s.probes(key, event)
		code, answer := s.api("POST", hook+"/probe", key, "")
		if before.NextAttemptAt == nil || !time.Now().Before(*before.NextAttemptAt) {
			continue
		}
		if want := fmt.Sprintf(`{"eventId":%q}`, event); code != http.StatusAccepted || strings.TrimSpace(string(answer)) != want {
			s.t.Fatalf("POST the probe: %d %s, want 202 %s", code, answer, want)
		}
		var after probes
		eventually(s.t, "the probe to be recorded", func() bool {
			after = s.probes(key, event)
			return len(after.Attempts) > len(before.Attempts)
		})
		if probe := after.Attempts[len(before.Attempts)]; !probe.At.Before(*before.NextAttemptAt) {
			s.t.Errorf("the probe began at %v, want it before %v, when the next one was", probe.At, before.NextAttemptAt)
		}
		return
	}
}

// probes are what is shown of the delivery that probes go with.
type probes struct {
	NextAttemptAt *time.Time
	Attempts      []struct{ At time.Time }
}

func (s *service) probes(key, event string) (d probes) {
	s.t.Helper()
	code, answer := s.api("GET", hook+"/deliveries/"+event, key, "")
	if err := json.Unmarshal(answer, &d); err != nil || code != http.StatusOK {
		s.t.Fatalf("GET the delivery: %d %s", code, answer)
	}
	return d
}
