package memory

import (
	"context"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// PutAccount implements [store.Accounts].
func (s *Store) PutAccount(_ context.Context, id string, now time.Time) (store.Account, bool, error) {
	if err := s.lock(); err != nil {
		return store.Account{}, false, err
	}
	defer s.mu.Unlock()
	if a, ok := s.accounts[id]; ok {
		return a, false, nil
	}
	a := store.Account{ID: id, CreatedAt: now}
	s.accounts[id] = a
	return a, true, nil
}

// Account implements [store.Accounts].
func (s *Store) Account(_ context.Context, id string) (store.Account, error) {
	if err := s.lock(); err != nil {
		return store.Account{}, err
	}
	defer s.mu.Unlock()
	a, ok := s.accounts[id]
	if !ok {
		return a, store.ErrNotFound
	}
	return a, nil
}

// DeleteAccount implements [store.Accounts].
func (s *Store) DeleteAccount(_ context.Context, id string) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if _, ok := s.accounts[id]; !ok {
		return store.ErrNotFound
	}
	delete(s.accounts, id)
	s.keys = slices.DeleteFunc(s.keys, func(k store.APIKey) bool { return k.AccountID == id })
	delete(s.webhooks, id)
	s.bulks = slices.DeleteFunc(s.bulks, func(b *bulk) bool { return b.AccountID == id })
	delete(s.health, id)
	delete(s.tallies, id)
	delete(s.notices, id)
	delete(s.failing, id)
	s.rows = slices.DeleteFunc(s.rows, func(r *row) bool {
		if r.AccountID != id {
			return false
		}
		s.drop(r)
		return true
	})
	s.tellWebhook(id, nil)
	return nil
}

// AddAPIKey implements [store.APIKeys].
func (s *Store) AddAPIKey(_ context.Context, k store.APIKey) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if _, ok := s.accounts[k.AccountID]; !ok {
		return store.ErrNotFound
	}
	if slices.ContainsFunc(s.keys, func(o store.APIKey) bool { return o.Hash == k.Hash }) {
		return store.ErrConflict
	}
	s.keys = slices.DeleteFunc(s.keys, func(o store.APIKey) bool { return o.AccountID == k.AccountID && o.Expired(k.CreatedAt) })
	s.keys = append(s.keys, k)
	return nil
}

// APIKeys implements [store.APIKeys].
func (s *Store) APIKeys(_ context.Context, accountID string) ([]store.APIKey, error) {
	if err := s.lock(); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if _, ok := s.accounts[accountID]; !ok {
		return nil, store.ErrNotFound
	}
	var out []store.APIKey
	for _, k := range s.keys {
		if k.AccountID == accountID {
			out = append(out, k)
		}
	}
	return out, nil
}

// RevokeAPIKey implements [store.APIKeys].
func (s *Store) RevokeAPIKey(_ context.Context, accountID, keyID string) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	n := len(s.keys)
	s.keys = slices.DeleteFunc(s.keys, func(k store.APIKey) bool { return k.AccountID == accountID && k.ID == keyID })
	if len(s.keys) == n {
		return store.ErrNotFound
	}
	return nil
}

// APIKeyByHash implements [store.APIKeys].
func (s *Store) APIKeyByHash(_ context.Context, hash store.KeyHash) (store.APIKey, error) {
	if err := s.lock(); err != nil {
		return store.APIKey{}, err
	}
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if k.Hash == hash {
			return k, nil
		}
	}
	return store.APIKey{}, store.ErrNotFound
}
