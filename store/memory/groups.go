package memory

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// group is a replay of several accounts with how far it has come.
type group struct {
	store.ReplayGroup
	after string // accounts up to this one have had their turn
}

// StartReplayGroup implements [store.Replays].
func (s *Store) StartReplayGroup(_ context.Context, g store.ReplayGroup) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.runningGroup() != nil {
		return store.ErrConflict
	}
	own := &group{ReplayGroup: g}
	own.Accounts, own.Asked, own.State = slices.Clone(g.Accounts), bytes.Clone(g.Asked), store.ReplayRunning
	s.groups = append(s.groups, own)
	if s.listener != nil {
		s.listener.ReplayStarted()
	}
	return nil
}

// runningGroup is the one that goes on; nil: there is none.
func (s *Store) runningGroup() *group {
	i := slices.IndexFunc(s.groups, func(g *group) bool { return g.EndedAt.IsZero() })
	if i < 0 {
		return nil
	}
	return s.groups[i]
}

// ReplayGroups implements [store.Replays].
func (s *Store) ReplayGroups(_ context.Context, limit int) (found []store.ReplayGroup, err error) {
	if err := s.lock(); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for _, g := range slices.Backward(s.groups) {
		if len(found) < limit {
			found = append(found, s.showGroup(g))
		}
	}
	return found, nil
}

// ReplayGroup implements [store.Replays].
func (s *Store) ReplayGroup(_ context.Context, id string) (store.ReplayGroup, error) {
	if err := s.lock(); err != nil {
		return store.ReplayGroup{}, err
	}
	defer s.mu.Unlock()
	for _, g := range s.groups {
		if g.ID == id {
			return s.showGroup(g), nil
		}
	}
	return store.ReplayGroup{}, store.ErrNotFound
}

func (s *Store) showGroup(g *group) store.ReplayGroup {
	out := g.ReplayGroup
	for _, b := range s.bulks {
		if b.GroupID == g.ID {
			r := s.showBulk(b)
			out.Sum.Add(&r)
		}
	}
	return out
}

// StopReplayGroup implements [store.Replays].
func (s *Store) StopReplayGroup(_ context.Context, id string, now time.Time) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	for _, g := range s.groups {
		if g.ID != id {
			continue
		}
		if g.EndedAt.IsZero() {
			g.State, g.EndedAt = store.ReplayStopped, now
		}
		for _, b := range s.bulks {
			if b.GroupID == id {
				s.endBulk(b, store.ReplayStopped, now)
			}
		}
		return nil
	}
	return store.ErrNotFound
}

// ContinueReplayGroup implements [store.Upkeep].
func (s *Store) ContinueReplayGroup(_ context.Context, now time.Time, limit int) (running, worked bool, err error) {
	if err := s.lock(); err != nil {
		return false, false, err
	}
	defer s.mu.Unlock()
	g := s.runningGroup()
	if g == nil {
		return false, false, nil
	}
	sum := s.showGroup(g).Sum
	next := s.nextAccounts(g, min(limit, store.MaxGroupRunning-int(sum.Running)))
	switch {
	case len(next) > 0:
	case sum.Running == 0:
		g.State, g.EndedAt = store.ReplayDone, now
		return false, true, nil
	default:
		return true, false, nil
	}
	for _, account := range next {
		g.after = account
		_, known := s.accounts[account]
		if !known || s.webhook(account) == nil || s.running(account) != nil {
			g.Skipped++
			continue
		}
		s.bulks = append(s.bulks, &bulk{BulkReplay: store.BulkReplay{
			ID: store.MemberID(g.ID, account), AccountID: account, GroupID: g.ID, Query: g.Query, Asked: bytes.Clone(g.Asked), StartedAt: g.StartedAt, State: store.ReplayCounting,
		}})
	}
	return true, true, nil
}

// nextAccounts are up to limit of a group's accounts that have not had their turn.
func (s *Store) nextAccounts(g *group, limit int) (next []string) {
	all := g.Accounts
	if all == nil {
		all = slices.Sorted(maps.Keys(s.accounts))
	}
	for _, account := range all {
		if account > g.after && len(next) < limit {
			next = append(next, account)
		}
	}
	return next
}
