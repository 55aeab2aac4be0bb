package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Two nodes serve a database, and each gets half of the events of all accounts. One is
// killed under load; a third one comes, and one is asked to end. Nothing is lost, what
// was recorded is not repeated, messages keep their order, and a callback URL that was
// put at one node is used by the other.
func TestPostgresNodesLoseNothing(t *testing.T) {
	const accounts = 20
	to, bin, url, flags := onPostgres(t)
	first := serve(t, bin, url, flags...)
	second := serve(t, bin, url, flags...)
	keys := provision(t, second, to, accounts)
	load := &nodesLoad{t: t, accepted: map[string]bool{}}
	load.to(first, second)

	load.run(4, accounts, func() {
		load.await(500)
		first.kill()
		load.to(second, second)
		load.await(500)
	})
	eventuallyCounts(t, "accepted events", len(load.accepted), func() int { return len(load.accepted) - missing(to, accounts, load.accepted) })
	killed := repeats(t, to, accounts)

	third := serve(t, bin, url, flags...)
	load.to(second, third)
	load.run(4, accounts, func() {
		load.await(500)
		load.to(third, third)
		second.terminate()
		load.await(500)
	})
	eventuallyCounts(t, "accepted events", len(load.accepted), func() int { return len(load.accepted) - missing(to, accounts, load.accepted) })
	eventually(t, "the backlog to be empty", func() bool { return metric(t, third, "recapito_backlog") == 0 })
	if n := repeats(t, to, accounts) - killed; n > 0 {
		t.Errorf("%d callbacks were repeated though a node was asked to end, want none", n)
	}
	checkMessages(t, to, accounts)

	fourth := serve(t, bin, url, flags...)
	for i := range accounts {
		at := []*service{third, fourth}[i%2]
		code, answer, err := at.try("PUT", "/webhooks/delivery-status", keys[i], fmt.Sprintf(`{"callbackUrl":%q}`, to.url(acc(i)+"/moved")))
		if err != nil || code != http.StatusOK {
			t.Fatalf("PUT: %d %s (%v)", code, answer, err)
		}
		e := event(acc(i), "moved-"+acc(i), "moved", "SENT")
		if code, answer, err := third.try("POST", "/events", bearer, batch([]string{e})); err != nil || code != http.StatusAccepted {
			t.Fatalf("POST /events: %d %s (%v)", code, answer, err)
		}
	}
	for i := range accounts {
		eventually(t, "the callback at the new URL", func() bool { return len(to.of(acc(i)+"/moved")) == 1 })
		for _, got := range to.of(acc(i)) {
			if strings.HasPrefix(got.ID, "moved-") {
				t.Errorf("%s: a callback was sent to the old URL after the PUT", acc(i))
			}
		}
	}
	t.Logf("%d events accepted, %d callbacks repeated after the kill", len(load.accepted), killed)
}

// nodesLoad hands in events at two nodes.
type nodesLoad struct {
	t        *testing.T
	nodes    atomic.Pointer[[2]*service]
	runs     int
	mu       sync.Mutex
	accepted map[string]bool
	count    atomic.Int64
}

func (l *nodesLoad) to(a, b *service) { l.nodes.Store(&[2]*service{a, b}) }

// run hands in while do runs. What a node has not answered goes to the next one.
func (l *nodesLoad) run(feeders, accounts int, do func()) {
	l.runs++
	stop := make(chan struct{})
	var all sync.WaitGroup
	for f := range feeders {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				l.hand(fmt.Sprintf("%d-%d-%d", l.runs, f, n), accounts, f+n)
			}
		})
	}
	defer all.Wait()
	defer close(stop)
	do()
}

// hand hands in five batches of the same messages, in turn at each node.
func (l *nodesLoad) hand(name string, accounts, turn int) {
	first := rand.IntN(accounts)
	for part := range 5 {
		var events, ids []string
		for i := range 10 {
			id := fmt.Sprintf("e-%s-%02d", name, part*10+i)
			ids, events = append(ids, id), append(events, event(acc((first+i%2)%accounts), id, "m-"+name, "SENT"))
		}
		for try := 0; ; try++ {
			code, answer, err := l.nodes.Load()[(turn+part+try)%2].try("POST", "/events", bearer, batch(events))
			if code == http.StatusAccepted && err == nil {
				break
			}
			if err == nil && code != http.StatusServiceUnavailable || try > 1000 {
				l.t.Errorf("POST /events: %d %s (%v)", code, answer, err)
				return
			}
			time.Sleep(10 * time.Millisecond) // it has been killed, or ends
		}
		l.mu.Lock()
		for _, id := range ids {
			l.accepted[id] = true
		}
		l.mu.Unlock()
		l.count.Add(int64(len(ids)))
	}
}

// await returns when so many more have been accepted.
func (l *nodesLoad) await(n int64) {
	want := l.count.Load() + n
	eventually(l.t, "events to be accepted", func() bool { return l.count.Load() >= want })
}

// repeats counts callbacks beyond the first of their event. Each must be a first attempt:
// the one before was not recorded.
func repeats(t *testing.T, to *sink, accounts int) (n int) {
	t.Helper()
	for a := range accounts {
		seen := map[string]bool{}
		for _, got := range to.of(acc(a)) {
			if seen[got.ID] {
				n++
				if got.Attempt != "1" {
					t.Errorf("%s: %s was repeated as attempt %s, after one that was recorded", acc(a), got.ID, got.Attempt)
				}
			}
			seen[got.ID] = true
		}
	}
	return n
}

// checkMessages fails where the events of a message have not come in order.
func checkMessages(t *testing.T, to *sink, accounts int) {
	t.Helper()
	for a := range accounts {
		last, seen := map[string]string{}, map[string]bool{}
		for _, got := range to.of(acc(a)) {
			message := got.ID[:strings.LastIndexByte(got.ID, '-')]
			if !seen[got.ID] && got.ID < last[message] {
				t.Errorf("%s: %s came after %s", acc(a), got.ID, last[message])
			}
			seen[got.ID] = true
			last[message] = max(last[message], got.ID)
		}
	}
}
