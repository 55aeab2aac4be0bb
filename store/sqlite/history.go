package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
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
func (s *Store) Deliveries(ctx context.Context, q store.DeliveryQuery) (store.DeliveryPage, error) {
	if s.isClosed() {
		return store.DeliveryPage{}, store.ErrClosed
	}
	l := listing{store: s, ctx: ctx, query: &q, newest: s.w.tail.places(q.AccountID)}
	defer s.readers.begin()()
	var err error
	if l.tx, err = s.history.BeginTx(ctx, nil); err != nil {
		return store.DeliveryPage{}, s.orClosed(err)
	}
	page, err := l.page(max(s.cfg.scanRows, q.Limit+1))
	if err == nil {
		err = s.addBehind(ctx, l.tx, page.Deliveries)
	}
	if err := errors.Join(err, l.tx.Rollback()); err != nil {
		return store.DeliveryPage{}, s.orClosed(err)
	}
	return page, nil
}

// listing reads one page.
type listing struct {
	store  *Store
	ctx    context.Context
	tx     *sql.Tx
	query  *store.DeliveryQuery
	newest []place // of the account, in the tail, newest first
	few    bool    // only the message's own are looked at
}

// The statements of a listing: which deliveries come after a place, all of the
// account's in the table or those of a message, and which of them are asked for.
const (
	listedPlaces  = `SELECT accepted_at, seq FROM listed WHERE account_id = ? AND (accepted_at, seq) < (?, ?) ORDER BY accepted_at DESC, seq DESC LIMIT ?`
	messagePlaces = `SELECT accepted_at, seq FROM deliveries INDEXED BY deliveries_message WHERE message_id = ? AND account_id = ?
		AND (accepted_at, seq) < (?, ?) ORDER BY accepted_at DESC, seq DESC LIMIT ?`
	messageCount = `SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY deliveries_message WHERE message_id = ? AND account_id = ? LIMIT ?)`
	askedFor     = `SELECT ` + deliveryColumns + noQueueColumns + `
		FROM json_each(?1) j LEFT JOIN outcomes end NOT INDEXED ON end.seq = j.value AND end.ended_at > 0 CROSS JOIN deliveries d ON d.seq = j.value
		WHERE (?2 < 0 OR coalesce(end.state, 0) = ?2) AND (?3 = '' OR d.message_id = ?3)`
)

// page looks at the next deliveries, more at a time each time, until it has
// found enough or has looked at so many.
func (l *listing) page(scan int) (page store.DeliveryPage, err error) {
	q := l.query
	at, step := l.begin(), q.Limit+1
	if q.MessageID != "" {
		var n int
		err = l.tx.QueryRowContext(l.ctx, messageCount, q.MessageID, q.AccountID, messageRows+1).Scan(&n)
		l.few = n <= messageRows
	}
	if q.MessageID != "" || q.State != "" {
		step = max(step, firstStep)
	}
	for looked := 0; err == nil; step = min(2*step, max(lastStep, q.Limit+1)) {
		n := min(step, scan-looked)
		var places []place
		if places, err = l.places(at, n); err != nil {
			break
		}
		var found []store.Delivery
		if found, err = l.read(places); err != nil {
			break
		}
		looked += len(places)
		page.Deliveries = append(page.Deliveries, found...)
		switch {
		case len(page.Deliveries) > q.Limit:
			page.Deliveries = page.Deliveries[:q.Limit]
			last := &page.Deliveries[q.Limit-1]
			page.Next = store.Place{AcceptedAt: last.AcceptedAt, Seq: last.Seq}
			return page, nil
		case len(places) < n:
			return page, nil
		case looked >= scan:
			last := places[len(places)-1]
			page.Next = store.Place{AcceptedAt: instant(last.accepted), Seq: last.seq}
			return page, nil
		}
		at = places[len(places)-1]
	}
	return page, err
}

// begin is the place before the first.
func (l *listing) begin() place {
	at := place{math.MaxInt64, 0}
	if to := l.query.To; !to.IsZero() {
		at.accepted = ceilMicros(to)
	}
	if b := l.query.Before; b.Seq > 0 {
		if before := (place{micros(b.AcceptedAt), b.Seq}); before.compare(at) < 0 {
			return before
		}
	}
	return at
}

