package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/recapito/recapito/store"
)

// platformWebhook is the platform's own; nil: it has none, or one that cannot be read,
// which must not keep accounts from anything.
func (tx *txn) platformWebhook() (*store.Webhook, error) {
	w, err := tx.webhookOrNone(store.Operations)
	if errors.Is(err, errUnreadable) {
		tx.w.tellUnreadable(store.Operations, err)
		return nil, nil
	}
	return w, err
}

// tell accepts an operational event, as part of the transaction, if the platform has a
// webhook and the notice is not of that.
func (tx *txn) tell(n store.Notice, now time.Time) error {
	w, err := tx.platformWebhook()
	if err != nil || w == nil || n.AccountID == store.Operations {
		return err
	}
	e, verdict := n.Event(), store.Verdict(0)
	batch, err := tx.chunk(nil, []candidate{{Event: &e, verdict: &verdict, at: micros(now), webhook: w}})
	if len(batch) > 0 {
		tx.news = append(tx.news, news{accepted: batch})
	}
	return err
}

// tellOfWebhook tells of a webhook that was changed.
func (tx *txn) tellOfWebhook(kind store.NoticeKind, w *store.Webhook, now time.Time) error {
	return tx.tell(store.NoticeOf(kind, w, instant(micros(now))), now)
}

// gaveUp adds deliveries of an account to those that the platform is to be told of.
func (tx *txn) gaveUp(account string, deliveries int, now time.Time) error {
	w, err := tx.platformWebhook()
	if err != nil || w == nil || deliveries == 0 || account == store.Operations {
		return err
	}
	return tx.exec(`INSERT INTO notices (account_id, at, due_at, deliveries, webhook_id)
		VALUES (?1, ?2, ?3, ?4, coalesce((SELECT id FROM webhooks WHERE account_id = ?1), ''))
		ON CONFLICT DO UPDATE SET deliveries = deliveries + excluded.deliveries`,
		account, micros(now), micros(now.Add(store.NoticeDelay)), deliveries)
}

// fails notes that an endpoint began to fail, and has the platform told that it ended,
// if it was told of the failure.
func (tx *txn) fails(c *store.HealthChange) error {
	switch {
	case c.To.Fails() && !c.From.Fails():
		return tx.beginsToFail(c)
	case c.From.Fails() && !c.To.Fails():
		return tx.recovers(c)
	}
	return nil
}

func (tx *txn) beginsToFail(c *store.HealthChange) error {
	w, err := tx.platformWebhook()
	if err != nil || w == nil || c.AccountID == store.Operations {
		return err
	}
	return tx.exec(`INSERT OR REPLACE INTO failing_endpoints (`+failureColumns+`, due_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		c.AccountID, micros(c.At), c.WebhookID, c.Version, string(c.Error), c.StatusCode, micros(c.At.Add(store.NoticeDelay)))
}

func (tx *txn) recovers(c *store.HealthChange) error {
	rows, err := tx.query(`DELETE FROM failing_endpoints WHERE account_id = ? RETURNING `+failureColumns+`, due_at`, c.AccountID)
	if err != nil {
		return err
	}
	var due int64
	failures, err := collect(rows, func(r *sql.Rows) (store.Notice, error) { return scanFailure(r, &due) })
	if err != nil || len(failures) == 0 || due > 0 {
		return err
	}
	return tx.tell(failures[0].Recovered(c.At), c.At)
}

const (
	noticesDue     = `SELECT account_id, at, deliveries, webhook_id FROM notices INDEXED BY notices_due WHERE due_at <= ? ORDER BY due_at, account_id LIMIT ?`
	dropNotice     = `DELETE FROM notices WHERE account_id = ?`
	failureColumns = `account_id, at, webhook_id, version, error, status_code`
	failuresDue    = `SELECT ` + failureColumns + ` FROM failing_endpoints INDEXED BY failing_endpoints_due WHERE due_at > 0 AND due_at <= ? ORDER BY due_at, account_id LIMIT ?`
	dropFailure    = `DELETE FROM failing_endpoints WHERE account_id = ?`
	toldOfFailure  = `UPDATE failing_endpoints SET due_at = 0 WHERE account_id = ?`
)

// Notify implements [store.Upkeep].
func (s *Store) Notify(ctx context.Context, now time.Time, limit int) (int, error) {
	due, err := readAll(ctx, s, s.reads.notices, scanNotice, micros(now), 1)
	if err != nil {
		return 0, err
	}
	failures, err := readAll(ctx, s, s.reads.failures, justScanFailure, micros(now), 1)
	if err != nil || len(due)+len(failures) == 0 {
		return 0, err
	}
	return write(ctx, s.w, limit, func(tx *txn) (int, error) {
		n, err := tx.tellDue(noticesDue, dropNotice, scanNotice, now, limit)
		if err != nil {
			return 0, err
		}
		more, err := tx.tellDue(failuresDue, toldOfFailure, justScanFailure, now, limit-n)
		return n + more, err
	})
}

// tellDue has the platform told of what is due.
func (tx *txn) tellDue(which, done string, scan func(*sql.Rows) (store.Notice, error), now time.Time, limit int) (int, error) {
	rows, err := tx.query(which, micros(now), limit)
	if err != nil {
		return 0, err
	}
	due, err := collect(rows, scan)
	for i := 0; i < len(due) && err == nil; i++ {
		err = errors.Join(tx.exec(done, due[i].AccountID), tx.tell(due[i], now))
	}
	return len(due), err
}

func justScanFailure(rows *sql.Rows) (store.Notice, error) { return scanFailure(rows) }

// scanFailure reads failureColumns and more.
func scanFailure(rows *sql.Rows, more ...any) (n store.Notice, err error) {
	var at int64
	err = rows.Scan(append([]any{&n.AccountID, &at, &n.WebhookID, &n.Version, &n.Error, &n.StatusCode}, more...)...)
	n.Kind, n.At = store.EndpointFailing, instant(at)
	return n, err
}

func scanNotice(rows *sql.Rows) (n store.Notice, err error) {
	var at int64
	err = rows.Scan(&n.AccountID, &at, &n.Deliveries, &n.WebhookID)
	n.Kind, n.At = store.DeliveryGivenUp, instant(at)
	return n, err
}
