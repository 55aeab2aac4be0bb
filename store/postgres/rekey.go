package postgres

import (
	"bytes"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

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
	return s.w.do(ctx, func(tx *txn) error { return tx.noteKeys(keys) })
}

// SetSecretKeys implements [store.Encrypting]. What the transaction writes that notes
// the keys is still encrypted with the key before: a Rekey that begins after it sees
// that.
func (s *Store) SetSecretKeys(ctx context.Context, keys [][]byte) error {
	next, err := store.NewSealer(keys...)
	if err != nil {
		return err
	}
	return s.w.submit(&operation{
		ctx: context.WithoutCancel(ctx), rows: 1,
		run:   func(tx *txn) error { return tx.noteKeys(next) },
		after: func() { s.sealer.Store(next) },
	})
}

// noteKeys notes with which key this process encrypts from now on. It holds the row of
// the present one until the commit.
func (tx *txn) noteKeys(keys *store.Sealer) error {
	present, err := keys.Needed(tx.setting)
	if err != nil || keys.Noted(present) {
		return err
	}
	if present != nil {
		if err := tx.putSetting(store.FormerKey, present); err != nil {
			return err
		}
	}
	return tx.putSetting(store.PresentKey, keys.Note())
}

// rekeyPage is how many accounts one transaction of Rekey looks at: the service's
// writes of the same rows wait for it.
const rekeyPage = 100

// Rekey implements [store.Encrypting].
func (s *Store) Rekey(ctx context.Context, progress func(store.Rekeyed)) error {
	var begun []byte // store.PresentKey, which nobody is to change meanwhile
	var so store.Rekeyed
	keys := s.sealer.Load()
	err := s.w.do(ctx, func(tx *txn) (err error) {
		if begun, err = keys.Needed(tx.setting); err != nil {
			return err
		}
		if begun == nil || !keys.Present(begun, store.PresentKey) {
			return store.ErrNotServed
		}
		return tx.row(`SELECT count(*) FROM webhooks`, nil, &so.Webhooks)
	})
	for after := int64(0); err == nil; progress(so) {
		page, failed := write(ctx, s.w, func(tx *txn) (rekeyed, error) { return tx.rekey(keys, after) })
		if err = failed; err != nil || page.looked == 0 {
			break
		}
		after, so.Looked, so.Changed = page.last, so.Looked+page.looked, so.Changed+page.changed
	}
	if err != nil {
		return err
	}
	return s.w.do(ctx, func(tx *txn) error {
		present, err := tx.setting(store.PresentKey)
		if err == nil && !bytes.Equal(present, begun) {
			return store.ErrKeyChanged
		}
		if err == nil {
			_, err = tx.exec(`DELETE FROM settings WHERE name = $1`, store.FormerKey)
		}
		return err
	})
}

// rekeyed is a page of Rekey: of the webhooks of accounts up to the number last.
type rekeyed struct {
	last            int64
	looked, changed int
}

// sealedRow is a webhook as it is kept, or one of its old secrets.
type sealedRow struct {
	webhook     store.Webhook // its names alone
	no, version int64         // of the account; of the old secret
	url, secret []byte
}

// rekey locks the rows that it reads: the service, beside which it works, may be about
// to change them.
func (tx *txn) rekey(keys *store.Sealer, after int64) (page rekeyed, err error) {
	webhooks, err := tx.sealed(`SELECT a.id, w.account, w.id, 0, w.callback_url, w.secret FROM webhooks w JOIN accounts a ON a.no = w.account
		WHERE w.account > $1 ORDER BY w.account LIMIT $2 FOR UPDATE OF w`, after, rekeyPage)
	if err != nil || len(webhooks) == 0 {
		return page, err
	}
	page.last, page.looked = webhooks[len(webhooks)-1].no, len(webhooks)
	for i := range webhooks {
		k := &webhooks[i]
		url, err := keys.Reseal(&k.webhook, &k.url, k.webhook.URLContext())
		if err != nil {
			return page, err
		}
		secret, err := keys.Reseal(&k.webhook, &k.secret, k.webhook.SecretContext())
		if err != nil {
			return page, err
		}
		if !url && !secret {
			continue
		}
		page.changed++
		if _, err := tx.exec(`UPDATE webhooks SET callback_url = $2, secret = $3 WHERE account = $1`, k.no, k.url, k.secret); err != nil {
			return page, err
		}
	}
	return page, tx.rekeyOld(keys, after, page.last)
}

func (tx *txn) rekeyOld(keys *store.Sealer, after, last int64) error {
	old, err := tx.sealed(`SELECT a.id, o.account, w.id, o.version, NULL::bytea, o.secret FROM old_secrets o
		JOIN webhooks w ON w.account = o.account JOIN accounts a ON a.no = o.account WHERE o.account > $1 AND o.account <= $2`, after, last)
	for i := range old {
		k := &old[i]
		changed, err := keys.Reseal(&k.webhook, &k.secret, k.webhook.SecretContext())
		if err != nil {
			return err
		}
		if !changed {
			continue
		}
		if _, err := tx.exec(`UPDATE old_secrets SET secret = $3 WHERE account = $1 AND version = $2`, k.no, k.version, k.secret); err != nil {
			return err
		}
	}
	return err
}

func (tx *txn) sealed(query string, args ...any) ([]sealedRow, error) {
	rows, err := tx.tx.Query(tx.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k sealedRow, err error) {
		return k, row.Scan(&k.webhook.AccountID, &k.no, &k.webhook.ID, &k.version, &k.url, &k.secret)
	})
	return found, errors.Join(err, rows.Err())
}
