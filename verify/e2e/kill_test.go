package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// kill -9 at a random moment under load, 50 times: every event answered 202
// arrives; a repeat has the same webhook-id and the same bytes.
func TestKillLosesNothing(t *testing.T) {
	const rounds, accounts = 50, 20
	ca := newAuthority(t)
	to := newSink(t, ca)
	to.answer = func(_ string, w http.ResponseWriter, _ *http.Request) {
		if rand.IntN(50) == 0 {
			w.WriteHeader(http.StatusInternalServerError) // so that there are retries to be lost
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
	bin, db := build(t, false), filepath.Join(t.TempDir(), "recapito.db")
	flags := []string{"--callback-ca", ca.file, "--retry-schedule", "50ms,200ms,1s,1s,1s,1s,1s,1s,1s,1s"}
	svc := serve(t, bin, db, flags...)
	provision(t, svc, to, accounts)

	accepted := map[string]bool{} // answered 202
	for round := range rounds {
		feedUntilKilled(t, svc, round, accounts, accepted)
		svc = serve(t, bin, db, flags...)
	}
	eventuallyCounts(t, "accepted events", len(accepted), func() int { return len(accepted) - missing(to, accounts, accepted) })
	eventually(t, "the backlog to be empty", func() bool { return metric(t, svc, "recapito_backlog") == 0 })

	repeats := 0
	for a := range accounts {
		bodies := map[string]string{}
		for _, got := range to.of(acc(a)) {
			if got.Verified != nil {
				t.Errorf("%s: signature: %v", got.ID, got.Verified)
			}
			if body, ok := bodies[got.ID]; ok {
				repeats++
				if body != got.Body {
					t.Errorf("%s came again with other bytes:\n%s\n%s", got.ID, body, got.Body)
				}
			}
			bodies[got.ID] = got.Body
		}
	}
	t.Logf("%d events accepted over %d kills, %d arrivals more than once", len(accepted), rounds, repeats)
	if len(accepted) < rounds*10 {
		t.Errorf("only %d events accepted: not under load", len(accepted))
	}
}

// feedUntilKilled feeds from four clients and kills the service at a random
// moment; it adds what was answered 202.
func feedUntilKilled(t *testing.T, svc *service, round, accounts int, accepted map[string]bool) {
	t.Helper()
	var mu sync.Mutex
	var feeders sync.WaitGroup
	for f := range 4 {
		feeders.Go(func() {
			for n := 0; ; n++ {
				var events, ids []string
				for i := range 25 {
					id := fmt.Sprintf("e-%d-%d-%d-%d", round, f, n, i)
					ids = append(ids, id)
					events = append(events, event(acc(rand.IntN(accounts)), id, fmt.Sprintf("m-%d-%d-%d", round, f, n), "SENT"))
				}
				code, answer, err := svc.try("POST", "/events", bearer, batch(events))
				if err != nil {
					return // killed
				}
				if code != 202 {
					t.Errorf("POST /events: %d %s", code, answer)
					return
				}
				mu.Lock()
				for _, id := range ids {
					accepted[id] = true
				}
				mu.Unlock()
			}
		})
	}
	time.Sleep(50*time.Millisecond + rand.N(350*time.Millisecond)) // the random moment
	svc.kill()
	feeders.Wait()
}

func missing(to *sink, accounts int, accepted map[string]bool) int {
	arrived := map[string]bool{}
	for a := range accounts {
		for _, got := range to.of(acc(a)) {
			arrived[got.ID] = true
		}
	}
	n := 0
	for id := range accepted {
		if !arrived[id] {
			n++
		}
	}
	return n
}
