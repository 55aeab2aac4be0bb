package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/recapito/recapito/store"
)

// RecordHealth implements [store.Queue].
func (s *Store) RecordHealth(ctx context.Context, changes []store.HealthChange) error {
	return s.w.doRows(ctx, len(changes), func(tx *txn) error {
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
	present, err := tx.webhook(c.AccountID)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, errUnreadable):
		return nil
	case err != nil:
		return err
	}
	w := *present
	if c.At = instant(micros(c.At)); !c.Apply(&w) {
		return nil
	}
	tx.webhooks[c.AccountID] = &w
	err = tx.exec(`UPDATE webhooks SET health = ?, health_since = ? WHERE account_id = ?`, string(c.To), micros(c.At), c.AccountID)
	if err == nil && c.From != c.To {
		err = errors.Join(tx.keepChange(c), tx.fails(&c))
	}
	return err
}

// beginAnew begins the health of a webhook anew, which has just been put or suspended.
func (tx *txn) beginAnew(w *store.Webhook, now time.Time) error {
	if c := w.BeginAnew(w.Version+1, instant(micros(now))); c != nil {
		return errors.Join(tx.keepChange(*c), tx.exec(dropFailure, w.AccountID))
	}
	return nil
}

// keepChange adds a change to those of its webhook, and removes what is too old.
func (tx *txn) keepChange(c store.HealthChange) error {
	c.At = instant(micros(c.At))
	if err := tx.row(`SELECT coalesce(max(number), 0) + 1 FROM health_changes WHERE account_id = ?`, []any{c.AccountID}, &c.Number); err != nil {
		return err
	}
	tx.news = append(tx.news, news{health: []store.HealthChange{c}})
	return errors.Join(
		tx.exec(`INSERT INTO health_changes (`+changeColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			c.AccountID, c.Number, micros(c.At), string(c.From), string(c.To), string(c.Error), c.StatusCode, c.WebhookID, c.Version),
		tx.exec(`DELETE FROM health_changes WHERE account_id = ? AND number <= ?`, c.AccountID, c.Number-store.MaxHealthChanges))
}

// The changes of a webhook before a number, newest first.
const (
	changeColumns = `account_id, number, at, from_state, to_state, error, status_code, webhook_id, version`
	changesBefore = `SELECT ` + changeColumns + ` FROM health_changes WHERE account_id = ? AND number < ? ORDER BY number DESC LIMIT ?`
)

// HealthChanges implements [store.HealthRecords].
func (s *Store) HealthChanges(ctx context.Context, q store.HealthChangeQuery) (page store.HealthChangePage, err error) {
	if q.Before == 0 {
		q.Before = 1 << 62
	}
	page.Changes, err = readAll(ctx, s, s.reads.changes, scanChange, q.AccountID, q.Before, q.Limit+1)
	if len(page.Changes) > q.Limit {
		page.Changes = page.Changes[:q.Limit]
		page.Next = page.Changes[q.Limit-1].Number
	}
	return page, err
}

func scanChange(rows *sql.Rows) (c store.HealthChange, err error) {
	var at int64
	err = rows.Scan(&c.AccountID, &c.Number, &at, &c.From, &c.To, &c.Error, &c.StatusCode, &c.WebhookID, &c.Version)
	c.At = instant(at)
	return c, err
}
