package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/recapito/recapito/store"
)

// cancelAtOnce is how many deliveries the deletion of a webhook cancels itself.
const cancelAtOnce = 1000

// webhookColumns are those of the table.
const webhookColumns = `account_id, id, callback_url, status, secret, version, first_seq, created_at, updated_at, health, health_since, health_version, make_due`

// selectWebhook has a row for each old secret, the newest first, and one if there
// is none.
const selectWebhook = `SELECT w.account_id, w.id, w.callback_url, w.status, w.secret, w.version, w.first_seq, w.created_at, w.updated_at,
	w.health, w.health_since, w.health_version, w.make_due, o.secret, coalesce(o.until, 0)
	FROM webhooks w LEFT JOIN old_secrets o ON o.account_id = w.account_id WHERE w.account_id = ? ORDER BY o.version DESC`

// errUnreadable is returned for a row that is there but cannot be read.
var errUnreadable = errors.New("the webhook cannot be read")

func (s *Store) scanWebhook(rows *sql.Rows) (_ *store.Webhook, err error) {
	var w store.Webhook
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: %w", errUnreadable, err)
			s.damage.note("webhook of account " + w.AccountID)
		}
	}()
	var status string
	var callbackURL, secret, old []byte
	var until, created, updated, since int64
	err = rows.Scan(&w.AccountID, &w.ID, &callbackURL, &status, &secret, &w.Version, &w.FirstSeq, &created, &updated,
		&w.Health.State, &since, &w.Health.Version, &w.MakeDue, &old, &until)
	if err != nil {
		return nil, err
	}
	w.Health.Since = instant(since)
	w.Status = store.WebhookStatus(status)
	w.CreatedAt, w.UpdatedAt = instant(created), instant(updated)
	if callbackURL, err = s.sealer.Load().Open(callbackURL, w.URLContext()); err != nil {
		return nil, err
	}
	w.CallbackURL = string(callbackURL)
	if w.Secret, err = s.sealer.Load().Open(secret, w.SecretContext()); err != nil || old == nil {
		return &w, err
	}
	old, err = s.sealer.Load().Open(old, w.SecretContext())
	w.OldSecrets = []store.OldSecret{{Secret: old, Until: instant(until)}}
	return &w, err
}

// joined makes one webhook of the rows of selectWebhook; nil: there is none.
func joined(rows []*store.Webhook) *store.Webhook {
	if len(rows) == 0 {
		return nil
	}
	for _, r := range rows[1:] {
		rows[0].OldSecrets = append(rows[0].OldSecrets, r.OldSecrets...)
	}
	return rows[0]
}

// CreateWebhook implements [store.Webhooks].
func (s *Store) CreateWebhook(ctx context.Context, w store.Webhook) (store.Webhook, error) {
	w.Secret = bytes.Clone(w.Secret)
	w.CreatedAt, w.UpdatedAt = instant(micros(w.CreatedAt)), instant(micros(w.UpdatedAt))
	return write(ctx, s.w, 1, func(tx *txn) (store.Webhook, error) {
		if err := tx.mustHaveAccount(w.AccountID); err != nil && w.AccountID != store.Operations {
			return w, err
		}
		switch _, err := tx.webhook(w.AccountID); {
		case err == nil:
			return w, store.ErrConflict
		case !errors.Is(err, store.ErrNotFound):
			return w, err
		}
		made := w
		made.Version, made.FirstSeq, made.Health = 1, tx.totals.lastSeq+1, store.Health{}
		made.BeginAnew(made.Version, made.CreatedAt)
		tx.tally(made.AccountID, made.CreatedAt).BeginAnew()
		return made, errors.Join(tx.putWebhook(made), tx.tellOfWebhook(store.WebhookRegistered, &made, made.CreatedAt))
	})
}

// Webhook implements [store.Webhooks].
func (s *Store) Webhook(ctx context.Context, accountID string) (store.Webhook, error) {
	cached, changes := s.cache.webhook(accountID)
	if cached != nil && !s.isClosed() {
		return *copyWebhook(cached), nil
	}
	rows, err := readAll(ctx, s, s.reads.webhook, s.scanWebhook, accountID)
	found := joined(rows)
	switch {
	case err != nil:
		return store.Webhook{}, err
	case found == nil:
		return store.Webhook{}, store.ErrNotFound
	}
	s.cache.keepWebhook(found, changes)
	return *copyWebhook(found), nil
}

// ReplaceCallbackURL implements [store.Webhooks].
func (s *Store) ReplaceCallbackURL(ctx context.Context, accountID, callbackURL string, now time.Time) (store.Webhook, error) {
	return s.change(ctx, accountID, now, func(tx *txn, w *store.Webhook) error {
		w.CallbackURL, w.Status = callbackURL, store.Active
		tx.tally(accountID, now).BeginAnew()
		var err error
		w.MakeDue, err = tx.anyPending(accountID)
		return errors.Join(err, tx.beginAnew(w, now), tx.tellOfWebhook(store.WebhookReplaced, w, now))
	})
}

