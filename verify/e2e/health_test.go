package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// shown is what is told of an endpoint.
type shown struct {
	State               string
	Since               time.Time
	Summary             string
	ConsecutiveFailures int
	Pending             int
	NextAttemptAt       *time.Time
	FirstGivenUpAt      *time.Time
	LastFailure         *struct {
		StatusCode int
		Response   string
	}
	LastHour struct{ Acknowledged, Failed int }
}

func (s *service) health(key string) (h shown) {
	s.t.Helper()
	code, answer := s.api("GET", hook+"/health", key, "")
	if err := json.Unmarshal(answer, &h); err != nil || code != http.StatusOK {
		s.t.Fatalf("GET the health: %d %s", code, answer)
	}
	return h
}

// TestHealth: an endpoint breaks, and its account sees that, and why; on disk a kill -9
// changes nothing of it. Then it is repaired, and all is well within seconds.
func TestHealth(t *testing.T) {
	bin := build(t, false)
	for name, store := range map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "recapito.db"), "memory": "memory:"} {
		t.Run(name, func(t *testing.T) {
			ca := newAuthority(t)
			to := newSink(t, ca)
			var repaired atomic.Bool
			to.answer = func(_ string, w http.ResponseWriter, _ *http.Request) {
				if !repaired.Load() {
					http.Error(w, "down for maintenance", http.StatusServiceUnavailable)
				}
			}
			flags := []string{"--callback-ca", ca.file, "--retry-schedule", "1h", "--store", store}
			svc := serve(t, bin, store, flags...)
			key := svc.probed(to, "acc")
			before := svc.health(key)
			if before.State != "PROBING" || before.Pending != 12 || before.LastFailure == nil || before.LastFailure.StatusCode != 503 ||
				!strings.HasPrefix(before.LastFailure.Response, "down") || before.ConsecutiveFailures < 10 || before.LastHour.Failed < 10 || before.FirstGivenUpAt == nil {
				t.Errorf("health %+v, want PROBING with 12 that wait, after ten failures with 503", before)
			}
			if name == "sqlite" {
				svc.kill()
				svc = serve(t, bin, store, flags...)
				after := svc.health(key)
				if after.State != before.State || !after.Since.Equal(before.Since) || after.Pending != 12 || after.ConsecutiveFailures < before.ConsecutiveFailures || after.LastHour.Failed < before.LastHour.Failed {
					t.Errorf("health after a kill -9: %+v, want what it was: %+v", after, before)
				}
			}
			cmd := exec.Command(bin, "health", "--server", svc.url)
			cmd.Env = append(os.Environ(), "RECAPITO_API_KEY="+key)
			if out, err := cmd.Output(); err == nil || cmd.ProcessState.ExitCode() != 6 || !strings.Contains(string(out), `"state":"PROBING"`) {
				t.Errorf("recapito health: %s %v, want PROBING and exit code 6", out, err)
			}
			repaired.Store(true)
			if code, answer := svc.api("PUT", hook, key, callback(to.server.URL+"/acc")); code != http.StatusOK {
				t.Fatalf("PUT: %d %s", code, answer)
			}
			var h shown
			eventually(t, "the endpoint to be well", func() bool {
				h = svc.health(key)
				return h.State == "HEALTHY" && h.Pending == 0 && h.LastHour.Acknowledged == 12
			})
			if h.ConsecutiveFailures != 0 || h.NextAttemptAt != nil {
				t.Errorf("health %+v, want no failures in a row and nothing to come", h)
			}
			var list struct{ Changes []struct{ From, To string } }
			code, answer := svc.api("GET", hook+"/health/changes", key, "")
			if err := json.Unmarshal(answer, &list); err != nil || code != http.StatusOK || len(list.Changes) < 2 || list.Changes[0].From != "PROBING" || list.Changes[0].To != "HEALTHY" {
				t.Errorf("GET the changes: %d %s, want that from PROBING to HEALTHY first", code, answer)
			}
		})
	}
}
