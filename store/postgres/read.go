package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/recapito/recapito/store"
)

// The subqueries below end with LIMIT, so that the server looks each row up by its
// index: otherwise it may read a whole table to compare it with a handful of rows.

// isPending is the condition that a delivery has not ended.
func isPending(seq string) string {
	return `(SELECT x.number FROM outcomes x WHERE x.seq = ` + seq + ` AND x.ended_at > 0 LIMIT 1) IS NULL`
}

// firstFailure is [store.Delivery.FailedAt].
func firstFailure(seq string) string {
	return `coalesce((SELECT x.at + x.duration FROM outcomes x WHERE x.seq = ` + seq + ` AND x.failures > 0 ORDER BY x.number LIMIT 1), 0)`
}

// behind is what [store.Behind] says of those of these deliveries p that are PENDING,
// in their first run or again, its members in an array; NULL: there are none.
func behind(these, again, now string) string {
	return `(SELECT ARRAY[max((f.due = 0)::integer)::bigint, count(nullif(f.due, 0)), coalesce(min(nullif(f.due, 0)), 0),
			CASE WHEN min(f.at) = 0 THEN 0 ELSE coalesce(max(f.at) FILTER (WHERE f.at <= ` + now + `), max(f.at), 0) END]
		FROM (SELECT g.due, CASE WHEN g.due > 0 THEN ` + firstFailure(`g.seq`) + ` END AS at
			FROM (SELECT p.seq, coalesce(v.due_at, 0) AS due FROM deliveries p LEFT JOIN LATERAL (SELECT x.due_at, x.replayed_at FROM waiting x WHERE x.seq = p.seq LIMIT 1) v ON true
				WHERE ` + these + ` AND ` + isPending(`p.seq`) + ` AND (coalesce(v.replayed_at, 0) > 0) = ` + again + `) g) f HAVING count(*) > 0)`
}

// scanBehind reads it.
func scanBehind(members []int64) (b store.Behind) {
	if len(members) == 4 {
		b.Fresh, b.PutOff = members[0] == 1, int(members[1])
		b.DueAt, b.FailedAt = instant(members[2]), instant(members[3])
	}
	return b
}

// deliveryColumns are read from deliveries d, with its end e, its last outcome l, and
// where it waits, w.
const deliveryColumns = `d.seq, d.event_id, d.message_id, d.payload, d.sequence, d.accepted_at, coalesce(d.traceparent, ''), coalesce(e.state, 0), coalesce(e.ended_at, 0),
	coalesce(l.number, 0), coalesce(l.failures, 0), coalesce(l.error, ''), coalesce(l.detail, ''), coalesce(l.status_code, 0),
	coalesce(w.due_at, 0), coalesce(w.replayed_at, 0), coalesce(w.webhook_id, ''), coalesce(w.attempts, 0)`

// withQueue adds e, l and w.
const withQueue = ` LEFT JOIN LATERAL (SELECT x.state, x.ended_at FROM outcomes x WHERE x.seq = d.seq AND x.ended_at > 0 LIMIT 1) e ON true
	LEFT JOIN LATERAL (SELECT x.number, x.failures, x.error, x.detail, x.status_code FROM outcomes x WHERE x.seq = d.seq ORDER BY x.number DESC LIMIT 1) l ON true
	LEFT JOIN LATERAL (SELECT * FROM waiting x WHERE x.seq = d.seq LIMIT 1) w ON true`

// bySeq are the deliveries of a list s of sequence numbers.
const bySeq = ` CROSS JOIN LATERAL (SELECT * FROM deliveries x WHERE x.seq = s.seq LIMIT 1) d`

// noBehind stands in the place of what a delivery is behind.
const noBehind = `, 0, NULL::bigint[]`

// whatBehind is what [store.Queue] knows beyond deliveryColumns.
func whatBehind(now string) string {
	return `, ` + firstFailure(`d.seq`) + `, ` + behind(`p.account = d.account AND p.message_id = d.message_id AND p.seq < d.seq`, `(coalesce(w.replayed_at, 0) > 0)`, now)
}

// scanDelivery reads deliveryColumns and what it is behind. history keeps what
// [store.History] knows beyond [store.Queue]. first are columns before these.
func scanDelivery(rows pgx.Rows, accountID string, history bool, first ...any) (d store.Delivery, err error) {
	var payload []byte
	var sequence, state int32
	var accepted, ended, due, replayed, failedAt int64
	var lastError string
	var ahead []int64
	err = rows.Scan(append(first, &d.Seq, &d.EventID, &d.MessageID, &payload, &sequence, &accepted, &d.Traceparent, &state, &ended,
		&d.Attempts, &d.Failures, &lastError, &d.LastDetail, &d.LastStatusCode, &due, &replayed, &d.Replay.WebhookID, &d.Replay.Attempts, &failedAt, &ahead)...)
	if err != nil {
		return d, err
	}
	d.AccountID, d.State = accountID, states[state]
	d.AcceptedAt, d.FinishedAt, d.DueAt, d.FailedAt = instant(accepted), instant(ended), instant(due), instant(failedAt)
	d.Replay.At = instant(replayed)
	d.LastError, d.Behind = store.ErrorKind(lastError), scanBehind(ahead)
	if !history {
		d.LastError, d.LastDetail, d.LastStatusCode = "", "", 0
	}
	if len(payload) > 0 {
		d.Body = store.Body(payload, int64(sequence))
	}
	d.Damaged = len(payload) == 0
	return d, nil
}

// deliveries reads a statement's deliveries of an account.
func deliveries(ctx context.Context, tx pgx.Tx, accountID string, history bool, query string, args ...any) ([]store.Delivery, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Delivery, error) {
		return scanDelivery(rows, accountID, history)
	})
}

// snapshot reads in one transaction, on a connection of a pool.
func (s *Store) snapshot(ctx context.Context, pool *pgxpool.Pool, read func(pgx.Tx) error) error {
	if s.isClosed() {
		return store.ErrClosed
	}
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, read)
	return s.orClosed(err)
}

// shortly is the context of a short read: who leaves does not end it, which would cost
// the connection.
func shortly(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
}

// one scans the only row of a short read, or returns [store.ErrNotFound].
func (s *Store) one(ctx context.Context, query string, args []any, dest ...any) error {
	if s.isClosed() {
		return store.ErrClosed
	}
	ctx, cancel := shortly(ctx)
	defer cancel()
	err := s.reads.QueryRow(ctx, query, args...).Scan(dest...)
	if errors.Is(err, pgx.ErrNoRows) {
		return store.ErrNotFound
	}
	return s.orClosed(err)
}

// all reads all rows of a short read.
func all[T any](ctx context.Context, s *Store, scan pgx.RowToFunc[T], query string, args ...any) ([]T, error) {
	if s.isClosed() {
		return nil, store.ErrClosed
	}
	ctx, cancel := shortly(ctx)
	defer cancel()
	rows, err := s.reads.Query(ctx, query, args...)
	if err != nil {
		return nil, s.orClosed(err)
	}
	found, err := pgx.CollectRows(rows, scan)
	if len(found) == 0 {
		found = nil
	}
	return found, s.orClosed(err)
}

// orClosed explains an error of a read that Close cut short.
func (s *Store) orClosed(err error) error {
	if err != nil && s.isClosed() {
		return store.ErrClosed
	}
	return err
}
