package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/recapito/recapito/store"
)

// Deliveries implements [store.History]. What it has to look through has no
// bound, so it has connections of its own, and ends with ctx. The newest are
// looked for in the tail, the others in the table.
func (s *Store) Deliveries(ctx context.Context, q store.DeliveryQuery) ([]store.Delivery, error) {
	if s.isClosed() {
		return nil, store.ErrClosed
	}
	places := s.w.tail.places(q.AccountID, selected(&q))
	defer s.readers.begin()()
	tx, err := s.history.BeginTx(ctx, nil)
	if err != nil {
		return nil, s.orClosed(err)
	}
	found, err := s.listDeliveries(ctx, tx, &q, places)
	if err := errors.Join(err, tx.Rollback()); err != nil {
		return nil, s.orClosed(err)
	}
	return found, nil
}

func (s *Store) listDeliveries(ctx context.Context, tx *sql.Tx, q *store.DeliveryQuery, newest []place) (all []store.Delivery, err error) {
	query, args := listing(q)
	rows, err := tx.QueryContext(ctx, query, append(args, q.Limit)...)
	if err != nil {
		return nil, err
	}
	if all, err = collect(rows, scanDelivery); err != nil || q.MessageID != "" {
		return all, err
	}
	// As many of the newest as are wanted; more only if the state drops some.
	step := q.Limit
	if q.State != "" {
		step = max(step, 100)
	}
	for found := 0; len(newest) > 0 && found < q.Limit; {
		seqs := make([]int64, 0, step)
		for _, p := range newest[:min(len(newest), step)] {
			seqs = append(seqs, p.seq)
		}
		newest = newest[len(seqs):]
		query, args := listingOf(q, seqs)
		rows, err := tx.QueryContext(ctx, query, args...)
		if err != nil {
			return nil, err
		}
		more, err := collect(rows, scanDelivery)
		if err != nil {
			return nil, err
		}
		found += len(more)
		all = append(all, more...)
	}
	slices.SortFunc(all, func(a, b store.Delivery) int {
		return cmp.Or(b.AcceptedAt.Compare(a.AcceptedAt), cmp.Compare(b.Seq, a.Seq))
	})
	all = slices.CompactFunc(all, func(a, b store.Delivery) bool { return a.Seq == b.Seq })
	return all[:min(len(all), q.Limit)], nil
}

// listing is the statement for a query, but for what is in the tail. One for a
// message finds that, too.
func listing(q *store.DeliveryQuery) (query string, args []any) {
	from, t := `listed t CROSS JOIN deliveries d ON d.seq = t.seq`, "t"
	if q.MessageID != "" {
		from, t = `deliveries d INDEXED BY deliveries_message`, "d"
	}
	where, args := conditions(q, t)
	return `SELECT ` + deliveryColumns + `, 0 FROM ` + from + joinEnd + ` WHERE ` + strings.Join(where, ` AND `) +
		` ORDER BY ` + t + `.accepted_at DESC, ` + t + `.seq DESC LIMIT ?`, args
}

// listingOf selects, of some deliveries in the tail, those that a query asks
// for, as far as the tail cannot tell.
func listingOf(q *store.DeliveryQuery, seqs []int64) (query string, args []any) {
	query = `SELECT ` + deliveryColumns + `, 0 FROM json_each(?) j CROSS JOIN deliveries d ON d.seq = j.value` + joinEnd
	args = []any{list(seqs)}
	if q.State != "" {
		query += ` WHERE coalesce(end.state, 0) = ?`
		args = append(args, stateCodes[q.State])
	}
	return query, args
}

// selected is what the tail can tell of a query.
func selected(q *store.DeliveryQuery) func(place) bool {
	before := place{micros(q.BeforeTime), q.BeforeSeq}
	return func(p place) bool {
		return (q.From.IsZero() || p.accepted >= ceilMicros(q.From)) && (q.To.IsZero() || p.accepted < ceilMicros(q.To)) &&
			(q.BeforeTime.IsZero() || p.compare(before) < 0)
	}
}

// conditions are on the table or alias t, which has the order.
func conditions(q *store.DeliveryQuery, t string) (where []string, args []any) {
	add := func(condition string, values ...any) {
		where = append(where, condition)
		args = append(args, values...)
	}
	add(t+`.account_id = ?`, q.AccountID)
	if q.State != "" {
		add(`coalesce(end.state, 0) = ?`, stateCodes[q.State])
	}
	if q.MessageID != "" {
		add(`d.message_id = ?`, q.MessageID)
	}
	if !q.From.IsZero() {
		add(t+`.accepted_at >= ?`, ceilMicros(q.From))
	}
	if !q.To.IsZero() {
		add(t+`.accepted_at < ?`, ceilMicros(q.To))
	}
	if !q.BeforeTime.IsZero() {
		add(`(`+t+`.accepted_at, `+t+`.seq) < (?, ?)`, micros(q.BeforeTime), q.BeforeSeq)
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
