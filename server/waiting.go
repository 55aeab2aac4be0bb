package server

import (
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

// How many requests may wait for events: of an account, and of all.
const (
	maxWaitingOfAccount = 32
	maxWaiting          = 256
)

var errTooManyWaiting = &refusal{
	status: http.StatusTooManyRequests, code: gen.ProblemCodeTOOMANYWAITING, detail: "Too many requests wait for events. Read without wait, or try again after Retry-After.",
	header: map[string]string{"Retry-After": "1"},
}

// waiting wakes the requests that wait for events of an account. While there are
// none, it costs an atomic read for each batch that is handed in.
type waiting struct {
	most     int
	tell     func(n int)
	total    atomic.Int32
	mu       sync.Mutex
	accounts map[string]*waiters
}

// waiters are those of one account.
type waiters struct {
	waiting *waiting
	account string
	n       int
	woken   chan struct{} // closed, and replaced, when there is something to read
}

func newWaiting(most int, tell func(n int)) *waiting {
	return &waiting{most: most, tell: tell, accounts: map[string]*waiters{}}
}

// join fails with [errTooManyWaiting]. What is accepted after it wakes.
func (w *waiting) join(account string) (*waiters, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.accounts[account]
	if a == nil {
		a = &waiters{waiting: w, account: account, woken: make(chan struct{})}
	}
	if a.n == maxWaitingOfAccount || int(w.total.Load()) >= w.most {
		return nil, errTooManyWaiting
	}
	w.accounts[account] = a
	a.n++
	w.tell(int(w.total.Add(1)))
	return a, nil
}

func (a *waiters) leave() {
	a.waiting.mu.Lock()
	defer a.waiting.mu.Unlock()
	a.waiting.tell(int(a.waiting.total.Add(-1)))
	if a.n--; a.n == 0 {
		delete(a.waiting.accounts, a.account)
	}
}

// next is closed at the next wake.
func (a *waiters) next() <-chan struct{} {
	a.waiting.mu.Lock()
	defer a.waiting.mu.Unlock()
	return a.woken
}

// wake wakes those who wait for events of the accounts of a batch.
func (w *waiting) wake(batch []store.Event) {
	if w.total.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	last := ""
	for i := range batch {
		account := batch[i].AccountID
		if a := w.accounts[account]; a != nil && account != last {
			close(a.woken)
			a.woken = make(chan struct{})
		}
		last = account
	}
}
