package memory

import (
	"context"
	"time"

	"github.com/recapito/recapito/store"
)

// cancelAtOnce is how many deliveries the deletion of a webhook cancels itself.
const cancelAtOnce = 1000

// CreateWebhook implements [store.Webhooks].
func (s *Store) CreateWebhook(_ context.Context, w store.Webhook) (store.Webhook, error) {
	if err := s.lock(); err != nil {
		return store.Webhook{}, err
	}
	defer s.mu.Unlock()
	if _, ok := s.accounts[w.AccountID]; !ok {
		return store.Webhook{}, store.ErrNotFound
	}
	if _, ok := s.webhooks[w.AccountID]; ok {
		return store.Webhook{}, store.ErrConflict
	}
	w.Version, w.FirstSeq = 1, s.seq+1
	return s.put(w), nil
}

// Webhook implements [store.Webhooks].
func (s *Store) Webhook(_ context.Context, accountID string) (store.Webhook, error) {
	if err := s.lock(); err != nil {
		return store.Webhook{}, err
	}
	defer s.mu.Unlock()
	w := s.webhook(accountID)
	if w == nil {
		return store.Webhook{}, store.ErrNotFound
	}
	return *w, nil
}

// ReplaceCallbackURL implements [store.Webhooks].
func (s *Store) ReplaceCallbackURL(_ context.Context, accountID, callbackURL string, now time.Time) (store.Webhook, error) {
	return s.change(accountID, now, func(w *store.Webhook) error {
		w.CallbackURL, w.Status = callbackURL, store.Active
		return nil
	})
}

// RotateSecret implements [store.Webhooks].
func (s *Store) RotateSecret(_ context.Context, accountID string, secret []byte, until, now time.Time) (store.Webhook, error) {
	return s.change(accountID, now, func(w *store.Webhook) error { return w.Rotate(secret, until, now) })
}

// SuspendWebhook implements [store.Upkeep].
func (s *Store) SuspendWebhook(_ context.Context, seen store.Webhook, now time.Time) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	w := s.webhook(seen.AccountID)
	if w == nil || w.ID != seen.ID || w.Version != seen.Version {
		return nil
	}
	w.Status, w.UpdatedAt = store.Suspended, now
	w.Version++
	s.put(*w)
	return nil
}

// DeleteWebhook implements [store.Webhooks].
func (s *Store) DeleteWebhook(_ context.Context, accountID string, now time.Time) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if _, ok := s.webhooks[accountID]; !ok {
		return store.ErrNotFound
	}
	delete(s.webhooks, accountID)
	s.cancel(accountID, now, cancelAtOnce)
	s.tellWebhook(accountID, nil)
	return nil
}

func (s *Store) change(accountID string, now time.Time, apply func(*store.Webhook) error) (store.Webhook, error) {
	if err := s.lock(); err != nil {
		return store.Webhook{}, err
	}
	defer s.mu.Unlock()
	w := s.webhook(accountID)
	if w == nil {
		return store.Webhook{}, store.ErrNotFound
	}
	if err := apply(w); err != nil {
		return store.Webhook{}, err
	}
	w.UpdatedAt = now
	w.Version++
	return s.put(*w), nil
}

func (s *Store) put(w store.Webhook) store.Webhook {
	s.webhooks[w.AccountID] = *w.Clone()
	s.tellWebhook(w.AccountID, s.webhook(w.AccountID))
	return *s.webhook(w.AccountID)
}

// webhook returns a copy of the account's webhook, or nil.
func (s *Store) webhook(accountID string) *store.Webhook {
	w, ok := s.webhooks[accountID]
	if !ok {
		return nil
	}
	return w.Clone()
}

func (s *Store) tellWebhook(accountID string, w *store.Webhook) {
	if s.listener != nil {
		s.listener.WebhookChanged(accountID, w)
	}
}
