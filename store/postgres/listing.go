package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

const (
	// scanRows is how many of an account's deliveries one listing looks at. One that
	// asks for more gets more.
	scanRows = 10_000
	// messageRows is how many deliveries of a message are looked at by themselves; if
	// it has more, it is looked for among the account's.
	messageRows = 1000
)

// Deliveries implements [store.History]. Listings have connections of their own, and
// end with ctx.
func (s *Store) Deliveries(ctx context.Context, q store.DeliveryQuery) (page store.DeliveryPage, err error) {
	err = s.snapshot(ctx, s.history, func(tx pgx.Tx) error {
		few, err := s.narrow(ctx, tx, &q)
		if err != nil {
			return err
		}
		l := newListing(&q, few, max(s.cfg.scanRows, q.Limit+1))
		if page.Deliveries, err = deliveries(ctx, tx, q.AccountID, true, l.query(), l.args...); err != nil {
			return err
		}
		if page.Next, err = l.next(ctx, tx, page.Deliveries); err != nil {
			return err
		}
		page.Deliveries = page.Deliveries[:min(q.Limit, len(page.Deliveries))]
		return s.addBehind(ctx, tx, q.AccountID, page.Deliveries)
	})
	return page, err
}

// The deliveries of a message, and those with an attempt that failed since a time.
const (
	messageSeqs = `SELECT seq FROM deliveries WHERE message_id = $2 AND account = ` + numberOf + ` LIMIT $3`
	failedSeqs  = `SELECT seq FROM outcomes WHERE account = ` + numberOf + ` AND at >= $2 LIMIT $3`
)

// narrow finds all that can be asked for, if they are few; nil: they are not.
func (s *Store) narrow(ctx context.Context, tx pgx.Tx, q *store.DeliveryQuery) ([]int64, error) {
	switch {
	case q.MessageID != "":
		return few(ctx, tx, messageRows, messageSeqs, q.AccountID, q.MessageID)
	case !q.FailedSince.IsZero():
		return few(ctx, tx, s.cfg.scanRows, failedSeqs, q.AccountID, ceilMicros(q.FailedSince))
	}
	return nil, nil
}

// few are the numbers that a query finds; nil: more than so many.
func few(ctx context.Context, tx pgx.Tx, most int, query string, args ...any) ([]int64, error) {
	rows, err := tx.Query(ctx, query, append(args, most+1)...)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	switch {
	case len(found) > most:
		return nil, err
	case found == nil:
		return []int64{}, err
	}
	return found, err
}

// listing builds the statement of one page.
type listing struct {
	q      *store.DeliveryQuery
	args   []any
	among  []string // conditions on the place of a delivery d
	filter []string // conditions on the delivery, its end e and its last outcome l
	few    bool     // all that can be asked for is in a list
	budget int      // how many deliveries are looked at
	order  string
}

func newListing(q *store.DeliveryQuery, few []int64, budget int) *listing {
	l := &listing{q: q, few: few != nil, budget: budget, order: ` ORDER BY d.accepted_at DESC, d.seq DESC`, args: []any{q.AccountID}, among: []string{`d.account = ` + numberOf}}
	after := `<`
	if q.OldestFirst {
		l.order, after = ` ORDER BY d.accepted_at, d.seq`, `>`
	}
	if l.few {
		l.place(`d.seq = ANY(%s)`, few)
	}
	if !q.From.IsZero() {
		l.place(`d.accepted_at >= %s`, ceilMicros(q.From))
	}
	if !q.To.IsZero() {
		l.place(`d.accepted_at < %s`, ceilMicros(q.To))
	}
	if q.After.Seq > 0 {
		l.place(`(d.accepted_at, d.seq) `+after+` (%s, %s)`, micros(q.After.AcceptedAt), q.After.Seq)
	}
	l.filters()
	return l
}

// place adds a condition, with its arguments in the places of %s.
func (l *listing) place(condition string, args ...any) {
	l.among = append(l.among, l.with(condition, args))
}

