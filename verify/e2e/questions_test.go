package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// bothStores are those that need no other service.
func bothStores(t *testing.T, ask func(t *testing.T, store string)) {
	t.Run("sqlite", func(t *testing.T) { ask(t, "sqlite:"+filepath.Join(t.TempDir(), "recapito.db")) })
	t.Run("memory", func(t *testing.T) { ask(t, "memory:") })
}

// asked makes one call of an account, and says so if that is refused.
func asked[T any](s *service, key, method, path string, want int) (answer T) {
	s.t.Helper()
	code, body := s.api(method, hook+path, key, "")
	if code != want {
		s.t.Fatalf("%s %s: %d %s, want %d", method, path, code, body, want)
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &answer); err != nil {
			s.t.Fatalf("%s %s: %s: %v", method, path, body, err)
		}
	}
	return answer
}

// why is what an account sees of how an attempt ended.
type why struct {
	EventID, Error, Detail string
	StatusCode             int
}

func (w why) words() string {
	words := []string{w.Error, w.Detail}
	if w.StatusCode != 0 {
		words = append(words, strconv.Itoa(w.StatusCode))
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// TestWhyDidItNotArrive asks it of a message, of endpoints that are broken in every
// way. One call has the kind and the detail, as soon as the attempt has ended.
func TestWhyDidItNotArrive(t *testing.T) {
	bin := build(t, false)
	bothStores(t, func(t *testing.T, store string) {
		f, other := newForge(t, "known"), newForge(t, "unknown")
		start := func(store string, limit time.Duration) *service {
			return serve(t, bin, "unused", "--callback-ca", f.file(t), "--attempt-timeout", limit.String(), "--store", store, "--retry-schedule", "1h")
		}
		services := map[bool]*service{false: start(store, willing), true: start(strings.Replace(store, ".db", "-hanging.db", 1), hanging)}
		var times []time.Duration
		for i, tt := range sickEndpoints(f, other) {
			t.Run(tt.name, func(t *testing.T) {
				svc := services[tt.hangs]
				account, message := fmt.Sprint("acc_", i), "message of "+tt.name
				key := svc.account(account)
				if code, answer := svc.api("POST", hook, key, callback(tt.open(t))); code != http.StatusCreated {
					t.Fatalf("register: %d %s", code, answer)
				}
				if code, answer := svc.api("POST", "/events", bearer, batch([]string{event(account, "evt", message, "SENT")})); code != http.StatusAccepted {
					t.Fatalf("POST /events: %d %s", code, answer)
				}
				began := time.Now()
				var got struct{ Attempts []why }
				eventually(t, "an attempt", func() bool {
					got = asked[struct{ Attempts []why }](svc, key, "GET", "/attempts?messageId="+url.QueryEscape(message), 200)
					return len(got.Attempts) > 0
				})
				took := time.Since(began)
				if tt.hangs {
					took -= hanging
				}
				times = append(times, took)
				if want := wordsOfAnAttempt(tt.came); !slices.Contains(want, got.Attempts[0].words()) {
					t.Errorf("got %q, want one of %q", got.Attempts[0].words(), want)
				}
				health := asked[struct {
					Summary     string
					LastFailure why
				}](svc, key, "GET", "/health", 200)
				if failed := got.Attempts[0].Error != ""; failed && health.LastFailure.words() != got.Attempts[0].words() || health.Summary == "" {
					t.Errorf("health: got %+v, want a sentence, and the same failure", health)
				}
			})
		}
		slices.Sort(times)
		t.Logf("%d times asked; answered, beyond what the endpoint took, in %v at the median, %v at most", len(times), times[len(times)/2], times[len(times)-1])
	})
}

// wordsOfAnAttempt are what an attempt has of the words of a test: it has no verdict, and
// does not wait beyond its deadline for an answer that is late.
func wordsOfAnAttempt(came string) (any []string) {
	words := strings.Fields(came)
	words = words[:len(words)-1]
	any = append(any, strings.Join(words, " "))
	if words[0] == "TIMEOUT" {
		any = append(any, strings.Join(words[:2], " "))
	}
	return any
}

// TestQuestionsOfAnAccountTakeOneCallEach asks those that are not about one message.
func TestQuestionsOfAnAccountTakeOneCallEach(t *testing.T) {
	bin := build(t, false)
	bothStores(t, func(t *testing.T, store string) {
		ca := newAuthority(t)
		to := newSink(t, ca)
		var repaired atomic.Bool
		to.answer = func(_ string, w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.Header.Get("webhook-id"), "bad_") && !repaired.Load() {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		}
		svc := serve(t, bin, "unused", "--callback-ca", ca.file, "--store", store, "--retry-horizon", "1s", "--callback-source", "203.0.113.0/28")
		key := svc.account("acc")
		svc.register(to, "acc", key)
		hourAgo := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
		feed(t, svc, 1, [][]string{{event("acc", "good_1", "m1", "SENT"), event("acc", "bad_1", "m2", "SENT"), event("acc", "bad_2", "m3", "SENT")}})
		eventually(t, "two to be given up", func() bool { return metric(t, svc, `recapito_deliveries{state="FAILED"}`) == 2 })

		type listed struct {
			Deliveries []struct {
				EventID        string
				LastError      string
				LastStatusCode int
			}
		}
		failed := asked[listed](svc, key, "GET", "/deliveries?state=FAILED&order=asc&failedSince="+hourAgo, 200)
		if got, want := fmt.Sprint(failed.Deliveries), "[{bad_1 HTTP_STATUS 418} {bad_2 HTTP_STATUS 418}]"; got != want {
			t.Errorf("failed in the last hour: got %s, want %s", got, want)
		}

		repaired.Store(true)
		before := to.countOf("bad_1")
		asked[any](svc, key, "POST", "/deliveries/bad_1/replay", 202)
		eventually(t, "the replay", func() bool { return to.countOf("bad_1") == before+1 })
		before = to.countOf("bad_2")
		if code, answer := svc.api("POST", hook+"/replays", key, "{}"); code != http.StatusAccepted {
			t.Fatalf("POST replays: %d %s", code, answer)
		}
		eventually(t, "the replay in bulk", func() bool { return to.countOf("bad_2") == before+1 })

		test := asked[struct{ Verdict, Advice string }](svc, key, "POST", "/test-event", 200)
		if test.Verdict != "ACKNOWLEDGED" || test.Advice == "" {
			t.Errorf("a test: got %+v, want that it arrived, and advice", test)
		}

		well := asked[struct {
			State, Summary string
			LastFailure    why
		}](svc, key, "GET", "/health", 200)
		if well.State == "" || well.Summary == "" || well.LastFailure.words() != "HTTP_STATUS 418" {
			t.Errorf("health: got %+v, want a state, a sentence, and the last failure", well)
		}

		asked[any](svc, key, "POST", "/signing-secret", 200)
		feed(t, svc, 1, [][]string{{event("acc", "good_2", "m4", "SENT")}})
		eventually(t, "a callback", func() bool { return to.countOf("good_2") == 1 })
		for _, a := range to.of("acc") {
			if a.Verified != nil {
				t.Errorf("%s does not verify by the secret of before the rotation: %v", a.ID, a.Verified)
			}
		}

		sources := asked[struct{ Networks []string }](svc, key, "GET", "/sources", 200)
		if !slices.Equal(sources.Networks, []string{"203.0.113.0/28"}) {
			t.Errorf("callbacks come from %v, want 203.0.113.0/28", sources.Networks)
		}

		made := to.count("acc") - 1 // the test is no attempt
		eventually(t, "all attempts", func() bool {
			return len(asked[struct{ Attempts []why }](svc, key, "GET", "/attempts?limit=100", 200).Attempts) == made
		})
	})
}

// countOf is how often an event has arrived.
func (s *sink) countOf(id string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, all := range s.arrivals {
		for _, a := range all {
			if a.ID == id {
				n++
			}
		}
	}
	return n
}
