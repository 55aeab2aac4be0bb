package e2e

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// TestFeedOutlivesKills: twenty readers of an account's feed have each event once,
// in the same order, though the service is killed twice on the way. The bench has
// more events.
func TestFeedOutlivesKills(t *testing.T) {
	read, err := rig.FollowThroughKills(rig.Options{Bin: build(t, false), Dir: t.TempDir()}, 20, 4000, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events, read by 20 in %v with %d requests", read.Events, read.Took, read.Requests)
}

// TestWaitForEventsEndsWithTheService: SIGTERM is not held up, and the reader gets
// an answer.
func TestWaitForEventsEndsWithTheService(t *testing.T) {
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"))
	key := svc.account("acc")
	type answer struct {
		code int
		body []byte
		err  error
	}
	answered := make(chan answer)
	go func() {
		code, body, err := svc.try("GET", hook+"/events?wait=30", key, "")
		answered <- answer{code, body, err}
	}()
	eventually(t, "the request to wait", func() bool { return metric(t, svc, "recapito_feed_waiting") == 1 })
	began := time.Now()
	svc.terminate()
	got := <-answered
	var feed struct {
		Events     []any
		NextCursor string
	}
	if err := json.Unmarshal(got.body, &feed); got.err != nil || err != nil || got.code != http.StatusOK || len(feed.Events) > 0 || feed.NextCursor == "" {
		t.Errorf("the waiting request: got %d %s (%v, %v), want 200, no events and a cursor", got.code, got.body, got.err, err)
	}
	t.Logf("the service ended after %v", time.Since(began))
}
