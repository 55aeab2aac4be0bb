package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
)

// TestOverQuota: what has no room is skipped, and the operator is told when that begins
// and when it has ended.
func TestOverQuota(t *testing.T) {
	st := memory.New(memory.Config{Quota: store.Quota{Events: 1}})
	s := start(t, func(c *server.Config) { c.Store = st })
	s.store = st
	id, key := s.subscriber()
	other, _ := s.subscriber()
	got := decode[gen.EventsResult](t, s.hand(event("evt_1", id), event("evt_2", id), event("evt_3", id), event("evt_1", other), event("evt_1", id)).want(t, http.StatusAccepted))
	want := gen.EventsResult{Accepted: 2, Duplicates: 1, Skipped: []gen.SkippedEvent{
		{Index: 1, Reason: gen.SkipReasonOVERQUOTA}, {Index: 2, Reason: gen.SkipReasonOVERQUOTA},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	cancel := func() {
		s.do(call{method: http.MethodDelete, path: webhookPath, apiKey: key}).want(t, http.StatusNoContent)
		s.do(call{method: "POST", path: webhookPath, apiKey: key, body: `{"callbackUrl":"` + goodURL + `"}`}).want(t, http.StatusCreated)
	}
	cancel()
	s.setNow(epoch.Add(30 * time.Second))
	s.hand(event("evt_4", id)).want(t, http.StatusAccepted) // it is stored, but a minute has not passed
	cancel()
	s.setNow(epoch.Add(time.Minute))
	s.hand(event("evt_5", id)).want(t, http.StatusAccepted)
	var told []string
	for line := range strings.Lines(s.log.String()) {
		if _, text, _ := strings.Cut(line, "level="); strings.Contains(text, "quota") {
			told = append(told, strings.TrimSpace(text))
		}
	}
	if diff := cmp.Diff([]string{
		`WARN msg="account over quota: its events are skipped" account=` + id,
		`INFO msg="account within quota again" account=` + id + ` skipped=2`,
	}, told); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
}
