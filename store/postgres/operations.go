package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// The platform's own webhook belongs to an account that is in no listing: its number is
// operationsNo, and it has a row from the beginning.
const (
	operationsNo    = 0
	operationsShard = 0
)

// platformWebhook is the platform's own; nil: it has none, or one that cannot be read,
// which must not keep accounts from anything. It is read as it is for an event, without a
// lock: each change of a webhook asks for it, and all of all nodes would wait for each other.
func (tx *txn) platformWebhook() (*registration, error) {
	found, err := tx.w.store.readRegistrations(tx.ctx, tx.tx, []string{store.Operations})
	if err != nil {
		return nil, err
	}
	r, err := present(found)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case errors.Is(err, errUnreadable):
		tx.w.tellUnreadable(store.Operations, err)
		return nil, nil
	}
	return r, err
}

// tell accepts an operational event, as part of the transaction, if the platform has a
// webhook and the notice is not of that.
func (tx *txn) tell(n store.Notice, now time.Time) error {
	r, err := tx.platformWebhook()
	if err != nil || r == nil || n.AccountID == store.Operations {
		return err
	}
	e, verdict := n.Event(), store.Verdict(0)
	var known bool
	if err := tx.row(`SELECT EXISTS (SELECT FROM deliveries WHERE event_id = $1 AND account = $2)`, []any{e.ID, r.no}, &known); err != nil || known {
		return err
	}
	todo := []*candidate{{Event: &e, registration: r, verdict: &verdict, at: micros(now)}}
	rank(todo)
	batch := &pgx.Batch{}
	tx.insert(batch, todo)
	if err := tx.tx.SendBatch(tx.ctx, batch).Close(); err != nil {
		return err
	}
	tx.moved[pending]++
	tx.tally(r.no, now).AddPending(1, int64(len(e.Payload)))
	tx.accepted(todo)
	return nil
}

// tellOfWebhook tells of a webhook that was changed.
func (tx *txn) tellOfWebhook(kind store.NoticeKind, w *store.Webhook, now time.Time) error {
	return tx.tell(store.NoticeOf(kind, w, instant(micros(now))), now)
}

// addNotices adds deliveries that were given up, by account, to those that the platform
// is to be told of, if it has a webhook.
const addNotices = `INSERT INTO notices (account, at, due_at, deliveries, webhook_id)
	SELECT u.no, u.at, u.at + $4, u.n, coalesce((SELECT w.id FROM webhooks w WHERE w.account = u.no), '')
	FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u (no, n, at) WHERE u.no <> 0 AND EXISTS (SELECT FROM webhooks WHERE account = 0)
	ON CONFLICT (account) DO UPDATE SET deliveries = notices.deliveries + excluded.deliveries`

// givenUp are deliveries that a transaction gave up, by the number of the account.
type givenUp struct {
	n  int64
	at int64
}

func (tx *txn) gaveUp(account int64, deliveries int, now time.Time) {
	if deliveries == 0 {
		return
	}
	g, known := tx.given[account]
	if !known {
		g.at = micros(now)
	}
	g.n += int64(deliveries)
	tx.given[account] = g
}

// noticeArgs are the arguments of addNotices.
func (tx *txn) noticeArgs() []any {
	var accounts, n, at []int64
	for account, g := range tx.given {
		accounts, n, at = append(accounts, account), append(n, g.n), append(at, g.at)
	}
	return []any{accounts, n, at, store.NoticeDelay.Microseconds()}
}

// saveNotices is for a transaction of single statements.
func (tx *txn) saveNotices() error {
	if len(tx.given) == 0 {
		return nil
	}
	_, err := tx.exec(addNotices, tx.noticeArgs()...)
	return err
}

