package dispatcher_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/recapito/recapito/store"
)

// slowStore puts time, and trouble on demand, between a store and the
// dispatcher: what it answers is as old as that, what it has committed can be
// read before the listener is told of it, and what the listener is told has
// happened before. Writes happen one after the other, as with a real store.
type slowStore struct {
	store.Store
	listener store.Listener
	turn     chan struct{} // held by the write under way

	mu      sync.Mutex
	dead    bool   // its process was killed
	n       int    // calls so far
	trouble string // one of the troubles; every third call meets it
	waiting []func(store.Listener)
	told    map[string]*told // by account
	others
}

// The troubles that a store may have.
const (
	failingReads = "reads fail"
	refused      = "writes are refused"          // rolled back: nobody is told
	lost         = "commits are lost"            // and the store cannot know it
	doubtful     = "commits happen all the same" // and the store cannot know it
	// failingForOne: what is to be written of the first account's deliveries fails,
	// each time, and what is written with it.
	failingForOne = "writes for a0 fail"
)

// told is what the listener knows of an account's webhook.
type told struct {
	webhook, before *store.Webhook
	at              time.Time
	term            int       // counts the changes but for those of the secret
	committed       time.Time // when that was
	changed         time.Time // the last change that the listener cannot take for another
	// anew: the listener has not been told of a change yet, so that a page can
	// hide from it what has changed.
	anew bool
}

var errTrouble = errors.New("the store has trouble")

func newSlowStore(s store.Store) *slowStore {
	return &slowStore{Store: s, turn: make(chan struct{}, 1), told: map[string]*told{}, others: newOthers()}
}

// reopened is the store of the next process, which will be told of nothing
// that happened before.
func (s *slowStore) reopened(kept store.Store) *slowStore {
	next := newSlowStore(kept)
	s.mu.Lock()
	defer s.mu.Unlock()
	next.n, next.trouble = s.n, s.trouble
	next.shared, next.away, next.recording, next.refused = s.shared, maps.Clone(s.away), s.recording, s.refused
	for account, t := range s.told {
		next.told[account] = &told{at: t.at, term: t.term, changed: t.changed, committed: t.committed}
		if w, err := kept.Webhook(context.Background(), account); err == nil {
			next.told[account].webhook = &w
		}
	}
	return next
}

// die keeps what its process still does from the store and the listener.
func (s *slowStore) die() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
}

func (s *slowStore) isDead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

// Listen implements [store.Queue].
func (s *slowStore) Listen(l store.Listener) {
	s.listener = l
	for _, t := range s.told {
		t.anew = true
	}
	s.Store.Listen((*earlier)(s))
}

// earlier is the listener of the store itself.
type earlier slowStore

func (s *earlier) later(tell func(store.Listener)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, tell)
}

func (s *earlier) Accepted(batch []store.Acceptance) {
	s.later(func(store.Listener) { (*slowStore)(s).handOver(batch) })
}

func (s *earlier) Replayed(w *store.Webhook, seqs []int64) {
	s.later(func(l store.Listener) {
		if (*slowStore)(s).owned(w.AccountID) {
			l.Replayed(w, seqs)
		}
	})
}

func (s *earlier) ReplayStarted() { s.later(func(l store.Listener) { l.ReplayStarted() }) }

func (s *earlier) WebhookChanged(account string, w *store.Webhook) {
	committed := time.Now()
	s.later(func(l store.Listener) {
		if (*slowStore)(s).owned(account) {
			(*slowStore)(s).tell(account, w, committed)
			l.WebhookChanged(account, w)
		}
	})
}

func (s *earlier) HealthChanged(changes []store.HealthChange) {
	s.later(func(l store.Listener) { l.HealthChanged(changes) })
}

func (s *earlier) Uncertain(accounts []string) {
	s.later(func(l store.Listener) { l.Uncertain(accounts) })
}

func (s *earlier) Gained()        { panic("there is one process") }
func (s *earlier) Freed([]string) { panic("there is one process") }

