package server_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
)

// TestFollowedBatch: what follows a batch says what is kept with its events, and is told
// how that ended.
func TestFollowedBatch(t *testing.T) {
	const from, kept = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-01"
	var asked []string
	var ended []server.Acceptance
	s := start(t, func(c *server.Config) {
		c.Follow = func(traceparent string, began time.Time) (string, func(server.Acceptance)) {
			asked = append(asked, traceparent+" "+began.Sub(epoch).String())
			return kept, func(a server.Acceptance) { ended = append(ended, a) }
		}
	})
	id, _ := s.subscriber()
	send := func(status int, header map[string]string, events ...string) {
		s.do(call{method: "POST", path: "/events", platform: true, body: batch(events...), header: header}).want(t, status)
	}
	send(http.StatusAccepted, map[string]string{"Traceparent": from}, event("evt_1", id))
	send(http.StatusAccepted, nil, event("evt_1", id), event("evt_2", id))
	send(http.StatusBadRequest, nil, `{}`) // is not followed
	if diff := cmp.Diff([]string{from + " 0s", " 0s"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	none := []gen.SkippedEvent{}
	if diff := cmp.Diff([]server.Acceptance{
		{StoredFrom: epoch, StoredTo: epoch, Result: gen.EventsResult{Accepted: 1, Skipped: none}},
		{StoredFrom: epoch, StoredTo: epoch, Result: gen.EventsResult{Accepted: 1, Duplicates: 1, Skipped: none}},
	}, ended); diff != "" {
		t.Errorf("ended (-want +got):\n%s", diff)
	}
	for _, event := range []string{"evt_1", "evt_2"} {
		if got := s.stored(t, id, event).Traceparent; got != kept {
			t.Errorf("%s has the traceparent %q, want %q", event, got, kept)
		}
	}
}