func (l *listing) add(condition string, args ...any) {
	l.filter = append(l.filter, l.with(condition, args))
}

func (l *listing) with(condition string, args []any) string {
	names := make([]any, len(args))
	for i, arg := range args {
		l.args = append(l.args, arg)
		names[i] = fmt.Sprint(`$`, len(l.args))
	}
	return fmt.Sprintf(condition, names...)
}

func (l *listing) filters() {
	q := l.q
	if len(q.States) > 0 {
		codes := make([]int16, len(q.States))
		for i, state := range q.States {
			codes[i] = stateCodes[state]
		}
		l.add(`coalesce(e.state, 0) = ANY(%s::smallint[])`, codes)
	}
	if !q.FinishedFrom.IsZero() {
		l.add(`e.ended_at >= %s`, ceilMicros(q.FinishedFrom))
	}
	if !q.FinishedTo.IsZero() {
		l.add(`e.ended_at < %s`, ceilMicros(q.FinishedTo))
	}
	if q.Error != "" {
		l.add(`l.error = %s`, string(q.Error))
	}
	if q.StatusCode != 0 {
		l.add(`l.status_code = %s`, q.StatusCode)
	}
	if !q.FailedSince.IsZero() {
		l.add(`(SELECT x.number FROM outcomes x WHERE x.seq = d.seq AND x.error <> '' AND x.at >= %s LIMIT 1) IS NOT NULL`, ceilMicros(q.FailedSince))
	}
	if q.MessageID != "" {
		l.add(`d.message_id = %s`, q.MessageID)
	}
	if q.Channel != "" {
		l.add(`d.channel = %s`, q.Channel)
	}
	for _, bytes := range [...][]byte{q.Holding, q.HoldingToo} {
		if len(bytes) > 0 {
			l.add(`position(%s::bytea IN d.payload) > 0`, bytes)
		}
	}
}

func (l *listing) query() string {
	return `SELECT ` + deliveryColumns + noBehind + l.from() + l.order + fmt.Sprint(` LIMIT `, l.q.Limit+1)
}

// count counts what the query asks for among those that are looked at.
func (l *listing) count() string { return `SELECT count(*)` + l.from() }

func (l *listing) from() string {
	where := ``
	if len(l.filter) > 0 {
		where = ` WHERE ` + strings.Join(l.filter, ` AND `)
	}
	return ` FROM (` + l.looked(`*`) + fmt.Sprint(` LIMIT `, l.budget) + `) d` + withQueue + where
}

// looked are the deliveries that are looked at.
func (l *listing) looked(columns string) string {
	return `SELECT ` + columns + ` FROM deliveries d WHERE ` + strings.Join(l.among, ` AND `) + l.order
}

// next is where the listing goes on after what was found.
func (l *listing) next(ctx context.Context, tx pgx.Tx, found []store.Delivery) (place store.Place, err error) {
	if len(found) > l.q.Limit {
		last := &found[l.q.Limit-1]
		return store.Place{AcceptedAt: last.AcceptedAt, Seq: last.Seq}, nil
	}
	if l.few || len(l.filter) == 0 {
		return place, nil // it has looked at all
	}
	var at int64
	args := l.args[:len(l.args)-l.filterArgs()]
	rows, err := tx.Query(ctx, l.looked(`d.accepted_at, d.seq`)+fmt.Sprint(` OFFSET `, l.budget-1, ` LIMIT 1`), args...)
	if err != nil {
		return place, err
	}
	_, err = pgx.ForEachRow(rows, []any{&at, &place.Seq}, func() error { return nil })
	place.AcceptedAt = instant(at)
	return place, err
}

// filterArgs counts the arguments of the filters, which come last.
func (l *listing) filterArgs() (n int) {
	for _, condition := range l.filter {
		n += strings.Count(condition, `$`)
	}
	return n
}
