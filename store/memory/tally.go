package memory

import (
	"context"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// tally is what is counted for an account now.
func (s *Store) tally(accountID string, now time.Time) *store.Tally {
	s.minute = max(s.minute, store.Minute(now))
	all := s.tallies[accountID]
	n := len(all)
	if n == 0 || all[n-1].Minute < s.minute {
		next := &store.MinuteTally{Minute: s.minute}
		if n > 0 {
			next.Tally = *all[n-1].Clone()
		}
		s.tallies[accountID] = append(all, next)
		return &next.Tally
	}
	return &all[n-1].Tally
}

// tallyAt is what was counted by the end of a minute.
func (s *Store) tallyAt(accountID string, minute int64) *store.Tally {
	for _, t := range slices.Backward(s.tallies[accountID]) {
		if t.Minute <= minute {
			return t.Clone()
		}
	}
	return &store.Tally{}
}

// Vitals implements [store.HealthRecords].
func (s *Store) Vitals(_ context.Context, accountID string, now time.Time) (v store.Vitals, err error) {
	if err := s.lock(); err != nil {
		return v, err
	}
	defer s.mu.Unlock()
	return s.vitals(accountID, now), nil
}

func (s *Store) vitals(accountID string, now time.Time) (v store.Vitals) {
	minute := max(s.minute, store.Minute(now))
	v.Fill(s.tallyAt(accountID, minute), func(ago int64) *store.Tally { return s.tallyAt(accountID, minute-ago) })
	if m := v.Failure; !m.At.IsZero() {
		v.LastFailure = m.Attempt()
		if r := s.bySeq[m.Seq]; r != nil && r.AccountID == accountID {
			for _, a := range r.attempts {
				if m.Marks(&a) {
					v.LastFailure = &a
				}
			}
		}
	}
	s.pending(accountID, func(r *row) bool {
		if r.DueAt.After(now) && (v.NextDue.IsZero() || r.DueAt.Before(v.NextDue)) {
			v.NextDue = r.DueAt
		}
		return true
	})
	v.OldestPending = s.oldestPending(accountID)
	return v
}

// Minutes implements [store.HealthRecords].
func (s *Store) Minutes(_ context.Context, accountID string, first, last int64) ([]store.MinuteTally, error) {
	if err := s.lock(); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	out := []store.MinuteTally{{Minute: first - 1, Tally: *s.tallyAt(accountID, first-1)}}
	for _, t := range s.tallies[accountID] {
		if t.Minute >= first && t.Minute <= last {
			out = append(out, store.MinuteTally{Minute: t.Minute, Tally: *t.Clone()})
		}
	}
	return out, nil
}

// oldestPending is since when the delivery of an account waits that waits longest; zero:
// none does.
func (s *Store) oldestPending(accountID string) time.Time {
	var first, replay time.Time
	s.pending(accountID, func(r *row) bool {
		switch {
		case !r.IsReplay() && first.IsZero():
			first = r.AcceptedAt
		case r.IsReplay() && (replay.IsZero() || r.Replay.At.Before(replay)):
			replay = r.Replay.At
		}
		return true
	})
	return store.Earliest(first, replay)
}
