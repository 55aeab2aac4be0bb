package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/recapito/recapito/verify/rig"
)

// This file holds the webhook of an account to being one thing, whichever node is asked:
// what POST, PUT, DELETE and GET were answered must be what they would be answered one
// after the other, in an order in which none comes before one that had ended when it
// began.

const (
	historyAccounts = 8 // at a time, beside those of the load
	historyClients  = 3 // of each
	// historyTime is for how long an account is asked about, then another one: an order of
	// many requests is not found within historyLimit.
	historyTime = 20 * time.Second
	faultsOnce  = 10 * time.Minute // more than each fault once takes
	historyGap  = 150 * time.Millisecond
	// historyBackoff is how long a client waits, on average, after a request without an
	// answer: each of those doubles the orders that are possible.
	historyBackoff = 2 * time.Second
	// historyLimit is how long an order may be looked for.
	historyLimit = time.Minute
)

// asked is a request, and told what it was answered. The status 0 is no answer, or an
// error of the service: it may have been done.
type (
	asked struct{ method, url string }
	told  struct {
		status int
		url    string
	}
)

// webhookModel is a register that holds a callback URL, or none.
var webhookModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		want, next := register(state.(string), input.(asked))
		got := output.(told)
		return got.status == 0 || got == want, next
	},
}

// register is what a webhook answers to a request, and what it is afterwards.
func register(url string, a asked) (told, string) {
	exists := url != ""
	switch {
	case a.method == http.MethodPost && !exists:
		return told{http.StatusCreated, a.url}, a.url
	case a.method == http.MethodPost:
		return told{status: http.StatusConflict}, url
	case !exists:
		return told{status: http.StatusNotFound}, url
	case a.method == http.MethodPut:
		return told{http.StatusOK, a.url}, a.url
	case a.method == http.MethodDelete:
		return told{status: http.StatusNoContent}, ""
	}
	return told{http.StatusOK, url}, url
}

// histories are of some accounts.
type histories struct {
	c     *cluster
	begun time.Time
	keys  []string
	stop  chan struct{}
	all   sync.WaitGroup
	mu    sync.Mutex
	ops   [][]porcupine.Operation // of each account
}

func (c *cluster) startHistories() (*histories, error) {
	n := historyAccounts * (1 + int((faultsOnce+c.lab.Mix)/historyTime))
	keys, err := c.nodes[0].service.Load().RegisterAll(clusterAccounts, n, func(i int) string { return c.url(i, 0) })
	if err != nil {
		return nil, err
	}
	h := &histories{c: c, begun: time.Now(), keys: keys, stop: make(chan struct{})}
	for a := range keys {
		url := c.url(clusterAccounts+a, 0)
		h.ops = append(h.ops, []porcupine.Operation{{Input: asked{http.MethodPost, url}, Output: told{http.StatusCreated, url}}})
	}
	for place := range historyAccounts {
		for client := range historyClients {
			h.all.Go(func() { h.ask(place, client) })
		}
	}
	return h, nil
}

// account is the one at a place that is asked about now.
func (h *histories) account(place int) int {
	last := len(h.keys)/historyAccounts - 1
	return place + historyAccounts*min(last, int(time.Since(h.begun)/historyTime))
}

// ask asks nodes about the webhooks of the accounts at a place, one request after the other.
func (h *histories) ask(place, client int) {
	gap := 2 * historyGap
	for version := client + 1; ; version += historyClients {
		select {
		case <-h.stop:
			return
		case <-time.After(rand.N(gap)):
		}
		gap = 2 * historyGap
		in := asked{method: []string{http.MethodGet, http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}[rand.IntN(5)]}
		account := h.account(place)
		var body []byte
		if in.method == http.MethodPost || in.method == http.MethodPut {
			in.url = h.c.url(clusterAccounts+account, version)
			body = fmt.Appendf(nil, `{"callbackUrl":%q}`, in.url)
		}
		op := porcupine.Operation{ClientId: client, Input: in, Call: time.Now().UnixNano()}
		code, answer, err := h.c.any().Call(in.method, webhookPath, h.keys[account], body)
		op.Return = time.Now().UnixNano()
		out := told{status: code}
		switch {
		case err != nil || code >= http.StatusInternalServerError:
			gap = 2 * historyBackoff
			if in.method == http.MethodGet {
				continue
			}
			out.status, op.Return = 0, math.MaxInt64
		case code == http.StatusOK || code == http.StatusCreated:
			var w struct{ CallbackURL string }
			_ = json.Unmarshal(answer, &w) // else it is not what was put
			out.url = w.CallbackURL
		}
		op.Output = out
		h.mu.Lock()
		h.ops[account] = append(h.ops[account], op)
		h.mu.Unlock()
	}
}

