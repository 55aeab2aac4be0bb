package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"

	"github.com/recapito/recapito/store"
)

// checkSecretKeys refuses keys that are wrong. A process that serves the store notes
// with which it encrypts.
func (s *Store) checkSecretKeys(ctx context.Context) error {
	keys := s.sealer.Load()
	present, err := keys.Needed(func(name string) ([]byte, error) { return s.Setting(ctx, name) })
	if err != nil || s.cfg.Shared || keys.Noted(present) {
		return err
	}
	return s.keysDo(ctx, func(tx *txn) error { return tx.noteKeys(keys) }, nil)
}

// SetSecretKeys implements [store.Encrypting]. What the transaction writes that notes
// the keys is still encrypted with the key before: a Rekey that begins after it sees
// that.
func (s *Store) SetSecretKeys(ctx context.Context, keys [][]byte) error {
	next, err := store.NewSealer(keys...)
	if err != nil {
		return err
	}
	return s.keysDo(context.WithoutCancel(ctx), func(tx *txn) error { return tx.noteKeys(next) }, func() { s.sealer.Store(next) })
}

// keysDo runs an operation that may refuse the keys: then no other operation of its
// transaction is undone. done is called once it is committed, before anything else is
// written.
func (s *Store) keysDo(ctx context.Context, run func(*txn) error, done func()) error {
	var refused error // of the writer's goroutine
	return s.w.submit(&operation{
		ctx: ctx, rows: rekeyPage,
		run: func(tx *txn) error {
			refused = run(tx)
			if errors.Is(refused, store.ErrSealed) || errors.Is(refused, store.ErrNotServed) || errors.Is(refused, store.ErrKeyChanged) {
				return nil
			}
			return refused
		},
		after: func() error {
			if refused == nil && done != nil {
				done()
			}
			return refused
		},
	})
}

// noteKeys notes with which key this process encrypts from now on.
func (tx *txn) noteKeys(keys *store.Sealer) error {
	present, err := keys.Needed(tx.setting)
	if err != nil || keys.Noted(present) {
		return err
	}
	if present != nil {
		err = tx.putSetting(store.FormerKey, present)
	}
	return errors.Join(err, tx.putSetting(store.PresentKey, keys.Note()))
}

// rekeyPage is how many accounts one transaction of Rekey looks at: the service's
// writes wait for it.
const rekeyPage = 100

// Rekey implements [store.Encrypting].
func (s *Store) Rekey(ctx context.Context, progress func(store.Rekeyed)) error {
	var begun []byte // store.PresentKey, which nobody is to change meanwhile
	var so store.Rekeyed
	keys := s.sealer.Load()
	err := s.keysDo(ctx, func(tx *txn) (err error) {
		begun, err = keys.Needed(tx.setting)
		if err == nil && (begun == nil || !keys.Present(begun, store.PresentKey)) {
			return store.ErrNotServed
		}
		return errors.Join(err, tx.row(`SELECT count(*) FROM webhooks`, nil, &so.Webhooks))
	}, nil)
	for after := ""; err == nil; progress(so) {
		var page rekeyed
		err = s.keysDo(ctx, func(tx *txn) (err error) {
			page, err = tx.rekey(keys, after)
			return err
		}, nil)
		if err != nil || page.looked == 0 {
			break
		}
		after, so.Looked, so.Changed = page.last, so.Looked+page.looked, so.Changed+page.changed
	}
	if err != nil {
		return err
	}
	return s.keysDo(ctx, func(tx *txn) error {
		present, err := tx.setting(store.PresentKey)
		if err == nil && !bytes.Equal(present, begun) {
			return store.ErrKeyChanged
		}
		return errors.Join(err, tx.exec(`DELETE FROM settings WHERE name = ?`, store.FormerKey))
	}, nil)
}

// rekeyed is a page of Rekey: of the webhooks of accounts up to last.
type rekeyed struct {
	last            string
	looked, changed int
}

// sealedRow is a webhook as it is kept, or one of its old secrets.
type sealedRow struct {
	webhook     store.Webhook // its names alone
	version     int64
	url, secret []byte
}

func (tx *txn) rekey(keys *store.Sealer, after string) (page rekeyed, err error) {
	webhooks, err := tx.sealed(`SELECT account_id, id, 0, callback_url, secret FROM webhooks WHERE account_id > ? ORDER BY account_id LIMIT ?`, after, rekeyPage)
	if err != nil || len(webhooks) == 0 {
		return page, err
	}
	page.last, page.looked = webhooks[len(webhooks)-1].webhook.AccountID, len(webhooks)
	for _, k := range webhooks {
		changed, err := k.seal(keys)
		if err != nil {
			return page, err
		}
		if changed {
			page.changed++
			if err := tx.exec(`UPDATE webhooks SET callback_url = ?, secret = ? WHERE account_id = ?`, k.url, k.secret, k.webhook.AccountID); err != nil {
				return page, err
			}
		}
	}
	old, err := tx.sealed(`SELECT o.account_id, w.id, o.version, NULL, o.secret FROM old_secrets o JOIN webhooks w USING (account_id)
		WHERE o.account_id > ? AND o.account_id <= ?`, after, page.last)
	for _, k := range old {
		changed, err := k.seal(keys)
		if err != nil {
			return page, err
		}
		if changed {
			if err := tx.exec(`UPDATE old_secrets SET secret = ? WHERE account_id = ? AND version = ?`, k.secret, k.webhook.AccountID, k.version); err != nil {
				return page, err
			}
		}
	}
	return page, err
}

func (tx *txn) sealed(query string, args ...any) ([]*sealedRow, error) {
	rows, err := tx.query(query, args...)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(rows *sql.Rows) (*sealedRow, error) {
		k := &sealedRow{}
		return k, rows.Scan(&k.webhook.AccountID, &k.webhook.ID, &k.version, &k.url, &k.secret)
	})
}

// seal encrypts what is not encrypted with the present key.
func (k *sealedRow) seal(keys *store.Sealer) (changed bool, err error) {
	url, err := keys.Reseal(&k.webhook, &k.url, k.webhook.URLContext())
	if err != nil {
		return false, err
	}
	secret, err := keys.Reseal(&k.webhook, &k.secret, k.webhook.SecretContext())
	return url || secret, err
}
