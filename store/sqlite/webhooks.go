package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/recapito/recapito/store"
)

// cancelAtOnce is how many deliveries the deletion of a webhook cancels itself.
const cancelAtOnce = 1000

const webhookColumns = `account_id, id, callback_url, status, secret, previous_secret, previous_until, version, first_seq, created_at, updated_at`

// scanner is a row of either kind.
type scanner interface{ Scan(dest ...any) error }

// errUnreadable: a row is there, but cannot be read.
var errUnreadable = errors.New("the webhook cannot be read")

func (s *Store) scanWebhook(row scanner) (_ *store.Webhook, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: %w", errUnreadable, err)
		}
	}()
	var w store.Webhook
	var status string
	var callbackURL, secret, previous []byte
	var until, created, updated int64
	err = row.Scan(&w.AccountID, &w.ID, &callbackURL, &status, &secret, &previous, &until, &w.Version, &w.FirstSeq, &created, &updated)
	if err != nil {
		return nil, err
	}
	w.Status = store.WebhookStatus(status)
	w.PreviousUntil, w.CreatedAt, w.UpdatedAt = instant(until), instant(created), instant(updated)
	if callbackURL, err = s.sealer.Open(callbackURL, urlContext(&w)); err != nil {
		return nil, err
	}
	w.CallbackURL = string(callbackURL)
	if w.Secret, err = s.sealer.Open(secret, sealContext(&w)); err != nil {
		return nil, err
	}
	w.PreviousSecret, err = s.sealer.Open(previous, sealContext(&w))
	return &w, err
}

// sealContext binds a sealed secret to its row.
func sealContext(w *store.Webhook) string { return w.AccountID + " " + w.ID }

// urlContext binds a sealed callback URL to its row and column.
func urlContext(w *store.Webhook) string { return sealContext(w) + " callback_url" }

// CreateWebhook implements [store.Webhooks].
func (s *Store) CreateWebhook(ctx context.Context, w store.Webhook) (store.Webhook, error) {
	w.Secret = bytes.Clone(w.Secret)
	w.CreatedAt, w.UpdatedAt = instant(micros(w.CreatedAt)), instant(micros(w.UpdatedAt))
	return write(ctx, s.w, 1, func(tx *txn) (store.Webhook, error) {
		if err := tx.mustHaveAccount(w.AccountID); err != nil {
			return w, err
		}
		switch _, err := tx.webhook(w.AccountID); {
		case err == nil:
			return w, store.ErrConflict
		case !errors.Is(err, store.ErrNotFound):
			return w, err
		}
		made := w
		made.Version, made.FirstSeq = 1, tx.totals.lastSeq+1
		return made, tx.putWebhook(made)
	})
}

// Webhook implements [store.Webhooks].
func (s *Store) Webhook(ctx context.Context, accountID string) (store.Webhook, error) {
	cached, changes := s.cache.webhook(accountID)
	if cached != nil && !s.isClosed() {
		return *copyWebhook(cached), nil
	}
	found, err := readAll(ctx, s, s.reads.webhook, s.scanWebhookRows, accountID)
	switch {
	case err != nil:
		return store.Webhook{}, err
	case len(found) == 0:
		return store.Webhook{}, store.ErrNotFound
	}
	s.cache.keepWebhook(found[0], changes)
	return *copyWebhook(found[0]), nil
}

// ReplaceCallbackURL implements [store.Webhooks].
func (s *Store) ReplaceCallbackURL(ctx context.Context, accountID, callbackURL string, now time.Time) (store.Webhook, error) {
	return s.change(ctx, accountID, now, func(w *store.Webhook) { w.CallbackURL, w.Status = callbackURL, store.Active })
}

// RotateSecret implements [store.Webhooks].
func (s *Store) RotateSecret(ctx context.Context, accountID string, secret []byte, until, now time.Time) (store.Webhook, error) {
	return s.change(ctx, accountID, now, func(w *store.Webhook) {
		w.PreviousSecret, w.PreviousUntil, w.Secret = w.Secret, instant(micros(until)), bytes.Clone(secret)
	})
}

