package sqlite

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/recapito/recapito/store"
)

// Deliveries implements [store.History]. What it has to look through has no
// bound, so it has connections of its own, and ends with ctx.
func (s *Store) Deliveries(ctx context.Context, q store.DeliveryQuery) ([]store.Delivery, error) {
	if s.isClosed() {
		return nil, store.ErrClosed
	}
	query, args := listing(&q)
	rows, err := s.history.QueryContext(ctx, query, append(args, q.Limit)...)
	if err != nil {
		return nil, s.orClosed(err)
	}
	return collect(rows, scanDelivery)
}

// listing is the statement for a query. It names the index for a message: else
// SQLite would rather look through the account.
func listing(q *store.DeliveryQuery) (query string, args []any) {
	where, args := conditions(q)
	from := `deliveries d`
	if q.MessageID != "" {
		from += ` INDEXED BY deliveries_message`
	}
	return `SELECT ` + deliveryColumns + `, 0 FROM ` + from + ` WHERE ` + strings.Join(where, ` AND `) +
		` ORDER BY d.accepted_at DESC, d.seq DESC LIMIT ?`, args
}

func conditions(q *store.DeliveryQuery) (where []string, args []any) {
	add := func(condition string, values ...any) {
		where = append(where, condition)
		args = append(args, values...)
	}
	add(`d.account_id = ?`, q.AccountID)
	if q.State != "" {
		add(`d.state = ?`, stateCodes[q.State])
	}
	if q.MessageID != "" {
		add(`d.message_id = ?`, q.MessageID)
	}
	if !q.From.IsZero() {
		add(`d.accepted_at >= ?`, ceilMicros(q.From))
	}
	if !q.To.IsZero() {
		add(`d.accepted_at < ?`, ceilMicros(q.To))
	}
	if !q.BeforeTime.IsZero() {
		add(`(d.accepted_at, d.seq) < (?, ?)`, micros(q.BeforeTime), q.BeforeSeq)
	}
	return where, args
}

// ceilMicros rounds up, as what is kept is whole microseconds.
func ceilMicros(t time.Time) int64 { return micros(t.Add(time.Microsecond - 1)) }

// Delivery implements [store.History].
func (s *Store) Delivery(ctx context.Context, accountID, eventID string) (d store.Delivery, attempts []store.Attempt, err error) {
	err = s.snapshot(ctx, func(tx *readTxn) error {
		found, err := tx.deliveries(s.reads.delivery, eventID, accountID)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return store.ErrNotFound
		}
		d = found[0]
		rows, err := tx.tx.StmtContext(tx.ctx, s.reads.attempts).QueryContext(tx.ctx, d.Seq)
		if err != nil {
			return err
		}
		attempts, err = collect(rows, scanAttempt)
		return err
	})
	return d, attempts, err
}

func scanAttempt(rows *sql.Rows) (a store.Attempt, err error) {
	var at, duration int64
	var kind string
	err = rows.Scan(&a.Number, &at, &duration, &a.StatusCode, &kind, &a.Response, &a.Probe)
	a.At, a.Duration, a.Error = instant(at), time.Duration(duration)*time.Microsecond, store.ErrorKind(kind)
	return a, err
}