// RotateSecret implements [store.Webhooks].
func (s *Store) RotateSecret(ctx context.Context, accountID string, secret []byte, until, now time.Time) (store.Webhook, error) {
	return s.change(ctx, accountID, now, func(tx *txn, w *store.Webhook) error {
		if err := w.Rotate(secret, instant(micros(until)), now); err != nil {
			return err
		}
		return errors.Join(
			tx.exec(`DELETE FROM old_secrets WHERE account_id = ? AND until <= ?`, accountID, micros(now)),
			tx.exec(`INSERT INTO old_secrets (account_id, version, secret, until) VALUES (?, ?, ?, ?)`,
				accountID, w.Version, s.sealer.Load().Seal(w.OldSecrets[0].Secret, w.SecretContext()), micros(until)))
	})
}

// endSecrets removes the old secrets that do not sign any more.
func (tx *txn) endSecrets(now time.Time) error {
	rows, err := tx.query(`DELETE FROM old_secrets WHERE until <= ? RETURNING account_id`, micros(now))
	if err != nil {
		return err
	}
	accounts, err := collect(rows, scanString)
	tx.stale = append(tx.stale, accounts...)
	return err
}

func (s *Store) change(ctx context.Context, accountID string, now time.Time, apply func(*txn, *store.Webhook) error) (store.Webhook, error) {
	return write(ctx, s.w, 1, func(tx *txn) (store.Webhook, error) {
		present, err := tx.webhook(accountID)
		if err != nil {
			return store.Webhook{}, err
		}
		w := *copyWebhook(present)
		if err := apply(tx, &w); err != nil {
			return store.Webhook{}, err
		}
		w.UpdatedAt = instant(micros(now))
		w.Version++
		return w, tx.putWebhook(w)
	})
}

// SuspendWebhook implements [store.Upkeep].
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
		if err := tx.beginAnew(&w, now); err != nil {
			return err
		}
		w.Version++
		return errors.Join(tx.putWebhook(w), tx.tellOfWebhook(store.EndpointSuspended, &w, now))
	})
}

// DeleteWebhook implements [store.Webhooks].
func (s *Store) DeleteWebhook(ctx context.Context, accountID string, now time.Time) error {
	return s.w.do(ctx, func(tx *txn) error {
		removed := store.Webhook{AccountID: accountID} // which may not be readable as a whole
		err := tx.row(`DELETE FROM webhooks WHERE account_id = ? RETURNING id, version`, []any{accountID}, &removed.ID, &removed.Version)
		if err != nil {
			return err
		}
		tx.setWebhook(accountID, nil)
		err = errors.Join(
			tx.exec(`DELETE FROM old_secrets WHERE account_id = ?`, accountID),
			tx.exec(`DELETE FROM health_changes WHERE account_id = ?`, accountID),
			tx.exec(dropFailure, accountID),
			tx.tellOfWebhook(store.WebhookRemoved, &removed, now))
		if err == nil && accountID == store.Operations {
			err = errors.Join(tx.exec(`DELETE FROM notices`), tx.exec(`DELETE FROM failing_endpoints`))
		}
		if err != nil {
			return err
		}
		if err := tx.cancelReplay(accountID, now); err != nil {
			return err
		}
		rows, err := tx.query(cancelable, accountID, tx.totals.lastSeq+1, cancelAtOnce, nil)
		if err != nil {
			return err
		}
		seqs, err := collect(rows, scanSeq)
		if err != nil {
			return err
		}
		_, err = tx.finish(accountID, cancelled, now, append(seqs, tx.freshOf(accountID, cancelAtOnce-len(seqs))...), whatever)
		return err
	})
}

// webhook is the account's webhook at this point of the transaction. It is
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
	rows, err := tx.query(selectWebhook, accountID)
	if err != nil {
		return nil, err
	}
	all, err := collect(rows, tx.w.store.scanWebhook)
	found := joined(all)
	switch {
	case err != nil:
		return nil, err
	case found == nil:
		return nil, store.ErrNotFound
	}
	tx.w.store.cache.keepWebhook(found, changes)
	return found, nil
}

// webhookOrNone is webhook; nil: there is none.
func (tx *txn) webhookOrNone(accountID string) (*store.Webhook, error) {
	w, err := tx.webhook(accountID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return w, err
}

func (tx *txn) putWebhook(w store.Webhook) error {
	sealer, context := tx.w.store.sealer.Load(), w.SecretContext()
	err := tx.exec(`INSERT OR REPLACE INTO webhooks (`+webhookColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		w.AccountID, w.ID, sealer.Seal([]byte(w.CallbackURL), w.URLContext()), string(w.Status),
		sealer.Seal(w.Secret, context), w.Version, w.FirstSeq, micros(w.CreatedAt), micros(w.UpdatedAt),
		string(w.Health.State), micros(w.Health.Since), w.Health.Version, w.MakeDue)
	if err != nil {
		return err
	}
	tx.setWebhook(w.AccountID, &w)
	return nil
}

// setWebhook makes a change visible to the rest of the transaction, and after
// the commit to the cache and the listener. Each gets a copy.
func (tx *txn) setWebhook(accountID string, w *store.Webhook) {
	tx.webhooks[accountID] = copyWebhook(w)
	tx.news = append(tx.news, news{account: accountID, webhook: copyWebhook(w)})
}
