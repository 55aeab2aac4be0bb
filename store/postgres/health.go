package postgres

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// RecordHealth implements [store.Queue].
func (s *Store) RecordHealth(ctx context.Context, changes []store.HealthChange) error {
	return s.w.do(ctx, func(tx *txn) error {
		for i := range changes {
			if err := tx.changeHealth(changes[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// changeHealth keeps a change, if it holds. That of a webhook that cannot be read does
// not.
func (tx *txn) changeHealth(c store.HealthChange) error {
	r, err := tx.registration(c.AccountID)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, errUnreadable):
		return nil
	case err != nil:
		return err
	}
	if c.At = instant(micros(c.At)); !c.Apply(r.webhook) {
		return nil
	}
	tx.webhooks[c.AccountID] = r
	tx.note(c.AccountID, stateChanged, c.At)
	_, err = tx.exec(`UPDATE webhooks SET health = $2, health_since = $3 WHERE account = $1`, r.no, string(c.To), micros(c.At))
	if err == nil && c.From != c.To {
		if err = tx.keepChange(r.no, c); err == nil {
			err = tx.fails(r.no, &c)
		}
	}
	return err
}

// beginAnew begins the health of a webhook anew, which has just been put or suspended.
func (tx *txn) beginAnew(r *registration, now time.Time) error {
	if c := r.webhook.BeginAnew(r.webhook.Version+1, instant(micros(now))); c != nil {
		if err := tx.keepChange(r.no, *c); err != nil {
			return err
		}
		_, err := tx.exec(`DELETE FROM failing_endpoints WHERE account = $1`, r.no)
		return err
	}
	return nil
}

// keepChange adds a change to those of its webhook, and removes what is too old.
func (tx *txn) keepChange(account int64, c store.HealthChange) error {
	c.At = instant(micros(c.At))
	err := tx.row(`INSERT INTO health_changes (account, number, at, from_state, to_state, error, status_code, webhook_id, version)
		SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6, $7, $8 FROM health_changes WHERE account = $1 RETURNING number`,
		[]any{account, micros(c.At), string(c.From), string(c.To), string(c.Error), c.StatusCode, c.WebhookID, c.Version}, &c.Number)
	if err != nil {
		return err
	}
	tx.news = append(tx.news, news{health: []store.HealthChange{c}})
	_, err = tx.exec(`DELETE FROM health_changes WHERE account = $1 AND number <= $2`, account, c.Number-store.MaxHealthChanges)
	return err
}

const changesBefore = `SELECT number, at, from_state, to_state, error, status_code, webhook_id, version FROM health_changes
	WHERE account = ` + numberOf + ` AND number < $2 ORDER BY number DESC LIMIT $3`

// HealthChanges implements [store.HealthRecords].
func (s *Store) HealthChanges(ctx context.Context, q store.HealthChangeQuery) (page store.HealthChangePage, err error) {
	if q.Before == 0 {
		q.Before = math.MaxInt64
	}
	page.Changes, err = all(ctx, s, func(row pgx.CollectableRow) (c store.HealthChange, err error) {
		var at int64
		err = row.Scan(&c.Number, &at, &c.From, &c.To, &c.Error, &c.StatusCode, &c.WebhookID, &c.Version)
		c.AccountID, c.At = q.AccountID, instant(at)
		return c, err
	}, changesBefore, q.AccountID, q.Before, q.Limit+1)
	if len(page.Changes) > q.Limit {
		page.Changes = page.Changes[:q.Limit]
		page.Next = page.Changes[q.Limit-1].Number
	}
	return page, err
}
