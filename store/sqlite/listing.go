package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/recapito/recapito/store"
)

const (
	// scanRows is how many of an account's deliveries one listing looks at:
	// about 20 ms. One that asks for more gets more.
	scanRows = 10_000
	// firstStep and lastStep are how many are looked at together where some are
	// left out.
	firstStep, lastStep = 100, 2000
	// messageRows is how many deliveries of a message are looked at by
	// themselves; if it has more, it is looked for among the account's.
	messageRows = 1000
)

// Deliveries implements [store.History]. Listings have connections of their own,
// and end with ctx. The newest are looked for in the tail, the others in the
// table.
func (s *Store) Deliveries(ctx context.Context, q store.DeliveryQuery) (page store.DeliveryPage, err error) {
	l := listing{search: search{store: s, ctx: ctx}, query: &q, own: s.w.tail.places(q.AccountID)}
	err = s.list(&l.search, func() (err error) {
		if page, err = l.page(max(s.cfg.scanRows, q.Limit+1)); err != nil {
			return err
		}
		return s.addBehind(ctx, l.tx, page.Deliveries)
	})
	return page, err
}

// search is a reading of many rows, from one snapshot.
type search struct {
	store *Store
	ctx   context.Context
	tx    *sql.Tx
}

// list reads in a snapshot on a connection that is for listings.
func (s *Store) list(c *search, read func() error) (err error) {
	if s.isClosed() {
		return store.ErrClosed
	}
	defer s.readers.begin()()
	if c.tx, err = s.history.BeginTx(c.ctx, nil); err == nil {
		err = errors.Join(read(), c.tx.Rollback())
	}
	if err != nil {
		return s.orClosed(err)
	}
	return nil
}

// listing reads one page of deliveries.
type listing struct {
	search
	query *store.DeliveryQuery
	// own are places of the account, in the order of the listing: those in the
	// tail, or all that can be asked for.
	own []place
	all bool // own are all
}

// The statements of a listing: which deliveries of the account come after a
// place, in either order, and which there are of a message. Each ends with how
// many are looked at.
const (
	listedBefore  = `SELECT accepted_at, seq FROM listed WHERE account_id = ? AND (accepted_at, seq) < (?, ?) ORDER BY accepted_at DESC, seq DESC LIMIT ?`
	listedAfter   = `SELECT accepted_at, seq FROM listed WHERE account_id = ? AND (accepted_at, seq) > (?, ?) ORDER BY accepted_at, seq LIMIT ?`
	messagePlaces = `SELECT accepted_at, seq FROM deliveries INDEXED BY deliveries_message WHERE message_id = ? AND account_id = ? LIMIT ?`
	failedPlaces  = `SELECT d.accepted_at, d.seq FROM (SELECT seq FROM outcomes INDEXED BY outcomes_account WHERE account_id = ? AND at >= ? LIMIT ?) f
		CROSS JOIN deliveries d ON d.seq = f.seq`
)

// page looks at the next deliveries, more at a time each time, until it has
// found enough or has looked at so many.
func (l *listing) page(scan int) (page store.DeliveryPage, err error) {
	q := l.query
	if err := l.narrow(); err != nil {
		return page, err
	}
	filter := newFilter(q)
	at, step := l.begin(), q.Limit+1
	if len(filter.args) > 0 {
		step = max(step, firstStep)
	}
	for looked := 0; err == nil; step = min(2*step, max(lastStep, q.Limit+1)) {
		n := min(step, scan-looked)
		var places []place
		if places, err = l.places(at, n); err != nil {
			break
		}
		var found []store.Delivery
		if found, err = l.read(places, &filter); err != nil {
			break
		}
		looked += len(places)
		page.Deliveries = append(page.Deliveries, found...)
		switch {
		case len(page.Deliveries) > q.Limit:
			page.Deliveries = page.Deliveries[:q.Limit]
			page.Next = placeOf(&page.Deliveries[q.Limit-1]).shown()
			return page, nil
		case len(places) < n:
			return page, nil
		case looked >= scan:
			page.Next = places[len(places)-1].shown()
			return page, nil
		}
		at = places[len(places)-1]
	}
	return page, err
}

// narrow finds all that can be asked for, if they are few, and puts own in order.
func (l *listing) narrow() error {
	var few []place
	var err error
	switch q := l.query; {
	case q.MessageID != "":
		few, err = l.few(messagePlaces, messageRows, q.MessageID, q.AccountID)
	case !q.FailedSince.IsZero():
		few, err = l.few(failedPlaces, l.store.cfg.scanRows, q.AccountID, ceilMicros(q.FailedSince))
	}
	if err == nil && few != nil {
		l.own, l.all = few, true
	}
	slices.SortFunc(l.own, l.compare)
	l.own = slices.Compact(l.own)
	return err
}

// few are the places that a statement finds; nil: more than so many.
func (c *search) few(query string, most int, args ...any) ([]place, error) {
	rows, err := c.tx.QueryContext(c.ctx, query, append(args, most+1)...)
	if err != nil {
		return nil, err
	}
	found, err := collect(rows, scanPlace)
	if len(found) > most {
		found = nil
	} else if found == nil {
		found = []place{}
	}
	return found, err
}

func scanPlace(rows *sql.Rows) (p place, err error) { return p, rows.Scan(&p.accepted, &p.seq) }