// places finds the next n places after one; fewer: there are no more.
func (l *listing) places(at place, n int) ([]place, error) {
	q, query, args := l.query, listedPlaces, []any{l.query.AccountID, at.accepted, at.seq, n}
	if l.few {
		query, args = messagePlaces, slices.Insert(args, 0, any(q.MessageID))
	}
	rows, err := l.tx.QueryContext(l.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	all, err := collect(rows, func(rows *sql.Rows) (p place, err error) { return p, rows.Scan(&p.accepted, &p.seq) })
	if err != nil {
		return nil, err
	}
	if !l.few {
		for len(l.newest) > 0 && l.newest[0].compare(at) >= 0 {
			l.newest = l.newest[1:]
		}
		all = append(all, l.newest[:min(n, len(l.newest))]...)
		slices.SortFunc(all, newestFirst)
		all = slices.Compact(all)
		all = all[:min(n, len(all))]
	}
	if from := ceilMicros(q.From); !q.From.IsZero() {
		end := slices.IndexFunc(all, func(p place) bool { return p.accepted < from })
		if end >= 0 {
			all = all[:end]
		}
	}
	return all, nil
}

// read reads those deliveries that are asked for.
func (l *listing) read(places []place) ([]store.Delivery, error) {
	seqs := make([]int64, len(places))
	for i, p := range places {
		seqs[i] = p.seq
	}
	state := -1
	if l.query.State != "" {
		state = stateCodes[l.query.State]
	}
	rows, err := l.tx.QueryContext(l.ctx, askedFor, list(seqs), state, l.query.MessageID)
	if err != nil {
		return nil, err
	}
	found, err := collect(rows, l.store.scanDelivery)
	slices.SortFunc(found, func(a, b store.Delivery) int {
		return newestFirst(place{micros(a.AcceptedAt), a.Seq}, place{micros(b.AcceptedAt), b.Seq})
	})
	return found, err
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
		if err := s.addBehind(tx.ctx, tx.tx, found); err != nil {
			return err
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

// pendingOfMessages are the PENDING deliveries of the same messages as the given
// ones. It looks at a given number of the messages' deliveries at most.
var pendingOfMessages = `SELECT same.seq, same.message_id, coalesce(p.due_at, 0), ` + firstFailure(`same.seq`) + `
	FROM (SELECT e.seq, e.message_id
			FROM (SELECT DISTINCT d.message_id, d.account_id FROM json_each(?) j CROSS JOIN deliveries d ON d.seq = j.value) m
			CROSS JOIN deliveries e INDEXED BY deliveries_message ON e.message_id = m.message_id AND e.account_id = m.account_id LIMIT ?) same
	LEFT JOIN waiting p ON p.seq = same.seq WHERE ` + isPending(`same.seq`)

// addBehind completes those of an account's deliveries that are PENDING. If their
// messages have more than scanRows deliveries, it leaves some out.
func (s *Store) addBehind(ctx context.Context, tx *sql.Tx, ds []store.Delivery) error {
	var seqs []int64
	for i := range ds {
		if ds[i].State == store.Pending {
			seqs = append(seqs, ds[i].Seq)
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	rows, err := tx.QueryContext(ctx, pendingOfMessages, list(seqs), s.cfg.scanRows)
	if err != nil {
		return err
	}
	ofMessage := map[string][]store.Delivery{}
	_, err = collect(rows, func(rows *sql.Rows) (none struct{}, err error) {
		var e store.Delivery
		var due, failed int64
		err = rows.Scan(&e.Seq, &e.MessageID, &due, &failed)
		e.DueAt, e.FailedAt = instant(due), instant(failed)
		ofMessage[e.MessageID] = append(ofMessage[e.MessageID], e)
		return none, err
	})
	now := time.Now() // later than all that the snapshot has
	for i := range ds {
		d := &ds[i]
		if d.State != store.Pending {
			continue
		}
		for _, e := range ofMessage[d.MessageID] {
			switch {
			case e.Seq == d.Seq:
				d.FailedAt = e.FailedAt
			case e.Seq < d.Seq:
				d.Behind.Add(e.DueAt, e.FailedAt, now)
			}
		}
	}
	return err
}

func scanAttempt(rows *sql.Rows) (a store.Attempt, err error) {
	var at, duration int64
	var kind string
	err = rows.Scan(&a.Number, &at, &duration, &a.StatusCode, &kind, &a.Response, &a.Probe, &a.Detail, &a.Location)
	a.At, a.Duration, a.Error = instant(at), time.Duration(duration)*time.Microsecond, store.ErrorKind(kind)
	return a, err
}