func (s *earlier) Lost(func(string) bool) (<-chan struct{}, func() []string) {
	panic("there is one process")
}

func (s *slowStore) tell(account string, w *store.Webhook, committed time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &told{webhook: w, at: time.Now()}
	if last := s.told[account]; last != nil {
		t.before, t.term, t.changed, t.committed = last.webhook, last.term, last.changed, last.committed
	}
	b := t.before
	changed := b == nil || w == nil || b.ID != w.ID || bytes.Equal(b.Secret, w.Secret)
	if changed {
		t.changed, t.committed = t.at, committed
	}
	if changed || s.told[account].anew {
		t.term++
	}
	s.told[account] = t
}

func (s *slowStore) toldOf(account string) told {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.told[account]; t != nil {
		return *t
	}
	return told{}
}

// next counts a call and returns the trouble that it has, of those given.
func (s *slowStore) next(troubles ...string) (string, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	pause := time.Duration(s.n%5) * time.Millisecond
	for _, t := range troubles {
		if t == s.trouble && s.n%3 == 0 {
			return t, pause
		}
	}
	return "", pause
}

func (s *slowStore) failsForOne() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble == failingForOne
}

// works reports whether the store has no trouble with an account.
func (s *slowStore) works(account int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble == "" || (s.trouble == failingForOne && account != 0)
}

func (s *slowStore) setTrouble(t string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = t
}

func slowRead[T any](s *slowStore, read func() (T, error)) (T, error) {
	trouble, pause := s.next(failingReads)
	time.Sleep(pause)
	if trouble != "" || s.isDead() {
		var none T
		return none, errTrouble
	}
	defer time.Sleep(pause)
	return read()
}

// slowWrite does a write of which the listener is told something of some accounts,
// or of nobody.
func slowWrite[T any](s *slowStore, write func() (T, error), accounts ...string) (result T, err error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	trouble, pause := s.next(refused, lost, doubtful)
	time.Sleep(pause)
	if trouble == refused || s.isDead() {
		return result, errTrouble
	}
	if trouble != lost {
		result, err = write()
		time.Sleep(pause) // on disk, and nobody has been told
	}
	s.mu.Lock()
	waiting, hiding, dead := s.waiting, s.hiding, s.dead
	s.waiting, s.hiding = nil, nil
	s.mu.Unlock()
	if dead {
		return result, errTrouble
	}
	if trouble != "" {
		s.show(hiding...)
		if accounts = slices.DeleteFunc(accounts, func(a string) bool { return !s.owned(a) }); len(accounts) > 0 {
			s.listener.Uncertain(accounts)
		}
		return result, errTrouble
	}
	for _, tell := range waiting {
		tell(s.listener)
	}
	return result, err
}

func (s *slowStore) PendingAccounts(ctx context.Context, after string, limit int) ([]string, error) {
	return slowRead(s, func() ([]string, error) {
		accounts, err := s.Store.PendingAccounts(ctx, after, limit)
		return slices.DeleteFunc(accounts, func(a string) bool { return !s.owned(a) }), err
	})
}

func (s *slowStore) Backlog(ctx context.Context, q store.BacklogQuery) (store.Backlog, error) {
	return slowRead(s, func() (store.Backlog, error) { return s.backlog(ctx, q) })
}

func (s *slowStore) Oldest(ctx context.Context, account string) (store.Backlog, error) {
	return slowRead(s, func() (store.Backlog, error) { return s.oldest(ctx, account) })
}

func (s *slowStore) Accept(ctx context.Context, events []store.Event, now time.Time) ([]store.Verdict, error) {
	return slowWrite(s, func() ([]store.Verdict, error) {
		s.hide(events)
		return s.Store.Accept(ctx, events, now)
	}, events[0].AccountID)
}

func (s *slowStore) Record(ctx context.Context, outcomes []store.Outcome, now time.Time) error {
	if s.failsForOne() && slices.ContainsFunc(outcomes, func(o store.Outcome) bool { return o.Delivery.AccountID == name(0) }) {
		return errTrouble
	}
	s.recording(outcomes)
	_, err := slowWrite(s, unlessFenced(s, func() (struct{}, error) { return struct{}{}, s.Store.Record(ctx, outcomes, now) }))
	if errors.Is(err, store.ErrFenced) {
		for i := range outcomes {
			s.refused(&outcomes[i])
		}
	}
	return err
}

