package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// feed hands the events in, in batches, by so many at a time; each of a feed's
// events must be accepted.
func feed(t *testing.T, svc *service, feeders int, batches [][]string) {
	t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range feeders {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(batches) {
					return
				}
				code, answer, err := svc.try("POST", "/events", bearer, batch(batches[i]))
				if err != nil || code != 202 || !strings.Contains(string(answer), fmt.Sprintf(`"accepted":%d`, len(batches[i]))) {
					t.Errorf("POST /events: %d %.300s %v, want 202 with all accepted", code, answer, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// provision makes so many accounts with a webhook, and returns their keys.
func provision(t *testing.T, svc *service, to *sink, n int) []string {
	t.Helper()
	keys := make([]string, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				keys[i] = svc.account(acc(i))
				svc.register(to, acc(i), keys[i])
			}
		})
	}
	wg.Wait()
	return keys
}

func acc(i int) string { return fmt.Sprintf("acc_%04d", i) }

// 100,000 events over 1,000 accounts arrive exactly once each, in order per
// message, signed; history agrees with the receiver.
func TestHundredThousandEventsArriveOnceAndInOrder(t *testing.T) {
	const accounts, messages, perMessage = 1000, 25, 4 // 100 events an account
	ca := newAuthority(t)
	to := newSink(t, ca)
	// However slow the machine is, no request is to fail for it, and be made again.
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file, againSoon, "--attempt-timeout", "1h", "--order-wait", "24h")
	keys := provision(t, svc, to, accounts)

	// One batch has an account's whole traffic of one step, so that the order
	// of a message's events is the order of the batches that a feeder sends.
	statuses := []string{"ACCEPTED", "SENT", "DELIVERED", "READ"}
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for step := range perMessage {
				var batches [][]string
				for a := part; a < accounts; a += 4 {
					var events []string
					for m := range messages {
						events = append(events, event(acc(a), fmt.Sprintf("e-%d-%d-%d", a, m, step), fmt.Sprint("m", m), statuses[step]))
					}
					batches = append(batches, events)
				}
				var merged [][]string
				for c := range slices.Chunk(batches, 20) {
					merged = append(merged, slices.Concat(c...))
				}
				feed(t, svc, 1, merged)
			}
		})
	}
	wg.Wait()
	eventuallyCounts(t, "callbacks", accounts*messages*perMessage, func() int { return to.count("") })
	eventuallyCounts(t, "outcomes", accounts*messages*perMessage, func() int { return int(metric(t, svc, `recapito_deliveries{state="DELIVERED"}`)) })

	for a := range accounts {
		checkArrivals(t, to.of(acc(a)), messages*perMessage)
		checkHistory(t, svc, keys[a], to.of(acc(a)))
		if t.Failed() {
			return
		}
	}
}

func checkArrivals(t *testing.T, arrivals []arrival, want int) {
	t.Helper()
	seen := map[string]bool{}
	sequence := map[string]float64{}
	for _, a := range arrivals {
		if a.Verified != nil {
			t.Errorf("%s: signature: %v", a.ID, a.Verified)
		}
		if seen[a.ID] {
			t.Errorf("%s arrived twice", a.ID)
		}
		seen[a.ID] = true
		var e struct {
			MessageID string
			Sequence  float64
		}
		if err := json.Unmarshal([]byte(a.Body), &e); err != nil {
			t.Errorf("%s: body %s: %v", a.ID, a.Body, err)
		}
		if e.Sequence != sequence[e.MessageID]+1 {
			t.Errorf("%s: sequence %v of %s after %v", a.ID, e.Sequence, e.MessageID, sequence[e.MessageID])
		}
		sequence[e.MessageID] = e.Sequence
	}
	if len(arrivals) != want {
		t.Errorf("%d arrivals, want %d", len(arrivals), want)
	}
}

// checkHistory compares what the account can read with what arrived.
func checkHistory(t *testing.T, svc *service, key string, arrivals []arrival) {
	t.Helper()
	listed := map[string]string{}
	cursor := ""
	for {
		code, answer := svc.api("GET", hook+"/deliveries?limit=40&cursor="+cursor, key, "")
		if cursor == "" {
			code, answer = svc.api("GET", hook+"/deliveries?limit=40", key, "")
		}
		var page struct {
			Deliveries []struct{ EventID, State string }
			NextCursor *string
		}
		if err := json.Unmarshal(answer, &page); err != nil || code != 200 {
			t.Fatalf("deliveries: %d %s", code, answer)
		}
		for _, d := range page.Deliveries {
			listed[d.EventID] = d.State
		}
		if page.NextCursor == nil || *page.NextCursor == "" {
			break
		}
		cursor = *page.NextCursor
	}
	for _, a := range arrivals {
		if listed[a.ID] != "DELIVERED" {
			t.Errorf("history says %q of %s, which arrived", listed[a.ID], a.ID)
		}
		delete(listed, a.ID)
	}
	if len(listed) > 0 {
		t.Errorf("history has %d deliveries that did not arrive", len(listed))
	}
}

