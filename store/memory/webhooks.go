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
	if _, ok := s.accounts[w.AccountID]; !ok && w.AccountID != store.Operations {
		return store.Webhook{}, store.ErrNotFound
	}
	if _, ok := s.webhooks[w.AccountID]; ok {
		return store.Webhook{}, store.ErrConflict
	}
	w.Version, w.FirstSeq = 1, s.seq+1
	w.Health = store.Health{}
	w.BeginAnew(w.Version, w.CreatedAt)
	s.tally(w.AccountID, w.CreatedAt).BeginAnew()
	made := s.put(w)
	s.tell(store.NoticeOf(store.WebhookRegistered, &made, w.CreatedAt), w.CreatedAt)
	return made, nil
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
		s.pending(accountID, func(*row) bool { w.MakeDue = true; return false })
		s.beginAnew(w, now)
		s.tally(accountID, now).BeginAnew()
		s.tell(store.NoticeOf(store.WebhookReplaced, w, now), now)
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
	s.beginAnew(w, now)
	w.Version++
	s.put(*w)
	s.tell(store.NoticeOf(store.EndpointSuspended, w, now), now)
	return nil
}

// DeleteWebhook implements [store.Webhooks].
func (s *Store) DeleteWebhook(_ context.Context, accountID string, now time.Time) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	w := s.webhook(accountID)
	if w == nil {
		return store.ErrNotFound
	}
	delete(s.webhooks, accountID)
	delete(s.health, accountID)
	delete(s.failing, accountID)
	s.endBulk(s.running(accountID), store.ReplayCancelled, now)
	s.tellWebhook(accountID, nil)
	s.tell(store.NoticeOf(store.WebhookRemoved, w, now), now)
	if accountID == store.Operations {
		clear(s.notices)
		clear(s.failing)
	}
	s.cancel(accountID, now, cancelAtOnce)
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
