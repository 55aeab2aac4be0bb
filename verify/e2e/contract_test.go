package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The four operations: every state × credential × body gives the status of the
// contract.
func TestMatrixOfTheFourOperations(t *testing.T) {
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"))
	good := callback("https://example.com/status")
	bodies := []struct {
		name, body string
		valid      bool
	}{
		{"valid", good, true},
		{"scheme in capitals", callback("HTTPS://example.com/status"), true},
		{"none", "", false},
		{"empty object", "{}", false},
		{"null", "null", false},
		{"broken", `{"callbackUrl":`, false},
		{"twice", `{"callbackUrl":"https://a.example.com","callbackUrl":"https://b.example.com"}`, false},
		{"wrong case", `{"callbackURL":"https://example.com"}`, false},
		{"trailing", good + "x", false},
		{"http", callback("http://example.com/status"), false},
		{"private", callback("https://10.0.0.1/"), false},
		{"userinfo", callback("https://a:b@example.com/"), false},
		{"too long", callback("https://example.com/" + strings.Repeat("x", 2048)), false},
		{"oversized", `{"callbackUrl":"` + strings.Repeat("x", 10<<20) + `"}`, false},
	}
	states := []struct {
		name  string
		setUp func(key string)
	}{
		{"none", func(string) {}},
		{"active", func(key string) { svc.api("POST", hook, key, good) }},
		{"deleted", func(key string) { svc.api("POST", hook, key, good); svc.api("DELETE", hook, key, "") }},
	}
	credentials := []string{"right", "", "wrong", "rcp_malformed", "platform"}
	n := 0
	for _, state := range states {
		for _, body := range bodies {
			for _, credential := range credentials {
				for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
					n++
					key := svc.account(fmt.Sprint("acc_", n))
					state.setUp(key)
					want := wantStatus(method, state.name == "active", credential == "right", body.valid)
					switch credential {
					case "right":
					case "platform":
						key = bearer
					default:
						key = credential
					}
					code, answer := svc.api(method, hook, key, body.body)
					if code != want {
						t.Errorf("%s with state %s, credential %q, body %s: %d, want %d (%s)", method, state.name, credential, body.name, code, want, answer)
					}
					if code >= 400 && !isProblem(answer, code) {
						t.Errorf("%s with state %s, credential %q, body %s: %d with %s, want a problem", method, state.name, credential, body.name, code, answer)
					}
				}
			}
		}
	}
}

func wantStatus(method string, exists, authenticated, valid bool) int {
	switch {
	case !authenticated:
		return 401
	case (method == "POST" || method == "PUT") && !valid:
		return 400
	case method == "POST" && exists:
		return 409
	case method == "POST":
		return 201
	case !exists:
		return 404
	case method == "DELETE":
		return 204
	}
	return 200
}

func isProblem(answer []byte, status int) bool {
	var p struct {
		Title  string
		Status int
	}
	return json.Unmarshal(answer, &p) == nil && p.Status == status && p.Title != ""
}

func TestOneOfManyConcurrentCreatesWins(t *testing.T) {
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"))
	for round := range 10 {
		key := svc.account(fmt.Sprint("acc_", round))
		var mu sync.Mutex
		got := map[int]int{}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				code, _, err := svc.try("POST", hook, key, callback("https://example.com/status"))
				if err != nil {
					code = 0
				}
				mu.Lock()
				defer mu.Unlock()
				got[code]++
			})
		}
		wg.Wait()
		if got[201] != 1 || got[409] != 49 {
			t.Errorf("round %d: statuses %v, want one 201 and 49 times 409", round, got)
		}
	}
}

// settled is well beyond the time that a request already on its way needs.
const settled = time.Second

func TestAfterPutAndDeleteNothingGoesToTheOldURL(t *testing.T) {
	ca := newAuthority(t)
	old, next := newSink(t, ca), newSink(t, ca)
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file, "--retry-schedule", "100ms,100ms,100ms,100ms,1h")
	key := svc.account("acc")
	svc.register(old, "acc", key)
	old.answer = func(_ string, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) } // so that there are retries

	stop := make(chan struct{})
	var feeder sync.WaitGroup
	feeder.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				svc.try("POST", "/events", bearer, batch([]string{event("acc", fmt.Sprint("e", i), fmt.Sprint("m", i), "SENT")}))
			}
		}
	})
	defer func() { close(stop); feeder.Wait() }()

	eventually(t, "callbacks to the old URL", func() bool { return old.count("") > 5 })
	if code, answer := svc.api("PUT", hook, key, callback(next.url("acc"))); code != 200 {
		t.Fatalf("PUT: %d %s", code, answer)
	}
	time.Sleep(settled) // not to wait for something: for the absence of something
	before := old.count("")
	eventually(t, "callbacks to the new URL", func() bool { return next.count("") > 200 })
	if got := old.count(""); got != before {
		t.Errorf("%d callbacks to the old URL after PUT had returned, want none", got-before)
	}
	if code, answer := svc.api("DELETE", hook, key, ""); code != 204 {
		t.Fatalf("DELETE: %d %s", code, answer)
	}
	time.Sleep(settled)
	before = next.count("")
	time.Sleep(settled)
	if got := next.count(""); got != before {
		t.Errorf("%d callbacks after DELETE had returned, want none", got-before)
	}
}
