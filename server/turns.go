package server

import (
	"context"
	"sync"
)

// turns lets one request of each account at a time do something, in any order.
// Requests of other accounts do not wait for it.
type turns struct {
	mu       sync.Mutex
	accounts map[string]*turn // those that have or want a turn
}

type turn struct {
	free chan struct{} // holds a token while nobody has the turn
	used int           // how many have it or wait for it
}

func newTurns() *turns { return &turns{accounts: map[string]*turn{}} }

// take waits for the account's turn, or for the end of ctx.
func (t *turns) take(ctx context.Context, account string) (done func(), err error) {
	t.mu.Lock()
	own := t.accounts[account]
	if own == nil {
		own = &turn{free: make(chan struct{}, 1)}
		own.free <- struct{}{}
		t.accounts[account] = own
	}
	own.used++
	t.mu.Unlock()
	select {
	case <-own.free:
		return func() {
			own.free <- struct{}{}
			t.leave(account, own)
		}, nil
	case <-ctx.Done():
		t.leave(account, own)
		return nil, ctx.Err()
	}
}

func (t *turns) leave(account string, own *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own.used--; own.used == 0 {
		delete(t.accounts, account)
	}
}