// compare orders two places as in the listing.
func (l *listing) compare(a, b place) int {
	if l.query.OldestFirst {
		return a.compare(b)
	}
	return b.compare(a)
}

// begin is the place before the first.
func (l *listing) begin() place {
	q, at := l.query, place{math.MaxInt64, 0}
	switch {
	case q.OldestFirst:
		at = place{ceilMicros(q.From) - 1, math.MaxInt64}
	case !q.To.IsZero():
		at.accepted = ceilMicros(q.To)
	}
	if after := (place{micros(q.After.AcceptedAt), q.After.Seq}); after.seq > 0 && l.compare(after, at) > 0 {
		return after
	}
	return at
}

// beyond reports whether the query asks for neither the place nor any after it.
func (l *listing) beyond(p place) bool {
	if q := l.query; q.OldestFirst {
		return !q.To.IsZero() && p.accepted >= ceilMicros(q.To)
	}
	return p.accepted < ceilMicros(l.query.From)
}

// places finds the next n places after one; fewer: there are no more.
func (l *listing) places(at place, n int) (all []place, err error) {
	for len(l.own) > 0 && l.compare(l.own[0], at) <= 0 {
		l.own = l.own[1:]
	}
	if !l.all {
		query := listedBefore
		if l.query.OldestFirst {
			query = listedAfter
		}
		rows, err := l.tx.QueryContext(l.ctx, query, l.query.AccountID, at.accepted, at.seq, n)
		if err != nil {
			return nil, err
		}
		if all, err = collect(rows, scanPlace); err != nil {
			return nil, err
		}
	}
	all = append(all, l.own[:min(n, len(l.own))]...)
	slices.SortFunc(all, l.compare)
	all = slices.Compact(all)
	all = all[:min(n, len(all))]
	if end := slices.IndexFunc(all, l.beyond); end >= 0 {
		all = all[:end]
	}
	return all, nil
}

// filter is what is asked for beside the place, as a condition on the delivery
// j.value, its row d and its end.
type filter struct {
	conditions []string
	args       []any
	joins      string // what the conditions need
}

func newFilter(q *store.DeliveryQuery) (f filter) {
	if len(q.States) > 0 {
		codes := make([]any, len(q.States))
		for i, state := range q.States {
			codes[i] = stateCodes[state]
		}
		f.add(`coalesce(end.state, 0) IN (`+strings.Repeat(`?, `, len(codes)-1)+`?)`, codes...)
	}
	if !q.FinishedFrom.IsZero() {
		f.add(`end.ended_at >= ?`, ceilMicros(q.FinishedFrom))
	}
	if !q.FinishedTo.IsZero() {
		f.add(`end.ended_at < ?`, ceilMicros(q.FinishedTo))
	}
	if q.Error != "" {
		f.joins = joinLast
		f.add(`last.error = ?`, string(q.Error))
	}
	if q.StatusCode != 0 {
		f.joins = joinLast
		f.add(`last.status_code = ?`, q.StatusCode)
	}
	if !q.FailedSince.IsZero() {
		f.add(`EXISTS (SELECT 1 FROM outcomes f NOT INDEXED WHERE f.seq = j.value AND f.error <> '' AND f.at >= ?)`, ceilMicros(q.FailedSince))
	}
	if q.MessageID != "" {
		f.add(`d.message_id = ?`, q.MessageID)
	}
	if q.Channel != "" {
		f.add(`d.channel = ?`, q.Channel)
	}
	for _, bytes := range [...][]byte{q.Holding, q.HoldingToo} {
		if len(bytes) > 0 {
			f.add(`instr(d.payload, ?) > 0`, bytes)
		}
	}
	return f
}

func (f *filter) add(condition string, args ...any) {
	f.conditions, f.args = append(f.conditions, condition), append(f.args, args...)
}

// query finds of the deliveries of a list those that pass the filter.
func (f *filter) query() string {
	return `SELECT ` + deliveryColumns + noQueueColumns + historyColumns + f.from(joinLast+` LEFT JOIN waiting w ON w.seq = d.seq`)
}

// count counts these.
func (f *filter) count() string { return `SELECT count(*)` + f.from(f.joins) }

func (f *filter) from(joins string) string {
	where := ``
	if len(f.conditions) > 0 {
		where = ` WHERE ` + strings.Join(f.conditions, ` AND `)
	}
	return `
		FROM json_each(?) j LEFT JOIN outcomes end NOT INDEXED ON end.seq = j.value AND end.ended_at > 0 CROSS JOIN deliveries d ON d.seq = j.value` + joins + where
}

// read reads those deliveries that are asked for.
func (l *listing) read(places []place, f *filter) ([]store.Delivery, error) {
	rows, err := l.tx.QueryContext(l.ctx, f.query(), append([]any{list(seqsOf(places))}, f.args...)...)
	if err != nil {
		return nil, err
	}
	found, err := collect(rows, l.store.scanShown)
	slices.SortFunc(found, func(a, b store.Delivery) int { return l.compare(placeOf(&a), placeOf(&b)) })
	return found, err
}

func placeOf(d *store.Delivery) place { return place{micros(d.AcceptedAt), d.Seq} }

func (p place) shown() store.Place { return store.Place{AcceptedAt: instant(p.accepted), Seq: p.seq} }

// ceilMicros rounds up, as what is kept is whole microseconds.
func ceilMicros(t time.Time) int64 { return micros(t.Add(time.Microsecond - 1)) }