// metric reads one value of /metrics.
func metric(t *testing.T, svc *service, name string) float64 {
	t.Helper()
	resp, err := http.Get(svc.ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("/metrics has no %s", name)
	return 0
}

// 200 concurrent mixed clients for a minute, against a server with the race
// detector: no 5xx, no wrong status, no data race.
func TestMixedClientsForAMinute(t *testing.T) {
	const clients, accounts = 200, 20
	ca := newAuthority(t)
	to := newSink(t, ca)
	svc := serve(t, build(t, true), filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file)
	keys := make([]string, accounts)
	for i := range keys {
		keys[i] = svc.account(acc(i))
	}
	var requests atomic.Int64
	deadline := time.Now().Add(time.Minute)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for time.Now().Before(deadline) && !t.Failed() {
				requests.Add(1)
				mixedRequest(t, svc, to, keys)
			}
		})
	}
	wg.Wait()
	t.Logf("%d requests, %d callbacks", requests.Load(), to.count(""))
	if to.count("") == 0 {
		t.Error("no callback arrived")
	}
	svc.terminate()
	if log := svc.log.String(); strings.Contains(log, "DATA RACE") {
		t.Errorf("the race detector found:\n%.5000s", log)
	}
}

func mixedRequest(t *testing.T, svc *service, to *sink, keys []string) {
	i := rand.IntN(len(keys))
	key, account := keys[i], acc(i)
	id := strconv.FormatInt(rand.Int64N(1e6), 10)
	for _, c := range []struct {
		weight                         int
		method, path, credential, body string
		want                           []int
	}{
		{20, "GET", hook, key, "", []int{200, 404}},
		{10, "POST", hook, key, callback(to.url(account)), []int{201, 409}},
		{10, "PUT", hook, key, callback(to.url(account)), []int{200, 404}},
		{3, "DELETE", hook, key, "", []int{204, 404}},
		{5, "POST", hook, key, `{"callbackUrl":"http://example.com"}`, []int{400}},
		{5, "GET", hook, "wrong", "", []int{401}},
		{2, "POST", hook + "/signing-secret", key, "", []int{200, 201, 404, 429}}, // 429: ten old secrets sign already
		{15, "POST", "/events", bearer, batch([]string{event(account, id, "m"+id[:1], "SENT"), event(account, id+"x", "m"+id, "READ")}), []int{202}},
		{5, "POST", "/events", bearer, `{"events":[]}`, []int{400}},
		{10, "GET", hook + "/deliveries?limit=20", key, "", []int{200}},
		{5, "GET", hook + "/deliveries/" + id, key, "", []int{200, 404}},
		{5, "PATCH", hook, key, "{}", []int{405}},
		{5, "GET", "/nowhere", key, "", []int{404}},
	} {
		if rand.IntN(100) >= c.weight {
			continue
		}
		code, answer, err := svc.try(c.method, c.path, c.credential, c.body)
		if err != nil || !slices.Contains(c.want, code) {
			t.Errorf("%s %s: %d %.300s %v, want one of %v", c.method, c.path, code, answer, err, c.want)
		}
	}
}

// With 500 of 1,000 endpoints hanging, the healthy 500 get their events while
// the others hang.
func TestHalfOfAllEndpointsHang(t *testing.T) {
	const accounts, perAccount = 1000, 20
	ca := newAuthority(t)
	to := newSink(t, ca)
	end := make(chan struct{})
	defer close(end)
	to.answer = func(account string, w http.ResponseWriter, r *http.Request) {
		if n, _ := strconv.Atoi(account[len(account)-1:]); n%2 == 0 {
			select {
			case <-end:
			case <-r.Context().Done():
			}
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file, againSoon)
	provision(t, svc, to, accounts)
	var batches [][]string
	for step := range perAccount {
		var events []string
		for a := range accounts {
			events = append(events, event(acc(a), fmt.Sprintf("e-%d-%d", a, step), fmt.Sprint("m", step), "SENT"))
		}
		batches = append(batches, events)
	}
	feed(t, svc, 2, batches)
	eventuallyCounts(t, "callbacks to healthy endpoints", accounts/2*perAccount, func() (n int) {
		for a := 1; a < accounts; a += 2 {
			n += min(to.count(acc(a)), perAccount)
		}
		return n
	})
	if got := metric(t, svc, `recapito_deliveries{state="PENDING"}`); got < accounts/2*perAccount {
		t.Errorf("%v deliveries are PENDING, want the %d of the hanging endpoints", got, accounts/2*perAccount)
	}
}

// TestIdleServiceIsLight: of its own, an idle service has 25 MiB at most. The pages of the
// binary, some 30 MiB, come beside it: how many are resident is the page cache's choice.
func TestIdleServiceIsLight(t *testing.T) {
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", svc.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			if kib >= 25<<10 {
				t.Errorf("an idle service has %d KiB of its own, want less than 25 MiB", kib)
			}
			return
		}
	}
	t.Fatal("no RssAnon")
}