// fails notes that an endpoint began to fail, and has the platform told that it ended,
// if it was told of the failure.
func (tx *txn) fails(account int64, c *store.HealthChange) error {
	switch {
	case c.To.Fails() && !c.From.Fails():
		_, err := tx.exec(`INSERT INTO failing_endpoints (account, at, webhook_id, version, error, status_code, due_at)
			SELECT $1::bigint, $2, $3, $4, $5, $6, $7 WHERE $1 <> 0 AND EXISTS (SELECT FROM webhooks WHERE account = 0)
			ON CONFLICT (account) DO UPDATE SET at = excluded.at, webhook_id = excluded.webhook_id, version = excluded.version,
				error = excluded.error, status_code = excluded.status_code, due_at = excluded.due_at`,
			account, micros(c.At), c.WebhookID, c.Version, string(c.Error), c.StatusCode, micros(c.At.Add(store.NoticeDelay)))
		return err
	case c.From.Fails() && !c.To.Fails():
		return tx.recovers(account, c)
	}
	return nil
}

func (tx *txn) recovers(account int64, c *store.HealthChange) error {
	n := store.Notice{Kind: store.EndpointFailing, AccountID: c.AccountID}
	var at, due int64
	err := tx.row(`DELETE FROM failing_endpoints WHERE account = $1 RETURNING at, webhook_id, version, error, status_code, due_at`,
		[]any{account}, &at, &n.WebhookID, &n.Version, &n.Error, &n.StatusCode, &due)
	if errors.Is(err, store.ErrNotFound) || err == nil && due > 0 {
		return nil
	}
	if err != nil {
		return err
	}
	n.At = instant(at)
	return tx.tell(n.Recovered(c.At), c.At)
}

const (
	noticesDue = `SELECT a.id, n.at, n.deliveries, n.webhook_id FROM notices n JOIN accounts a ON a.no = n.account
		WHERE n.due_at <= $1 ORDER BY n.due_at, a.id LIMIT $2`
	dropNotice  = `DELETE FROM notices WHERE account = ` + numberOf
	failuresDue = `SELECT a.id, f.at, f.webhook_id, f.version, f.error, f.status_code FROM failing_endpoints f JOIN accounts a ON a.no = f.account
		WHERE f.due_at > 0 AND f.due_at <= $1 ORDER BY f.due_at, a.id LIMIT $2`
	toldOfFailure = `UPDATE failing_endpoints SET due_at = 0 WHERE account = ` + numberOf
)

// Notify implements [store.Upkeep].
func (s *Store) Notify(ctx context.Context, now time.Time, limit int) (int, error) {
	if !s.shards.owns(operationsShard) {
		return 0, nil // one node tells
	}
	due, err := all(ctx, s, scanNotice, noticesDue, micros(now), 1)
	if err != nil {
		return 0, err
	}
	failures, err := all(ctx, s, scanFailure, failuresDue, micros(now), 1)
	if err != nil || len(due)+len(failures) == 0 {
		return 0, err
	}
	return write(ctx, s.w, func(tx *txn) (int, error) {
		if !tx.mine(store.Operations) {
			return 0, nil
		}
		n, err := tx.tellDue(noticesDue, dropNotice, scanNotice, now, limit)
		if err != nil {
			return 0, err
		}
		more, err := tx.tellDue(failuresDue, toldOfFailure, scanFailure, now, limit-n)
		return n + more, err
	})
}

// tellDue has the platform told of what is due.
func (tx *txn) tellDue(which, done string, scan pgx.RowToFunc[store.Notice], now time.Time, limit int) (int, error) {
	rows, err := tx.tx.Query(tx.ctx, which, micros(now), limit)
	if err != nil {
		return 0, err
	}
	due, err := pgx.CollectRows(rows, scan)
	for i := 0; i < len(due) && err == nil; i++ {
		if _, err = tx.exec(done, due[i].AccountID); err == nil {
			err = tx.tell(due[i], now)
		}
	}
	return len(due), err
}

func scanFailure(row pgx.CollectableRow) (n store.Notice, err error) {
	var at int64
	err = row.Scan(&n.AccountID, &at, &n.WebhookID, &n.Version, &n.Error, &n.StatusCode)
	n.Kind, n.At = store.EndpointFailing, instant(at)
	return n, err
}

func scanNotice(row pgx.CollectableRow) (n store.Notice, err error) {
	var at int64
	err = row.Scan(&n.AccountID, &at, &n.Deliveries, &n.WebhookID)
	n.Kind, n.At = store.DeliveryGivenUp, instant(at)
	return n, err
}
