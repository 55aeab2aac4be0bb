package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/recapito/recapito/store"
)

// PutAccount implements [store.Accounts].
func (s *Store) PutAccount(ctx context.Context, id string, now time.Time) (store.Account, bool, error) {
	type put struct {
		created int
		at      int64
	}
	p, err := write(ctx, s.w, 1, func(tx *txn) (p put, err error) {
		switch erasing, err := tx.isErasing(id); {
		case err != nil:
			return p, err
		case erasing:
			return p, store.ErrErasing
		}
		if p.created, err = tx.changes(`INSERT INTO accounts (id, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING`, id, micros(now)); err != nil {
			return p, err
		}
		return p, tx.row(`SELECT created_at FROM accounts WHERE id = ?`, []any{id}, &p.at)
	})
	if err != nil {
		return store.Account{}, false, err
	}
	return store.Account{ID: id, CreatedAt: instant(p.at)}, p.created == 1, nil
}

// Account implements [store.Accounts].
func (s *Store) Account(ctx context.Context, id string) (store.Account, error) {
	var at int64
	if err := s.one(ctx, s.reads.account, []any{id}, &at); err != nil {
		return store.Account{}, err
	}
	return store.Account{ID: id, CreatedAt: instant(at)}, nil
}

// lockOut removes an account's keys and its webhook.
func (tx *txn) lockOut(id string) error {
	tx.keysChanged = true
	return errors.Join(
		tx.exec(`DELETE FROM api_keys WHERE account_id = ?`, id),
		tx.exec(`DELETE FROM old_secrets WHERE account_id = ?`, id),
		tx.exec(`DELETE FROM health_changes WHERE account_id = ?`, id),
		tx.exec(dropNotice, id),
		tx.exec(dropFailure, id),
		tx.exec(`DELETE FROM webhooks WHERE account_id = ?`, id))
}

func (tx *txn) mustHaveAccount(id string) error {
	var one int
	return tx.row(`SELECT 1 FROM accounts WHERE id = ?`, []any{id}, &one)
}

// AddAPIKey implements [store.APIKeys].
func (s *Store) AddAPIKey(ctx context.Context, k store.APIKey) error {
	return s.w.do(ctx, func(tx *txn) error {
		if err := tx.mustHaveAccount(k.AccountID); err != nil {
			return err
		}
		expired, err := tx.changes(`DELETE FROM api_keys WHERE account_id = ? AND expires_at > 0 AND expires_at <= ?`, k.AccountID, micros(k.CreatedAt))
		if err != nil {
			return err
		}
		tx.keysChanged = tx.keysChanged || expired > 0
		n, err := tx.changes(`INSERT INTO api_keys (hash, account_id, id, hint, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			k.Hash[:], k.AccountID, k.ID, k.Hint, micros(k.CreatedAt), micros(k.ExpiresAt))
		if err == nil && n == 0 {
			return store.ErrConflict
		}
		return err
	})
}

// APIKeys implements [store.APIKeys].
func (s *Store) APIKeys(ctx context.Context, accountID string) ([]store.APIKey, error) {
	if _, err := s.Account(ctx, accountID); err != nil {
		return nil, err
	}
	return readAll(ctx, s, s.reads.keys, scanKey, accountID)
}

// RevokeAPIKey implements [store.APIKeys].
func (s *Store) RevokeAPIKey(ctx context.Context, accountID, keyID string) error {
	return s.w.do(ctx, func(tx *txn) error {
		tx.keysChanged = true
		n, err := tx.changes(`DELETE FROM api_keys WHERE account_id = ? AND id = ?`, accountID, keyID)
		if err == nil && n == 0 {
			return store.ErrNotFound
		}
		return err
	})
}

// APIKeyByHash implements [store.APIKeys].
func (s *Store) APIKeyByHash(ctx context.Context, hash store.KeyHash) (store.APIKey, error) {
	k, ok, changes := s.cache.key(hash)
	if ok && !s.isClosed() {
		return k, nil
	}
	keys, err := readAll(ctx, s, s.reads.keyByHash, scanKey, hash[:])
	if err != nil {
		return store.APIKey{}, err
	}
	if len(keys) == 0 {
		return store.APIKey{}, store.ErrNotFound
	}
	s.cache.keepKey(keys[0], changes)
	return keys[0], nil
}

func scanKey(rows *sql.Rows) (k store.APIKey, err error) {
	var hash []byte
	var at, until int64
	err = rows.Scan(&hash, &k.AccountID, &k.ID, &k.Hint, &at, &until)
	copy(k.Hash[:], hash)
	k.CreatedAt, k.ExpiresAt = instant(at), instant(until)
	return k, err
}

// Setting implements [store.Settings].
func (s *Store) Setting(ctx context.Context, name string) (value []byte, err error) {
	err = s.one(ctx, s.reads.setting, []any{name}, &value)
	return value, err
}

// PutSetting implements [store.Settings].
func (s *Store) PutSetting(ctx context.Context, name string, value []byte) error {
	return s.w.do(ctx, func(tx *txn) error { return tx.putSetting(name, value) })
}

func (tx *txn) putSetting(name string, value []byte) error {
	return tx.exec(`INSERT INTO settings (name, value) VALUES (?, coalesce(?, x'')) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
}

// setting returns [store.ErrNotFound] when the name was never set.
func (tx *txn) setting(name string) (value []byte, err error) {
	err = tx.row(`SELECT value FROM settings WHERE name = ?`, []any{name}, &value)
	return value, err
}