// end ends the requests, and says how many there were, about how many webhooks. It fails if they
// are in no order.
func (h *histories) end() (n, webhooks, unknown int, err error) {
	close(h.stop)
	h.all.Wait()
	var errs []error
	for a, ops := range h.ops {
		if len(ops) == 1 {
			continue // its time had not come
		}
		n, webhooks = n+len(ops), webhooks+1
		for _, op := range ops {
			if op.Output.(told).status == 0 {
				unknown++
			}
		}
		ops = bounded(ops)
		switch porcupine.CheckOperationsTimeout(webhookModel, ops, historyLimit) {
		case porcupine.Illegal:
			errs = append(errs, fmt.Errorf("what nodes answered about the webhook of %s is in no order, from this on: %s", rig.Account(clusterAccounts+a), firstIllegal(ops)))
		case porcupine.Unknown:
			errs = append(errs, h.c.lab.late("whether %d requests about a webhook are in an order was not found in %v", len(ops), historyLimit))
		}
	}
	return n, webhooks, unknown, errors.Join(errs...)
}

// bounded limits when the unanswered requests may have been done, and thereby in how many
// orders they may be: as each URL is put by one request, that was done before an answer
// that tells the URL came. A PUT of a URL that no answer tells is left out: nothing that was
// answered depends on it.
func bounded(ops []porcupine.Operation) (rest []porcupine.Operation) {
	toldAt := map[string]int64{} // when an answer that tells a URL came first
	for _, op := range ops {
		if out := op.Output.(told); op.Input.(asked).method == http.MethodGet && out.url != "" {
			if at, is := toldAt[out.url]; !is || op.Return < at {
				toldAt[out.url] = op.Return
			}
		}
	}
	for _, op := range ops {
		in := op.Input.(asked)
		at, is := toldAt[in.url]
		switch unanswered := op.Output.(told).status == 0; {
		case unanswered && is:
			op.Return = max(op.Call, at)
		case unanswered && in.method == http.MethodPut:
			continue
		}
		rest = append(rest, op)
	}
	return rest
}

// firstIllegal tells the request whose answer leaves no order, and those shortly before.
func firstIllegal(ops []porcupine.Operation) string {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	n, _ := slices.BinarySearchFunc(ops, true, func(last porcupine.Operation, _ bool) int {
		if porcupine.CheckOperationsTimeout(webhookModel, until(ops, last.Return), historyLimit) == porcupine.Illegal {
			return 0
		}
		return -1
	})
	if n == len(ops) {
		return "an unanswered one"
	}
	var b strings.Builder
	end := ops[n].Return
	prefix := until(ops, end)
	slices.SortFunc(prefix, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	for _, op := range prefix[max(0, len(prefix)-12):] {
		in, out := op.Input.(asked), op.Output.(told)
		fmt.Fprintf(&b, "\n  client %d, from %d ms on for %d ms: %s %s: %d %s", op.ClientId, (op.Call-end)/1e6, (op.Return-op.Call)/1e6, in.method, in.url, out.status, out.url)
	}
	return b.String()
}

// until is what was known at a time.
func until(ops []porcupine.Operation, end int64) (prefix []porcupine.Operation) {
	for _, op := range ops {
		if op.Call > end {
			continue
		}
		if op.Return > end {
			op.Output, op.Return = told{}, math.MaxInt64
		}
		prefix = append(prefix, op)
	}
	return prefix
}
