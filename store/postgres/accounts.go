package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// PutAccount implements [store.Accounts].
func (s *Store) PutAccount(ctx context.Context, id string, now time.Time) (store.Account, bool, error) {
	type put struct {
		created int
		at      int64
	}
	p, err := write(ctx, s.w, func(tx *txn) (p put, err error) {
		var erasing bool
		if err := tx.row(`SELECT EXISTS (SELECT FROM erasing WHERE id = $1)`, []any{id}, &erasing); err != nil {
			return p, err
		}
		if erasing {
			return p, store.ErrErasing
		}
		p.created, err = tx.exec(`INSERT INTO accounts (id, shard, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, id, shardOf(id), micros(now))
		if err != nil {
			return p, err
		}
		return p, tx.row(`SELECT created_at FROM accounts WHERE id = $1`, []any{id}, &p.at)
	})
	if err != nil {
		return store.Account{}, false, err
	}
	return store.Account{ID: id, CreatedAt: instant(p.at)}, p.created == 1, nil
}

// Account implements [store.Accounts].
func (s *Store) Account(ctx context.Context, id string) (store.Account, error) {
	var at int64
	if err := s.one(ctx, `SELECT created_at FROM accounts WHERE id = $1 AND no > 0`, []any{id}, &at); err != nil {
		return store.Account{}, err
	}
	return store.Account{ID: id, CreatedAt: instant(at)}, nil
}

// account is the number of an account and its shard, or [store.ErrNotFound].
func (tx *txn) account(id string) (no int64, shard int16, err error) {
	err = tx.row(`SELECT no, shard FROM accounts WHERE id = $1 AND no > 0`, []any{id}, &no, &shard)
	return no, shard, err
}

// AddAPIKey implements [store.APIKeys].
func (s *Store) AddAPIKey(ctx context.Context, k store.APIKey) error {
	return s.w.do(ctx, func(tx *txn) error {
		no, _, err := tx.account(k.AccountID)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`DELETE FROM api_keys WHERE account = $1 AND expires_at > 0 AND expires_at <= $2`, no, micros(k.CreatedAt)); err != nil {
			return err
		}
		n, err := tx.exec(`INSERT INTO api_keys (hash, account, id, hint, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
			k.Hash[:], no, k.ID, k.Hint, micros(k.CreatedAt), micros(k.ExpiresAt))
		if err == nil && n == 0 {
			return store.ErrConflict
		}
		return err
	})
}

const selectKeys = `SELECT k.hash, a.id, k.id, k.hint, k.created_at, k.expires_at FROM api_keys k JOIN accounts a ON a.no = k.account `

// APIKeys implements [store.APIKeys].
func (s *Store) APIKeys(ctx context.Context, accountID string) ([]store.APIKey, error) {
	if _, err := s.Account(ctx, accountID); err != nil {
		return nil, err
	}
	return all(ctx, s, scanKey, selectKeys+`WHERE a.id = $1 ORDER BY k.created_at, k.id`, accountID)
}

// RevokeAPIKey implements [store.APIKeys].
func (s *Store) RevokeAPIKey(ctx context.Context, accountID, keyID string) error {
	return s.w.do(ctx, func(tx *txn) error {
		n, err := tx.exec(`DELETE FROM api_keys WHERE account = `+numberOf+` AND id = $2`, accountID, keyID)
		if err == nil && n == 0 {
			return store.ErrNotFound
		}
		tx.keysChanged = true
		tx.note(accountID, keysRevoked, time.Time{})
		return err
	})
}

// APIKeyByHash implements [store.APIKeys].
func (s *Store) APIKeyByHash(ctx context.Context, hash store.KeyHash) (store.APIKey, error) {
	k, ok, changes := s.cachedKey(hash)
	if ok && !s.isClosed() {
		return k, nil
	}
	keys, err := all(ctx, s, scanKey, selectKeys+`WHERE k.hash = $1`, hash[:])
	if err != nil {
		return store.APIKey{}, err
	}
	if len(keys) == 0 {
		return store.APIKey{}, store.ErrNotFound
	}
	s.cache.keepKey(keys[0], changes)
	return keys[0], nil
}

func scanKey(row pgx.CollectableRow) (k store.APIKey, err error) {
	var hash []byte
	var at, until int64
	err = row.Scan(&hash, &k.AccountID, &k.ID, &k.Hint, &at, &until)
	copy(k.Hash[:], hash)
	k.CreatedAt, k.ExpiresAt = instant(at), instant(until)
	return k, err
}

// Setting implements [store.Settings].
func (s *Store) Setting(ctx context.Context, name string) (value []byte, err error) {
	err = s.one(ctx, `SELECT value FROM settings WHERE name = $1`, []any{name}, &value)
	return value, err
}

// PutSetting implements [store.Settings].
func (s *Store) PutSetting(ctx context.Context, name string, value []byte) error {
	return s.w.do(ctx, func(tx *txn) error { return tx.putSetting(name, value) })
}

func (tx *txn) putSetting(name string, value []byte) error {
	_, err := tx.exec(`INSERT INTO settings (name, value) VALUES ($1, coalesce($2, ''::bytea)) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}

// setting returns [store.ErrNotFound] when the name was never set. Nobody changes it
// until the transaction ends.
func (tx *txn) setting(name string) (value []byte, err error) {
	err = tx.row(`SELECT value FROM settings WHERE name = $1 FOR UPDATE`, []any{name}, &value)
	return value, err
}
