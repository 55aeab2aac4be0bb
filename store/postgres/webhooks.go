package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// cancelAtOnce is how many deliveries the deletion of a webhook cancels itself.
const cancelAtOnce = 1000

// selectRegistrations has a row for each account with its webhook and each old secret,
// the newest first.
const selectRegistrations = `SELECT a.id, a.no, a.shard, w.id, w.callback_url, w.status, w.secret, w.version, w.first_seq, w.created_at, w.updated_at, w.health, w.health_since, w.health_version, w.make_due, o.secret, o.until
	FROM accounts a LEFT JOIN webhooks w ON w.account = a.no LEFT JOIN old_secrets o ON o.account = a.no WHERE a.id = ANY($1) ORDER BY a.id, o.version DESC`

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// readRegistrations reads those of the accounts that there are. A webhook that cannot
// be read is damage of its account alone.
func (s *Store) readRegistrations(ctx context.Context, from querier, accounts []string) (found []*registration, err error) {
	rows, err := from.Query(ctx, selectRegistrations, accounts)
	if err != nil {
		return nil, err
	}
	kept, err := pgx.CollectRows(rows, scanKept)
	for i := range kept {
		k := &kept[i]
		if n := len(found); n == 0 || found[n-1].account != k.account {
			found = append(found, &registration{account: k.account, no: k.no, shard: k.shard})
		}
		if r := found[len(found)-1]; k.id != nil && r.damage == nil {
			if r.damage = s.unseal(r, k); r.damage != nil {
				r.webhook = nil
			}
		}
	}
	return found, err
}

// keptWebhook is a row of selectRegistrations.
type keptWebhook struct {
	account                                 string
	no                                      int64
	shard                                   int16
	id, status, health                      *string
	callbackURL, secret, old                []byte
	version, first, created, updated, until *int64
	healthSince, healthVersion              *int64
	makeDue                                 *bool
}

func scanKept(row pgx.CollectableRow) (k keptWebhook, err error) {
	return k, row.Scan(&k.account, &k.no, &k.shard, &k.id, &k.callbackURL, &k.status, &k.secret, &k.version, &k.first, &k.created, &k.updated, &k.health, &k.healthSince, &k.healthVersion, &k.makeDue, &k.old, &k.until)
}

// unseal adds what a row says to its registration.
func (s *Store) unseal(r *registration, k *keptWebhook) error {
	if r.webhook == nil {
		w := &store.Webhook{
			AccountID: k.account, ID: *k.id, Status: store.WebhookStatus(*k.status), Version: *k.version, FirstSeq: *k.first,
			CreatedAt: instant(*k.created), UpdatedAt: instant(*k.updated),
			Health: store.Health{State: store.HealthState(*k.health), Since: instant(*k.healthSince), Version: *k.healthVersion}, MakeDue: *k.makeDue,
		}
		callbackURL, err := s.sealer.Load().Open(k.callbackURL, w.URLContext())
		if err != nil {
			return err
		}
		w.CallbackURL = string(callbackURL)
		if w.Secret, err = s.sealer.Load().Open(k.secret, w.SecretContext()); err != nil {
			return err
		}
		r.webhook = w
	}
	if k.old == nil {
		return nil
	}
	old, err := s.sealer.Load().Open(k.old, r.webhook.SecretContext())
	r.webhook.OldSecrets = append(r.webhook.OldSecrets, store.OldSecret{Secret: old, Until: instant(*k.until)})
	return err
}

// errUnreadable is returned for a webhook that is there but cannot be read.
var errUnreadable = errors.New("the webhook cannot be read")

// present is the webhook of the one account that was asked for.
func present(found []*registration) (*registration, error) {
	switch {
	case len(found) == 0 || found[0].webhook == nil && found[0].damage == nil:
		return nil, store.ErrNotFound
	case found[0].damage != nil:
		return nil, fmt.Errorf("%w: %w", errUnreadable, found[0].damage)
	}
	return found[0], nil
}

// Webhook implements [store.Webhooks]. It reads the row, not the cache: while a change is
// being told to all nodes, who has seen it at one must not see what was before at another.
func (s *Store) Webhook(ctx context.Context, accountID string) (store.Webhook, error) {
	changes := s.cache.version()
	if s.isClosed() {
		return store.Webhook{}, store.ErrClosed
	}
	ctx, cancel := shortly(ctx)
	defer cancel()
	found, err := s.readRegistrations(ctx, s.reads, []string{accountID})
	if err != nil {
		return store.Webhook{}, s.orClosed(err)
	}
	r, err := present(found)
	if err != nil {
		return store.Webhook{}, err
	}
	s.cache.keep(r, changes)
	return *r.webhook.Clone(), nil
}

