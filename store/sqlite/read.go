package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/recapito/recapito/store"
)

// readStatements are prepared once; database/sql prepares them again on each
// reading connection.
type readStatements struct {
	account, keys, keyByHash, webhook, setting       *sql.Stmt
	pendingAccounts, due, replays, fresh, newest     *sql.Stmt
	oldest, firstReplay, nextDue, delivery, attempts *sql.Stmt
	changes, notices, failures, tally, attempt       *sql.Stmt
	longest, state, tallies                          *sql.Stmt
}

// deliveryColumns are read from deliveries d, with joinQueue.
const deliveryColumns = `d.seq, d.account_id, d.event_id, d.message_id, d.payload, d.sequence, d.checksum, d.accepted_at, d.traceparent,
	coalesce(end.state, 0), coalesce(end.ended_at, 0),
	coalesce(last.number, 0), coalesce(last.failures, 0),
	coalesce(w.due_at, 0), coalesce(w.replayed_at, 0), coalesce(w.webhook_id, ''), coalesce(w.attempts, 0)`

// joinLast adds a delivery's last outcome, if there is one, joinEnd also the one that ended it,
// and joinQueue also where it waits.
const (
	joinLast  = ` LEFT JOIN outcomes last NOT INDEXED ON last.seq = d.seq AND last.number = (SELECT max(number) FROM outcomes WHERE seq = d.seq)`
	joinEnd   = ` LEFT JOIN outcomes end NOT INDEXED ON end.seq = d.seq AND end.ended_at > 0` + joinLast
	joinQueue = joinEnd + ` LEFT JOIN waiting w ON w.seq = d.seq`
)

// queueColumns are what [store.Queue] knows beyond that. Their parameter is the
// present time.
var queueColumns = `, ` + firstFailure(`d.seq`) + `, ` + behind(`e.account_id = d.account_id AND e.message_id = d.message_id AND e.seq < d.seq AND (coalesce(p.replayed_at, 0) > 0) = (coalesce(w.replayed_at, 0) > 0)`)

// noQueueColumns stand in their place where they are not wanted.
const noQueueColumns = `, 0, NULL`

// historyColumns are what [store.History] knows beyond deliveryColumns. They
// come last and may be left out.
const historyColumns = `, coalesce(last.error, ''), coalesce(last.detail, ''), coalesce(last.status_code, 0)`

func (r *readStatements) prepare(db *sql.DB) error {
	waitingRows := `SELECT ` + deliveryColumns + queueColumns + ` FROM waiting w CROSS JOIN deliveries d ON d.seq = w.seq` + joinEnd + ` WHERE w.account_id = ?`
	due := ` AND w.due_at <= ? AND w.seq NOT IN (SELECT value FROM json_each(?)) ORDER BY w.due_at, w.seq LIMIT ?`
	for query, st := range map[string]**sql.Stmt{
		`SELECT created_at FROM accounts WHERE id = ?`: &r.account,
		longestPending: &r.longest,
		accountState:   &r.state,
		`SELECT hash, account_id, id, hint, created_at, expires_at FROM api_keys WHERE account_id = ? ORDER BY created_at, id`: &r.keys,
		`SELECT hash, account_id, id, hint, created_at, expires_at FROM api_keys WHERE hash = ?`:                               &r.keyByHash,
		selectWebhook:  &r.webhook,
		changesBefore:  &r.changes,
		noticesDue:     &r.notices,
		failuresDue:    &r.failures,
		tallyUpTo:      &r.tally,
		talliesBetween: &r.tallies,
		`SELECT ` + attemptColumns + ` FROM outcomes o WHERE o.seq = ? AND o.number = ?`: &r.attempt,
		`SELECT value FROM settings WHERE name = ?`:                                      &r.setting,
		`WITH RECURSIVE a (id) AS (
			SELECT min(account_id) FROM waiting WHERE account_id > ?
			UNION ALL SELECT (SELECT min(account_id) FROM waiting WHERE account_id > a.id) FROM a WHERE a.id IS NOT NULL)
			SELECT id FROM a WHERE id IS NOT NULL LIMIT ?`: &r.pendingAccounts,
		waitingRows + ` AND w.due_at > 0 AND w.replayed_at = 0` + due:          &r.due,
		waitingRows + ` AND w.replayed_at > 0` + due:                           &r.replays,
		waitingRows + ` AND w.due_at = 0 AND w.seq > ? ORDER BY w.seq LIMIT ?`: &r.fresh,
		`SELECT ` + deliveryColumns + queueColumns + ` FROM json_each(?) j CROSS JOIN deliveries d ON d.seq = j.value` + joinQueue + `
			WHERE end.seq IS NULL AND w.seq IS NULL ORDER BY j.key`: &r.newest,
		`SELECT ` + deliveryColumns + `, ` + firstFailure(`d.seq`) + `, NULL FROM deliveries d` + joinQueue + ` WHERE d.seq = (SELECT min(seq) FROM (
			SELECT min(seq) AS seq FROM waiting INDEXED BY waiting_longest WHERE account_id = ? AND replayed_at = 0
			UNION ALL SELECT value FROM json_each(?) j WHERE NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.seq = j.value AND o.ended_at > 0))) AND end.seq IS NULL`: &r.oldest,
		waitingRows + ` AND w.replayed_at > 0 ORDER BY w.replayed_at, w.seq LIMIT 1`:                                                                    &r.firstReplay,
		`SELECT coalesce(min(due_at), 0) FROM waiting WHERE account_id = ? AND due_at > ?`:                                                              &r.nextDue,
		`SELECT ` + deliveryColumns + noQueueColumns + historyColumns + ` FROM deliveries d` + joinQueue + ` WHERE d.event_id = ? AND d.account_id = ?`: &r.delivery,
		`SELECT ` + attemptColumns + ` FROM outcomes o WHERE o.seq = ? AND o.number > 0 ORDER BY o.number`:                                              &r.attempts,
	} {
		var err error
		if *st, err = db.Prepare(query); err != nil {
			return err
		}
	}
	return nil
}

