package memory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/recapito/recapito/store"
)

// Accounts implements [store.Accounts].
func (s *Store) Accounts(_ context.Context, q store.AccountQuery) (page store.AccountPage, err error) {
	if err := s.lock(); err != nil {
		return page, err
	}
	defer s.mu.Unlock()
	minute := q.After.Minute
	if q.After == (store.AccountPlace{}) {
		minute = store.RankedBy(q.Now)
	}
	var places []store.AccountPlace
	for id := range s.accounts {
		place := store.AccountPlace{Minute: minute, Harm: store.HarmAt(minute, s.tallyAt(id, minute).Pending(), s.oldestPending(id)), ID: id}
		behind := q.After == (store.AccountPlace{}) || place.Compare(q.After) > 0
		if behind && strings.HasPrefix(id, q.Prefix) {
			places = append(places, place)
		}
	}
	slices.SortFunc(places, store.AccountPlace.Compare)
	for i, place := range places {
		h := s.accountHealth(place.ID, q.Now)
		if len(q.States) > 0 && !slices.Contains(q.States, h.State) {
			continue
		}
		if len(page.Accounts) == q.Limit {
			page.Next = places[i-1]
			break
		}
		page.Accounts = append(page.Accounts, h)
	}
	return page, nil
}

func (s *Store) accountHealth(id string, now time.Time) store.AccountHealth {
	h := store.AccountHealth{Account: s.accounts[id]}
	if w := s.webhook(id); w != nil {
		h.State, h.Since, h.CallbackURL = w.Health.State, w.Health.Since, w.CallbackURL
	}
	v := s.vitals(id, now)
	h.Add(&v, now)
	return h
}
