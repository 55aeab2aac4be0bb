package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

const hookPath = "/webhooks/delivery-status"

// console: what open consoles cost the service, and what the service's events and history
// cost a browser.
func console(l *lab) error {
	if err := l.manyConsoles(); err != nil {
		return err
	}
	if err := l.livePage(); err != nil {
		return err
	}
	return l.longList()
}

// manyConsoles: the first row of throughput beside open consoles and without them, in turn.
// The consoles are HTTP clients that ask what the page asks, as often.
func (l *lab) manyConsoles() error {
	var without, with, ratio, asked, p50, p99 figures
	for round := range l.Rounds {
		var rate [2]float64
		for i := range rate {
			open := (i + round) % 2 // each is the first as often
			m, c, err := l.consolesRound(open * l.Consoles)
			if err != nil {
				return err
			}
			if rate[open] = m.rate; open == 1 {
				median, late, _ := rig.Quantiles(c.took)
				asked, p50, p99 = append(asked, float64(len(c.took))/c.during.Seconds()), append(p50, millis(median)), append(p99, millis(late))
			}
		}
		without, with, ratio = append(without, rate[0]), append(with, rate[1]), append(ratio, rate[1]/rate[0])
	}
	l.table(fmt.Sprintf("%d open consoles, half on Status and half on Callbacks, beside 100 endpoints, batches of 100, 8 clients", l.Consoles),
		"delivered/s without", "with", "ratio", "aim", "requests/s of the consoles", "answered p50, ms", "p99, ms")
	l.row(without.show("%.0f"), with.show("%.0f"), ratio.show("%.2f"), "≥ 0.95", asked.show("%.0f"), p50.show("%.1f"), p99.show("%.1f"))
	return nil
}

// consolesRound is one run of the first row of throughput, four times as long, beside n
// consoles: they ask every few seconds.
func (l *lab) consolesRound(n int) (m throughputFigures, c *consoles, err error) {
	const accounts = 100
	r, err := l.begin()
	if err != nil {
		return m, nil, err
	}
	defer func() { err = r.end(err) }()
	if err := r.register(accounts, func(i int) string { return r.sink.Endpoint(rig.OK, i) }); err != nil {
		return m, nil, err
	}
	c = openConsoles(r.service.URL, r.keys, n)
	m, err = r.atFullSpeed(rig.Feed{Events: 4 * l.Events, Batch: 100, Clients: 8, Accounts: accounts})
	if failed := c.close(); err == nil {
		err = failed
	}
	return m, c, err
}

// consoles are HTTP clients that ask what open pages of the console ask.
type consoles struct {
	stop   context.CancelFunc
	ended  sync.WaitGroup
	failed atomic.Pointer[error]
	began  time.Time
	during time.Duration

	mu   sync.Mutex
	took []time.Duration
}

// poll is what a page asks for again and again, if the answer before has come.
type poll struct {
	path  string
	every time.Duration
}

// The pages of an account, as in server/console/app: useLive says how often.
var (
	statusPolls = []poll{
		{"/health", 5 * time.Second},
		{minutesPath, 10 * time.Second},
		{"/health/changes?limit=100", 10 * time.Second},
		{"", 10 * time.Second},
		{"/health/changes?limit=8", 15 * time.Second},
	}
	callbacksPolls = []poll{{"/deliveries?limit=50&payload=true", 4 * time.Second}}
)

// minutesPath is read as a whole once, and then from its last minute on.
const minutesPath = "/health/minutes"

// openConsoles opens n consoles of the accounts in turn, every other one on Callbacks. Their
// clocks are spread by chance.
func openConsoles(service string, keys []string, n int) *consoles {
	ctx, stop := context.WithCancel(context.Background())
	c := &consoles{stop: stop, began: time.Now()}
	for i := range n {
		// A browser has at most six connections to one origin.
		client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 6}}
		polls := statusPolls
		if i%2 == 1 {
			polls = callbacksPolls
		}
		for _, p := range polls {
			c.ended.Go(func() { c.follow(ctx, client, service+hookPath, keys[i/2%len(keys)], p) })
		}
	}
	return c
}

// close closes the consoles, and returns what failed first.
func (c *consoles) close() error {
	c.during = time.Since(c.began)
	c.stop()
	c.ended.Wait()
	if err := c.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (c *consoles) follow(ctx context.Context, client *http.Client, hook, key string, p poll) {
	wait := time.NewTimer(rand.N(p.every))
	defer wait.Stop()
	path := p.path
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		begin := time.Now()
		answer, err := get(ctx, client, hook+path, key)
		if ctx.Err() != nil {
			return
		}
		if err == nil && p.path == minutesPath {
			path, err = nextMinutes(answer)
		}
		if err != nil {
			c.failed.CompareAndSwap(nil, &err)
			return
		}
		took := time.Since(begin)
		c.mu.Lock()
		c.took = append(c.took, took)
		c.mu.Unlock()
		wait.Reset(p.every - took%p.every) // at its beat, of which those are left out that came meanwhile
	}
}

func nextMinutes(answer []byte) (path string, err error) {
	var minutes struct{ To time.Time }
	err = json.Unmarshal(answer, &minutes)
	return minutesPath + "?from=" + url.QueryEscape(minutes.To.Add(-time.Minute).Format(time.RFC3339)), err
}

func get(ctx context.Context, client *http.Client, address, key string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-API-Key", key)
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %d %s", address, resp.StatusCode, answer)
	}
	return answer, err
}
