package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
)

// pair is two nodes of one database, as one store: what any node can do is done by each
// in turn, and the rest by the node that has all accounts. Its listener is told what
// either is told, when both have taken in what the other has done.
type pair struct {
	*Store // the other methods
	nodes  [2]*Store
	turn   int
	has    atomic.Int32 // the node that has all accounts
	heard  gathered
}

func newPair(t *testing.T, url string, q store.Quota) *pair {
	p := &pair{}
	for i := range p.nodes {
		p.nodes[i] = open(t, url, func(c *Config) {
			c.Quota, c.holdAfter = q, time.Millisecond
			c.share = func(int) int {
				if int(p.has.Load()) == i {
					return numShards
				}
				return 0
			}
		})
		p.nodes[i].Listen(&p.heard)
	}
	p.Store = p.nodes[0]
	return p
}

// next is the node whose turn it is.
func (p *pair) next() *Store {
	p.turn++
	return p.nodes[p.turn%2]
}

func (p *pair) owner() *Store { return p.nodes[p.has.Load()] }

func (p *pair) Listen(l store.Listener) { p.heard.to = l }

// settle returns when each node knows of everything, and tells the listener.
func (p *pair) settle() {
	ctx := context.Background()
	for _, s := range p.nodes {
		_ = s.w.do(ctx, func(*txn) error { return nil }) // so that its stream ends behind everything
	}
	for _, s := range p.nodes {
		for !p.knows(ctx, s) {
			s.lookAtOnce()
			time.Sleep(time.Millisecond)
		}
	}
	p.heard.tell()
}

func (p *pair) knows(ctx context.Context, s *Store) bool {
	var changes, accepted int64
	err := errors.Join(s.one(ctx, `SELECT changes FROM cluster`, nil, &changes), s.one(ctx, `SELECT coalesce(max(seq), 0) FROM deliveries`, nil, &accepted))
	var stats counts
	err = errors.Join(err, s.one(ctx, `SELECT sum(pending)::bigint, sum(delivered)::bigint, sum(failed)::bigint, sum(cancelled)::bigint FROM nodes`, nil, &stats[0], &stats[1], &stats[2], &stats[3]))
	got := s.Stats().Deliveries
	for i, state := range states {
		if got[state] != stats[i] {
			return false
		}
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	return err == nil && s.w.applied.Load() >= changes && s.streams.least() >= accepted && !s.streams.behind
}

// Reopen lets the other node have all accounts, one of them later than the others, or the
// connection of the one that has them be lost. Failures in a row are known to the node that
// has made the last attempt.
func (p *pair) Reopen() error {
	if p.turn%4 < 2 || p.fails() {
		return reopening{p.owner()}.Reopen()
	}
	p.heard.begin("a")
	p.has.Store(1 - p.has.Load())
	s := p.owner()
	for ; len(s.shards.in(owned)) < numShards; time.Sleep(time.Millisecond) {
		s.lookAtOnce()
	}
	if !s.held.awaits("a") {
		return errors.New("the next node does not await an account of which something is under way")
	}
	for p.heard.end(); s.held.awaits("a"); time.Sleep(time.Millisecond) {
		s.lookAtOnce()
	}
	return nil
}

func (p *pair) fails() bool {
	for _, account := range []string{"a", "b", store.Operations} {
		if v, err := p.Store.Vitals(context.Background(), account, time.Now()); err != nil || v.InARow > 0 {
			return true
		}
	}
	return false
}

// gathered is what the nodes tell until the next settle.
type gathered struct {
	listener
	mu       sync.Mutex
	to       store.Listener
	accepted []store.Acceptance
	rest     []func(store.Listener)
}

func (g *gathered) Accepted(batch []store.Acceptance) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range batch {
		a.Foreign, a.Read = false, time.Time{} // both are one store
		g.accepted = append(g.accepted, a)
	}
}

func (g *gathered) later(tell func(store.Listener)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rest = append(g.rest, tell)
}

func (g *gathered) WebhookChanged(account string, w *store.Webhook) {
	g.later(func(l store.Listener) { l.WebhookChanged(account, w) })
}

func (g *gathered) Replayed(w *store.Webhook, seqs []int64) {
	g.later(func(l store.Listener) { l.Replayed(w, seqs) })
}

func (g *gathered) ReplayStarted() { g.later(store.Listener.ReplayStarted) }

func (g *gathered) HealthChanged(changes []store.HealthChange) {
	g.later(func(l store.Listener) { l.HealthChanged(changes) })
}

func (g *gathered) tell() {
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.SortFunc(g.accepted, func(a, b store.Acceptance) int { return cmp.Compare(a.Delivery.Seq, b.Delivery.Seq) })
	if g.to != nil && len(g.accepted) > 0 {
		g.to.Accepted(g.accepted)
	}
	for _, tell := range g.rest {
		if g.to != nil {
			tell(g.to)
		}
	}
	g.accepted, g.rest = nil, nil
}

// What any node does.