// webhookIn is nil if the account has none.
func (s *Store) webhookIn(ctx context.Context, tx pgx.Tx, accountID string) (*store.Webhook, error) {
	found, err := s.readRegistrations(ctx, tx, []string{accountID})
	if err != nil {
		return nil, err
	}
	r, err := present(found)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return r.webhook, nil
}

// lock has other nodes' changes of an account's webhook wait until this transaction has
// ended. What is read after it is what they have made.
func (tx *txn) lock(accountID string) error {
	_, err := tx.exec(`SELECT FROM accounts WHERE id = $1 FOR NO KEY UPDATE`, accountID)
	return err
}

// registration is the account and its webhook at this point of the transaction, or
// [store.ErrNotFound]. No other node changes it until the transaction has ended.
func (tx *txn) registration(accountID string) (*registration, error) {
	if err := tx.lock(accountID); err != nil {
		return nil, err
	}
	found, err := tx.w.store.readRegistrations(tx.ctx, tx.tx, []string{accountID})
	if err != nil {
		return nil, err
	}
	return present(found)
}

// CreateWebhook implements [store.Webhooks].
func (s *Store) CreateWebhook(ctx context.Context, w store.Webhook) (store.Webhook, error) {
	w.Secret = bytes.Clone(w.Secret)
	w.CreatedAt, w.UpdatedAt = instant(micros(w.CreatedAt)), instant(micros(w.UpdatedAt))
	return writeOf(ctx, s.w, w.AccountID, func(tx *txn) (store.Webhook, error) {
		if err := tx.lock(w.AccountID); err != nil {
			return w, err
		}
		no, shard, err := tx.account(w.AccountID)
		if w.AccountID == store.Operations {
			no, shard, err = operationsNo, 0, nil
		}
		if err != nil {
			return w, err
		}
		switch _, err := tx.registration(w.AccountID); {
		case err == nil:
			return w, store.ErrConflict
		case !errors.Is(err, store.ErrNotFound):
			return w, err
		}
		made := w
		made.Version, made.Health = 1, store.Health{}
		made.BeginAnew(made.Version, made.CreatedAt)
		tx.endpointBeginsAnew(w.AccountID, no, made.CreatedAt)
		if err := tx.row(`SELECT nextval('blocks') * 65536`, nil, &made.FirstSeq); err != nil {
			return w, err
		}
		if err := tx.putWebhook(&registration{account: w.AccountID, no: no, shard: shard, webhook: &made}); err != nil {
			return w, err
		}
		return made, tx.tellOfWebhook(store.WebhookRegistered, &made, made.CreatedAt)
	})
}

// ReplaceCallbackURL implements [store.Webhooks].
func (s *Store) ReplaceCallbackURL(ctx context.Context, accountID, callbackURL string, now time.Time) (store.Webhook, error) {
	return s.change(ctx, accountID, now, func(tx *txn, r *registration) error {
		r.webhook.CallbackURL, r.webhook.Status = callbackURL, store.Active
		tx.endpointBeginsAnew(accountID, r.no, now)
		if err := tx.row(anyPending, []any{r.no, r.shard}, &r.webhook.MakeDue); err != nil {
			return err
		}
		if err := tx.beginAnew(r, now); err != nil {
			return err
		}
		return tx.tellOfWebhook(store.WebhookReplaced, r.webhook, now)
	})
}

// RotateSecret implements [store.Webhooks].
func (s *Store) RotateSecret(ctx context.Context, accountID string, secret []byte, until, now time.Time) (store.Webhook, error) {
	return s.change(ctx, accountID, now, func(tx *txn, r *registration) error {
		w := r.webhook
		if err := w.Rotate(secret, instant(micros(until)), now); err != nil {
			return err
		}
		if _, err := tx.exec(`DELETE FROM old_secrets WHERE account = $1 AND until <= $2`, r.no, micros(now)); err != nil {
			return err
		}
		_, err := tx.exec(`INSERT INTO old_secrets (account, version, secret, until) VALUES ($1, $2, $3, $4)`,
			r.no, w.Version, s.sealer.Load().Seal(w.OldSecrets[0].Secret, w.SecretContext()), micros(until))
		return err
	})
}

func (s *Store) change(ctx context.Context, accountID string, now time.Time, apply func(*txn, *registration) error) (store.Webhook, error) {
	return writeOf(ctx, s.w, accountID, func(tx *txn) (store.Webhook, error) {
		r, err := tx.registration(accountID)
		if err != nil {
			return store.Webhook{}, err
		}
		if err := apply(tx, r); err != nil {
			return store.Webhook{}, err
		}
		r.webhook.UpdatedAt = instant(micros(now))
		r.webhook.Version++
		tx.note(accountID, webhookChanged, now)
		return *r.webhook.Clone(), tx.putWebhook(r)
	})
}