// readTxn is one snapshot.
type readTxn struct {
	ctx   context.Context
	tx    *sql.Tx
	store *Store
}

// snapshot reads in one transaction. Contexts that can be cancelled cost a
// goroutine each in the driver; these reads are short.
func (s *Store) snapshot(ctx context.Context, read func(*readTxn) error) error {
	if s.isClosed() {
		return store.ErrClosed
	}
	defer s.readers.begin()()
	ctx = context.WithoutCancel(ctx)
	tx, err := s.read.BeginTx(ctx, nil)
	if err != nil {
		return s.orClosed(err)
	}
	return errors.Join(read(&readTxn{ctx: ctx, tx: tx, store: s}), tx.Rollback())
}

func (t *readTxn) deliveries(st *sql.Stmt, args ...any) ([]store.Delivery, error) {
	rows, err := t.rows(st, args...)
	if err != nil {
		return nil, err
	}
	return collect(rows, t.store.scanDelivery)
}

func (t *readTxn) rows(st *sql.Stmt, args ...any) (*sql.Rows, error) {
	return t.tx.StmtContext(t.ctx, st).QueryContext(t.ctx, args...)
}

func (t *readTxn) number(st *sql.Stmt, args ...any) (n int64, err error) {
	err = t.tx.StmtContext(t.ctx, st).QueryRowContext(t.ctx, args...).Scan(&n)
	return n, err
}

// webhook is nil if the account has none.
func (t *readTxn) webhook(accountID string) (*store.Webhook, error) {
	rows, err := t.rows(t.store.reads.webhook, accountID)
	if err != nil {
		return nil, err
	}
	found, err := collect(rows, t.store.scanWebhook)
	return joined(found), err
}

func (s *Store) scanDelivery(rows *sql.Rows) (store.Delivery, error) { return s.scanColumns(rows) }

// scanShown is for rows that end with historyColumns.
func (s *Store) scanShown(rows *sql.Rows) (store.Delivery, error) {
	var kind, detail string
	var status int
	d, err := s.scanColumns(rows, &kind, &detail, &status)
	d.LastError, d.LastDetail, d.LastStatusCode = store.ErrorKind(kind), detail, status
	return d, err
}

func (s *Store) scanColumns(rows *sql.Rows, more ...any) (d store.Delivery, err error) {
	var payload []byte
	var sequence, accepted, due, replayed, finished, failed int64
	var state int
	var ahead sql.NullString
	var sum sql.NullInt64
	err = rows.Scan(append([]any{&d.Seq, &d.AccountID, &d.EventID, &d.MessageID, &payload, &sequence, &sum, &accepted, &d.Traceparent, &state, &finished,
		&d.Attempts, &d.Failures, &due, &replayed, &d.Replay.WebhookID, &d.Replay.Attempts, &failed, &ahead}, more...)...)
	if err != nil {
		return d, err
	}
	if state < 0 || state >= len(states) {
		s.met(fmt.Sprint("outcome of delivery ", d.Seq))
		return d, fmt.Errorf("delivery %d of account %s: %w", d.Seq, d.AccountID, store.ErrDamaged)
	}
	s.complete(&d, payload, sequence, sum)
	d.State, d.Replay.At = states[state], instant(replayed)
	d.AcceptedAt, d.DueAt, d.FinishedAt, d.FailedAt = instant(accepted), instant(due), instant(finished), instant(failed)
	d.Behind, err = scanBehind(ahead)
	return d, err
}

// readAll runs a statement outside a transaction.
func readAll[T any](ctx context.Context, s *Store, st *sql.Stmt, scan func(*sql.Rows) (T, error), args ...any) ([]T, error) {
	if s.isClosed() {
		return nil, store.ErrClosed
	}
	defer s.readers.begin()()
	rows, err := st.QueryContext(context.WithoutCancel(ctx), args...)
	if err != nil {
		return nil, s.orClosed(err)
	}
	return collect(rows, scan)
}

// one scans the only row, or returns [store.ErrNotFound].
func (s *Store) one(ctx context.Context, st *sql.Stmt, args []any, dest ...any) error {
	if s.isClosed() {
		return store.ErrClosed
	}
	defer s.readers.begin()()
	err := st.QueryRowContext(context.WithoutCancel(ctx), args...).Scan(dest...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return store.ErrNotFound
	case err != nil:
		return s.orClosed(err)
	}
	return nil
}

// complete makes the body of what is kept of a delivery, unless that is damaged.
func (s *Store) complete(d *store.Delivery, payload []byte, sequence int64, sum sql.NullInt64) {
	if d.Damaged = len(payload) == 0 || !fits(sum, deliverySum(d.AccountID, d.EventID, d.MessageID, sequence, payload)); d.Damaged {
		s.met(fmt.Sprint("delivery ", d.Seq))
	} else {
		d.Body = store.Body(payload, sequence)
	}
}

// collect scans all rows and closes them.
func collect[T any](rows *sql.Rows, scan func(*sql.Rows) (T, error)) (all []T, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

func scanString(rows *sql.Rows) (v string, err error) { return v, rows.Scan(&v) }

// list is an argument for json_each.
func list(seqs []int64) string {
	b := []byte{'['}
	for i, seq := range seqs {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, seq, 10)
	}
	return string(append(b, ']'))
}
