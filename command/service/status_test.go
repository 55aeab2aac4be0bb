package service

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

// TestLastMinuteIsCounted: what is older than a minute is counted no more, and a commit
// that failed never is.
func TestLastMinuteIsCounted(t *testing.T) {
	var l lately
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	if diff := cmp.Diff(gen.MinuteOfService{}, l.show(at)); diff != "" {
		t.Errorf("of nothing (-want +got):\n%s", diff)
	}
	l.committed(at, store.Commit{Events: 10, Duration: 4 * time.Millisecond})
	l.attempted(dispatcher.Observation{Now: at, Outcome: "ACKNOWLEDGED"})
	at = at.Add(50 * time.Second)
	l.committed(at, store.Commit{Events: 5, Outcomes: 2, Duration: 2 * time.Millisecond})
	l.committed(at, store.Commit{Events: 5, Err: errors.New("full")})
	l.attempted(dispatcher.Observation{Now: at, Outcome: "TIMEOUT"})
	want := gen.MinuteOfService{Accepted: 15, Acknowledged: 1, Failed: 1, Commits: 2, CommitMs: gen.CommitTimes{Mean: new(3.0), Longest: new(4.0)}}
	if diff := cmp.Diff(want, l.show(at)); diff != "" {
		t.Errorf("both (-want +got):\n%s", diff)
	}
	want = gen.MinuteOfService{Accepted: 5, Failed: 1, Commits: 1, CommitMs: gen.CommitTimes{Mean: new(2.0), Longest: new(2.0)}}
	if diff := cmp.Diff(want, l.show(at.Add(15*time.Second))); diff != "" {
		t.Errorf("the second alone (-want +got):\n%s", diff)
	}
}