// SuspendWebhook implements [store.Upkeep].
func (s *Store) SuspendWebhook(ctx context.Context, seen store.Webhook, now time.Time) error {
	return s.w.doOf(ctx, seen.AccountID, func(tx *txn) error {
		r, err := tx.registration(seen.AccountID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil || r.webhook.ID != seen.ID || r.webhook.Version != seen.Version {
			return err
		}
		r.webhook.Status, r.webhook.UpdatedAt = store.Suspended, instant(micros(now))
		if err := tx.beginAnew(r, now); err != nil {
			return err
		}
		r.webhook.Version++
		tx.note(seen.AccountID, webhookChanged, now)
		if err := tx.putWebhook(r); err != nil {
			return err
		}
		return tx.tellOfWebhook(store.EndpointSuspended, r.webhook, now)
	})
}

// DeleteWebhook implements [store.Webhooks].
func (s *Store) DeleteWebhook(ctx context.Context, accountID string, now time.Time) error {
	return s.w.doOf(ctx, accountID, func(tx *txn) error {
		if err := tx.lock(accountID); err != nil {
			return err
		}
		var no int64
		removed := store.Webhook{AccountID: accountID} // which may not be readable as a whole
		if err := tx.row(`DELETE FROM webhooks WHERE account = `+numberOf+` RETURNING account, id, version`, []any{accountID}, &no, &removed.ID, &removed.Version); err != nil {
			return err
		}
		for _, table := range [...]string{"old_secrets", "health_changes", "failing_endpoints"} {
			if _, err := tx.exec(`DELETE FROM `+table+` WHERE account = $1`, no); err != nil {
				return err
			}
		}
		if err := tx.cancelReplay(no, now); err != nil {
			return err
		}
		tx.setRegistration(&registration{account: accountID, no: no})
		tx.note(accountID, webhookRemoved, now)
		if err := tx.tellOfWebhook(store.WebhookRemoved, &removed, now); err != nil {
			return err
		}
		if no == operationsNo {
			for _, table := range [...]string{"notices", "failing_endpoints"} {
				if _, err := tx.exec(`DELETE FROM ` + table); err != nil {
					return err
				}
			}
		}
		if !tx.mine(accountID) {
			return nil // its node cancels, before it acknowledges the change
		}
		return tx.cancel(no, now, cancelAtOnce)
	})
}

// endSecrets removes the old secrets that do not sign any more.
func (tx *txn) endSecrets(now time.Time) error {
	rows, err := tx.tx.Query(tx.ctx, `WITH e AS (DELETE FROM old_secrets WHERE until <= $1 RETURNING account) SELECT DISTINCT a.id FROM e JOIN accounts a ON a.no = e.account`, micros(now))
	if err != nil {
		return err
	}
	accounts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, account := range accounts {
		tx.webhooks[account] = nil // the cache has them
		tx.note(account, stateChanged, now)
	}
	return err
}

func (tx *txn) putWebhook(r *registration) error {
	w, sealer := r.webhook, tx.w.store.sealer.Load()
	_, err := tx.exec(`INSERT INTO webhooks (account, id, callback_url, status, secret, version, first_seq, created_at, updated_at, health, health_since, health_version, make_due)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (account) DO UPDATE SET id = excluded.id, callback_url = excluded.callback_url,
			status = excluded.status, secret = excluded.secret, version = excluded.version, first_seq = excluded.first_seq, updated_at = excluded.updated_at,
			health = excluded.health, health_since = excluded.health_since, health_version = excluded.health_version, make_due = excluded.make_due`,
		r.no, w.ID, sealer.Seal([]byte(w.CallbackURL), w.URLContext()), string(w.Status), sealer.Seal(w.Secret, w.SecretContext()), w.Version, w.FirstSeq,
		micros(w.CreatedAt), micros(w.UpdatedAt), string(w.Health.State), micros(w.Health.Since), w.Health.Version, w.MakeDue)
	if err == nil {
		tx.setRegistration(r)
	}
	return err
}

// setRegistration makes a change known after the commit, to the cache and to the
// listener. Each gets a copy.
func (tx *txn) setRegistration(r *registration) {
	if r.webhook == nil {
		tx.webhooks[r.account] = nil
		tx.news = append(tx.news, news{account: r.account})
		return
	}
	kept := *r
	kept.webhook = r.webhook.Clone()
	tx.webhooks[r.account] = &kept
	tx.news = append(tx.news, news{account: r.account, webhook: r.webhook.Clone()})
}
