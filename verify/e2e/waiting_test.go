package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// waiting is what an account sees of a PENDING delivery.
type waiting struct {
	EventID       string
	State         string
	NextAttemptAt *time.Time
	WaitingFor    string
	// WaitingForEventID is the event that it is behind.
	WaitingForEventID string
}

// TestWaitingForIsTrue asks a running service for a delivery that waits in each
// of the ways that there are. The attempts and their gaps are long, so that
// nothing depends on how fast the machine is.
func TestWaitingForIsTrue(t *testing.T) {
	ca := newAuthority(t)
	to := newSink(t, ca)
	release := make(chan struct{})
	defer close(release)
	var repaired atomic.Bool
	to.answer = func(account string, w http.ResponseWriter, r *http.Request) {
		switch {
		case account == "hangs":
			<-release
		case account == "gone":
			w.WriteHeader(http.StatusGone)
			return
		case account != "breaks" || !repaired.Load():
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"),
		"--callback-ca", ca.file, "--retry-schedule", "1h,2h", "--attempt-timeout", "10m", "--order-wait", "10h")
	hand := func(account string, messages ...string) (key string) {
		key = svc.account(account)
		svc.register(to, account, key)
		var events []string
		for i, m := range messages {
			events = append(events, event(account, fmt.Sprint(account, "-", i), m, "SENT"))
		}
		if code, answer := svc.api("POST", "/events", bearer, batch(events)); code != http.StatusAccepted {
			t.Fatalf("POST /events: %d %s", code, answer)
		}
		return key
	}
	var ten []string
	for i := range 12 {
		ten = append(ten, fmt.Sprint("m", i))
	}
	hangs, gone, fails, breaks := hand("hangs", "m", "m", "n"), hand("gone", "m", "n"), hand("fails", "m", "m"), hand("breaks", ten...)

	probed := map[string]string{"breaks-0": "PROBE at a time"}
	for i := 1; i < len(ten); i++ {
		probed[fmt.Sprint("breaks-", i)] = "PROBE"
	}
	for _, tt := range []struct {
		account, key string
		want         map[string]string
	}{
		{"breaks", breaks, probed},
		{"hangs", hangs, map[string]string{"hangs-0": "IN_FLIGHT", "hangs-1": "EARLIER_EVENT hangs-0", "hangs-2": "QUEUE"}},
		{"gone", gone, map[string]string{"gone-0": "SUSPENDED", "gone-1": "SUSPENDED"}},
		{"fails", fails, map[string]string{"fails-0": "RETRY at a time", "fails-1": "EARLIER_EVENT fails-0"}},
	} {
		var got, alone map[string]string
		eventually(t, tt.account+" to wait", func() bool {
			got, alone = svc.waits(tt.key)
			return t.Failed() || cmp.Equal(tt.want, got) && cmp.Equal(tt.want, alone)
		})
		repaired.Store(true) // the next probe finds out
	}
	code, answer := svc.api("GET", hook+"/deliveries/fails-0", fails, "")
	var d struct {
		NextAttemptAt time.Time
		Attempts      []struct{ At time.Time }
	}
	if err := json.Unmarshal(answer, &d); err != nil || code != http.StatusOK || len(d.Attempts) != 1 {
		t.Fatalf("GET the delivery that failed: %d %s, %v", code, answer, err)
	}
	if gap := d.NextAttemptAt.Sub(d.Attempts[0].At); gap < 50*time.Minute || gap > 90*time.Minute {
		t.Errorf("the retry is %v after the failure, want 1h ±10 %%", gap)
	}

	eventually(t, "what waited for the probe to arrive", func() bool {
		got, _ := svc.waits(breaks)
		return len(got) == 0
	})
}

// waits says what the PENDING deliveries of an account wait for, in the listing
// and read one by one. No time may be in the past.
func (s *service) waits(key string) (listed, alone map[string]string) {
	s.t.Helper()
	listed, alone = map[string]string{}, map[string]string{}
	read := func(path string, into any) {
		if code, answer := s.api("GET", hook+"/deliveries"+path, key, ""); code != http.StatusOK || json.Unmarshal(answer, into) != nil {
			s.t.Fatalf("GET deliveries%s: %d %s", path, code, answer)
		}
	}
	show := func(d *waiting, asked time.Time, into map[string]string) {
		words := strings.TrimSpace(d.WaitingFor + " " + d.WaitingForEventID)
		if d.NextAttemptAt != nil {
			words += " at a time"
			if d.NextAttemptAt.Before(asked) {
				s.t.Errorf("%s: nextAttemptAt %v is in the past, asked at %v", d.EventID, d.NextAttemptAt, asked)
			}
		}
		if d.State == "PENDING" {
			into[d.EventID] = words
		} else if words != "" {
			s.t.Errorf("%s is %s, and waits for %q", d.EventID, d.State, words)
		}
	}
	var page struct{ Deliveries []waiting }
	asked := time.Now()
	read("", &page)
	for i := range page.Deliveries {
		show(&page.Deliveries[i], asked, listed)
		var one waiting
		asked := time.Now()
		read("/"+page.Deliveries[i].EventID, &one)
		show(&one, asked, alone)
	}
	return listed, alone
}