func (s *slowStore) RecordHealth(ctx context.Context, changes []store.HealthChange) error {
	if s.failsForOne() && slices.ContainsFunc(changes, func(c store.HealthChange) bool { return c.AccountID == name(0) }) {
		return errTrouble
	}
	_, err := slowWrite(s, unlessFenced(s, func() (struct{}, error) { return struct{}{}, s.Store.RecordHealth(ctx, changes) }))
	return err
}

func (s *slowStore) MakeDue(ctx context.Context, account string, now time.Time, limit int) (int, error) {
	return slowWrite(s, unlessFenced(s, func() (int, error) { return s.Store.MakeDue(ctx, account, now, limit) }))
}

func (s *slowStore) Expire(ctx context.Context, account string, before, now time.Time, limit int) (int, error) {
	return slowWrite(s, unlessFenced(s, func() (int, error) { return s.Store.Expire(ctx, account, before, now, limit) }))
}

func (s *slowStore) Cancel(ctx context.Context, account string, now time.Time, limit int) (int, error) {
	return slowWrite(s, unlessFenced(s, func() (int, error) { return s.Store.Cancel(ctx, account, now, limit) }))
}

func (s *slowStore) CreateWebhook(ctx context.Context, w store.Webhook) (store.Webhook, error) {
	return slowWrite(s, func() (store.Webhook, error) { return s.Store.CreateWebhook(ctx, w) }, w.AccountID)
}

func (s *slowStore) ReplaceCallbackURL(ctx context.Context, account, url string, now time.Time) (store.Webhook, error) {
	return slowWrite(s, func() (store.Webhook, error) { return s.Store.ReplaceCallbackURL(ctx, account, url, now) }, account)
}

func (s *slowStore) RotateSecret(ctx context.Context, account string, secret []byte, until, now time.Time) (store.Webhook, error) {
	return slowWrite(s, func() (store.Webhook, error) { return s.Store.RotateSecret(ctx, account, secret, until, now) }, account)
}

func (s *slowStore) Replay(ctx context.Context, account, event string, now time.Time) error {
	_, err := slowWrite(s, func() (struct{}, error) { return struct{}{}, s.Store.Replay(ctx, account, event, now) }, account)
	return err
}

func (s *slowStore) StartReplay(ctx context.Context, r store.BulkReplay) error {
	_, err := slowWrite(s, func() (struct{}, error) { return struct{}{}, s.Store.StartReplay(ctx, r) })
	return err
}

func (s *slowStore) RunningReplays(ctx context.Context, after string, limit int) ([]string, error) {
	return slowRead(s, func() ([]string, error) {
		accounts, err := s.Store.RunningReplays(ctx, after, limit)
		return slices.DeleteFunc(accounts, func(a string) bool { return !s.owned(a) }), err
	})
}

func (s *slowStore) ContinueReplay(ctx context.Context, account string, now time.Time, limit int) (bool, error) {
	return slowWrite(s, unlessFenced(s, func() (bool, error) { return s.Store.ContinueReplay(ctx, account, now, limit) }), account)
}

func (s *slowStore) SuspendWebhook(ctx context.Context, seen store.Webhook, now time.Time) error {
	if s.failsForOne() && seen.AccountID == name(0) {
		return errTrouble
	}
	_, err := slowWrite(s, unlessFenced(s, func() (struct{}, error) { return struct{}{}, s.Store.SuspendWebhook(ctx, seen, now) }), seen.AccountID)
	return err
}

func (s *slowStore) DeleteWebhook(ctx context.Context, account string, now time.Time) error {
	_, err := slowWrite(s, func() (struct{}, error) { return struct{}{}, s.Store.DeleteWebhook(ctx, account, now) }, account)
	return err
}