func (s *Store) change(ctx context.Context, accountID string, now time.Time, apply func(*store.Webhook)) (store.Webhook, error) {
	return write(ctx, s.w, 1, func(tx *txn) (store.Webhook, error) {
		present, err := tx.webhook(accountID)
		if err != nil {
			return store.Webhook{}, err
		}
		w := *copyWebhook(present)
		apply(&w)
		w.UpdatedAt = instant(micros(now))
		w.Version++
		return w, tx.putWebhook(w)
	})
}

// SuspendWebhook implements [store.Webhooks].
func (s *Store) SuspendWebhook(ctx context.Context, seen store.Webhook, now time.Time) error {
	return s.w.do(ctx, func(tx *txn) error {
		present, err := tx.webhook(seen.AccountID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil || present.ID != seen.ID || present.Version != seen.Version {
			return err
		}
		w := *present
		w.Status, w.UpdatedAt = store.Suspended, instant(micros(now))
		w.Version++
		return tx.putWebhook(w)
	})
}

// DeleteWebhook implements [store.Webhooks].
func (s *Store) DeleteWebhook(ctx context.Context, accountID string, now time.Time) error {
	return s.w.do(ctx, func(tx *txn) error {
		n, err := tx.changes(`DELETE FROM webhooks WHERE account_id = ?`, accountID)
		if err != nil {
			return err
		}
		if n == 0 {
			return store.ErrNotFound
		}
		tx.setWebhook(accountID, nil)
		rows, err := tx.query(cancelable, accountID, tx.totals.lastSeq+1, cancelAtOnce)
		if err != nil {
			return err
		}
		seqs, err := collect(rows, scanSeq)
		if err != nil {
			return err
		}
		_, err = tx.finish(cancelled, now, append(seqs, tx.freshOf(accountID, cancelAtOnce-len(seqs))...))
		return err
	})
}

// webhook is the account's webhook as of this point of the transaction. It is
// shared and must not be changed.
func (tx *txn) webhook(accountID string) (*store.Webhook, error) {
	if w, ok := tx.webhooks[accountID]; ok {
		if w == nil {
			return nil, store.ErrNotFound
		}
		return w, nil
	}
	cached, changes := tx.w.store.cache.webhook(accountID)
	if cached != nil {
		return cached, nil
	}
	rows, err := tx.query(`SELECT `+webhookColumns+` FROM webhooks WHERE account_id = ?`, accountID)
	if err != nil {
		return nil, err
	}
	found, err := collect(rows, tx.w.store.scanWebhookRows)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, store.ErrNotFound
	}
	tx.w.store.cache.keepWebhook(found[0], changes)
	return found[0], nil
}

func (tx *txn) putWebhook(w store.Webhook) error {
	sealer, context := tx.w.store.sealer, sealContext(&w)
	err := tx.exec(`INSERT OR REPLACE INTO webhooks (`+webhookColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		w.AccountID, w.ID, sealer.Seal([]byte(w.CallbackURL), urlContext(&w)), string(w.Status),
		sealer.Seal(w.Secret, context), sealer.Seal(w.PreviousSecret, context),
		micros(w.PreviousUntil), w.Version, w.FirstSeq, micros(w.CreatedAt), micros(w.UpdatedAt))
	if err != nil {
		return err
	}
	tx.setWebhook(w.AccountID, &w)
	return nil
}

// setWebhook makes a change known to the rest of the transaction, and after the
// commit to the cache and the listener. Everyone gets a copy.
func (tx *txn) setWebhook(accountID string, w *store.Webhook) {
	tx.webhooks[accountID] = copyWebhook(w)
	told := copyWebhook(w)
	tx.tell = append(tx.tell, func(l store.Listener) { l.WebhookChanged(accountID, told) })
}