func (p *pair) PutAccount(ctx context.Context, id string, now time.Time) (store.Account, bool, error) {
	return p.next().PutAccount(ctx, id, now)
}

func (p *pair) DeleteAccount(ctx context.Context, id string) error {
	defer p.settle()
	return p.next().DeleteAccount(ctx, id)
}

func (p *pair) CreateWebhook(ctx context.Context, w store.Webhook) (store.Webhook, error) {
	defer p.settle()
	return p.next().CreateWebhook(ctx, w)
}

func (p *pair) ReplaceCallbackURL(ctx context.Context, accountID, callbackURL string, now time.Time) (store.Webhook, error) {
	defer p.settle()
	return p.next().ReplaceCallbackURL(ctx, accountID, callbackURL, now)
}

func (p *pair) RotateSecret(ctx context.Context, accountID string, secret []byte, until, now time.Time) (store.Webhook, error) {
	defer p.settle()
	return p.next().RotateSecret(ctx, accountID, secret, until, now)
}

func (p *pair) DeleteWebhook(ctx context.Context, accountID string, now time.Time) error {
	defer p.settle()
	return p.next().DeleteWebhook(ctx, accountID, now)
}

func (p *pair) Accept(ctx context.Context, events []store.Event, now time.Time) ([]store.Verdict, error) {
	defer p.settle()
	return p.next().Accept(ctx, events, now)
}

func (p *pair) Replay(ctx context.Context, accountID, eventID string, now time.Time) error {
	defer p.settle()
	return p.next().Replay(ctx, accountID, eventID, now)
}

func (p *pair) StartReplay(ctx context.Context, r store.BulkReplay) error {
	defer p.settle()
	return p.next().StartReplay(ctx, r)
}

func (p *pair) StopReplay(ctx context.Context, accountID, id string, now time.Time) error {
	return p.next().StopReplay(ctx, accountID, id, now)
}

func (p *pair) Webhook(ctx context.Context, accountID string) (store.Webhook, error) {
	return p.next().Webhook(ctx, accountID)
}

func (p *pair) Events(ctx context.Context, q store.FeedQuery) (store.FeedPage, error) {
	return p.next().Events(ctx, q)
}

func (p *pair) Vitals(ctx context.Context, accountID string, now time.Time) (store.Vitals, error) {
	return p.next().Vitals(ctx, accountID, now)
}

func (p *pair) Stats() store.Stats { return p.next().Stats() }

// What the node does that has the accounts.

func (p *pair) PendingAccounts(ctx context.Context, after string, limit int) ([]string, error) {
	return p.owner().PendingAccounts(ctx, after, limit)
}

func (p *pair) RunningReplays(ctx context.Context, after string, limit int) ([]string, error) {
	return p.owner().RunningReplays(ctx, after, limit)
}

func (p *pair) Backlog(ctx context.Context, q store.BacklogQuery) (store.Backlog, error) {
	return p.owner().Backlog(ctx, q)
}

func (p *pair) Oldest(ctx context.Context, accountID string) (store.Backlog, error) {
	return p.owner().Oldest(ctx, accountID)
}

func (p *pair) Record(ctx context.Context, outcomes []store.Outcome, now time.Time) error {
	defer p.settle()
	return p.owner().Record(ctx, outcomes, now)
}

func (p *pair) RecordHealth(ctx context.Context, changes []store.HealthChange) error {
	defer p.settle()
	return p.owner().RecordHealth(ctx, changes)
}

func (p *pair) SuspendWebhook(ctx context.Context, seen store.Webhook, now time.Time) error {
	defer p.settle()
	return p.owner().SuspendWebhook(ctx, seen, now)
}

func (p *pair) MakeDue(ctx context.Context, accountID string, now time.Time, limit int) (int, error) {
	return p.owner().MakeDue(ctx, accountID, now, limit)
}

func (p *pair) Expire(ctx context.Context, accountID string, before, now time.Time, limit int) (int, error) {
	defer p.settle()
	return p.owner().Expire(ctx, accountID, before, now, limit)
}

func (p *pair) Cancel(ctx context.Context, accountID string, now time.Time, limit int) (int, error) {
	defer p.settle()
	return p.owner().Cancel(ctx, accountID, now, limit)
}

func (p *pair) Sweep(ctx context.Context, now time.Time, retention time.Duration, limit int) (int, error) {
	defer p.settle()
	return p.owner().Sweep(ctx, now, retention, limit)
}

func (p *pair) Notify(ctx context.Context, now time.Time, limit int) (int, error) {
	defer p.settle()
	return p.owner().Notify(ctx, now, limit)
}

func (p *pair) ContinueReplay(ctx context.Context, accountID string, now time.Time, limit int) (bool, error) {
	defer p.settle()
	return p.owner().ContinueReplay(ctx, accountID, now, limit)
}

// Close closes both.
func (p *pair) Close() error { return errors.Join(p.nodes[0].Close(), p.nodes[1].Close()) }
