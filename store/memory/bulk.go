package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// bulk is a bulk replay with how far it has come.
type bulk struct {
	store.BulkReplay
	at  store.Place
	all bool // everything has been replayed
}

// StartReplay implements [store.Replays].
func (s *Store) StartReplay(_ context.Context, r store.BulkReplay) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	_, known := s.accounts[r.AccountID]
	switch {
	case !known:
		return store.ErrNotFound
	case s.webhook(r.AccountID) == nil:
		return store.ErrNoWebhook
	case s.running(r.AccountID) != nil:
		return store.ErrConflict
	}
	b := &bulk{BulkReplay: r}
	b.Asked, b.State = bytes.Clone(r.Asked), store.ReplayCounting
	s.bulks = append(s.bulks, b)
	if s.listener != nil {
		s.listener.ReplayStarted()
	}
	return nil
}

// running is the account's bulk replay that goes on; nil: there is none.
func (s *Store) running(accountID string) *bulk {
	i := slices.IndexFunc(s.bulks, func(b *bulk) bool { return b.AccountID == accountID && b.EndedAt.IsZero() })
	if i < 0 {
		return nil
	}
	return s.bulks[i]
}

// endBulk ends it, if it goes on.
func (s *Store) endBulk(b *bulk, state store.ReplayState, now time.Time) {
	if b != nil && b.EndedAt.IsZero() {
		b.State, b.EndedAt = state, now
	}
}

func (s *Store) bulk(accountID, id string) *bulk {
	i := slices.IndexFunc(s.bulks, func(b *bulk) bool { return b.AccountID == accountID && b.ID == id })
	if i < 0 {
		return nil
	}
	return s.bulks[i]
}

// BulkReplay implements [store.Replays].
func (s *Store) BulkReplay(_ context.Context, accountID, id string) (store.BulkReplay, error) {
	if err := s.lock(); err != nil {
		return store.BulkReplay{}, err
	}
	defer s.mu.Unlock()
	b := s.bulk(accountID, id)
	if b == nil {
		return store.BulkReplay{}, store.ErrNotFound
	}
	return s.showBulk(b), nil
}

// BulkReplays implements [store.Replays].
func (s *Store) BulkReplays(_ context.Context, accountID string, limit int) (found []store.BulkReplay, err error) {
	if err := s.lock(); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for _, b := range s.bulks {
		if b.AccountID == accountID {
			found = append(found, s.showBulk(b))
		}
	}
	slices.SortStableFunc(found, func(a, b store.BulkReplay) int {
		return cmp.Or(b.StartedAt.Compare(a.StartedAt), cmp.Compare(b.ID, a.ID))
	})
	return found[:min(limit, len(found))], nil
}

// StopReplay implements [store.Replays].
func (s *Store) StopReplay(_ context.Context, accountID, id string, now time.Time) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	b := s.bulk(accountID, id)
	if b == nil {
		return store.ErrNotFound
	}
	s.endBulk(b, store.ReplayStopped, now)
	return nil
}

func (s *Store) showBulk(b *bulk) store.BulkReplay {
	r := b.BulkReplay
	r.Asked = bytes.Clone(r.Asked)
	if r.EndedAt.IsZero() {
		r.Waiting = s.waitingReplays(r.AccountID)
	}
	return r
}

func (s *Store) waitingReplays(accountID string) (n int64) {
	s.pending(accountID, func(r *row) bool {
		if r.IsReplay() && !r.Begun() {
			n++
		}
		return true
	})
	return n
}

// RunningReplays implements [store.Upkeep].
func (s *Store) RunningReplays(_ context.Context, after string, limit int) (accounts []string, err error) {
	if err := s.lock(); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for _, b := range s.bulks {
		if b.EndedAt.IsZero() && b.AccountID > after {
			accounts = append(accounts, b.AccountID)
		}
	}
	slices.Sort(accounts)
	return accounts[:min(limit, len(accounts))], nil
}

// ContinueReplay implements [store.Upkeep].
func (s *Store) ContinueReplay(_ context.Context, accountID string, now time.Time, limit int) (worked bool, err error) {
	if err := s.lock(); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	b := s.running(accountID)
	switch {
	case b == nil:
		return false, nil
	case b.State == store.ReplayCounting:
		b.Matched = int64(len(s.matching(b)))
		b.State = store.ReplayRunning
		return true, nil
	case b.all && s.waitingReplays(accountID) == 0:
		s.endBulk(b, store.ReplayDone, now)
		return true, nil
	case b.all || s.waitingReplays(accountID) >= int64(limit):
		return false, nil
	}
	found := s.matching(b)
	b.all = len(found) <= limit
	found = found[:min(limit, len(found))]
	var seqs []int64
	w := s.webhook(accountID)
	for _, r := range found {
		b.at = placeOf(r)
		seqs = append(seqs, r.Seq)
		s.replay(r, w, now)
	}
	b.Replayed += int64(len(seqs))
	if len(seqs) > 0 {
		s.tellReplayed(w, seqs)
	}
	return true, nil
}

// matching are the rows that a bulk replay lists beyond its place, oldest first.
func (s *Store) matching(b *bulk) (found []*row) {
	q := deliveryQuery{b.Asks(b.at, 0)}
	for _, r := range s.rows {
		if q.selects(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *row) int { return q.compare(placeOf(a), placeOf(b)) })
	return found
}
