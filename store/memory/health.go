package memory

import (
	"context"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// RecordHealth implements [store.Queue].
func (s *Store) RecordHealth(_ context.Context, changes []store.HealthChange) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	var held []store.HealthChange
	for _, c := range changes {
		w, ok := s.webhooks[c.AccountID]
		if !ok || !c.Apply(&w) {
			continue
		}
		s.webhooks[c.AccountID] = w
		if c.From != c.To {
			held = append(held, s.keepChange(c))
			s.fails(&c)
		}
	}
	s.tellHealth(held)
	return nil
}

// keepChange keeps a change and returns it as it is kept.
func (s *Store) keepChange(c store.HealthChange) store.HealthChange {
	kept := s.health[c.AccountID]
	c.Number = 1
	if n := len(kept); n > 0 {
		c.Number = kept[n-1].Number + 1
	}
	kept = append(kept, c)
	s.health[c.AccountID] = kept[max(0, len(kept)-store.MaxHealthChanges):]
	return c
}

// beginAnew begins the health of a webhook anew, which has just been put or suspended.
func (s *Store) beginAnew(w *store.Webhook, now time.Time) {
	if c := w.BeginAnew(w.Version+1, now); c != nil {
		delete(s.failing, w.AccountID)
		s.tellHealth([]store.HealthChange{s.keepChange(*c)})
	}
}

func (s *Store) tellHealth(changes []store.HealthChange) {
	if s.listener != nil && len(changes) > 0 {
		s.listener.HealthChanged(changes)
	}
}

// HealthChanges implements [store.HealthRecords].
func (s *Store) HealthChanges(_ context.Context, q store.HealthChangeQuery) (page store.HealthChangePage, err error) {
	if err := s.lock(); err != nil {
		return page, err
	}
	defer s.mu.Unlock()
	for _, c := range slices.Backward(s.health[q.AccountID]) {
		if q.Before > 0 && c.Number >= q.Before {
			continue
		}
		if n := len(page.Changes); n == q.Limit {
			page.Next = page.Changes[n-1].Number
			break
		}
		page.Changes = append(page.Changes, c)
	}
	return page, nil
}
