package sqlite

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// Attempts implements [store.History]. It merges two listings: of the deliveries,
// for the attempts that acknowledged one at first, and by outcomes_account, for
// all others. The first is nearly in order of time, as fresh deliveries are taken
// in order of acceptance.
func (s *Store) Attempts(ctx context.Context, q store.AttemptQuery) (page store.AttemptPage, err error) {
	search := search{store: s, ctx: ctx}
	newest := s.w.tail.places(q.AccountID)
	err = s.list(&search, func() error {
		if q.MessageID != "" {
			few, err := search.few(messagePlaces, messageRows, q.MessageID, q.AccountID)
			if err != nil {
				return err
			}
			if few != nil {
				page, err = search.attemptsOf(few, &q)
				return err
			}
		}
		rows := attemptSearch{search: &search, query: &q, budget: max(s.cfg.scanRows, q.Limit+1)}
		a := attempts{
			atFirst: atFirstAttempts{attemptSearch: rows, newest: newest, at: beginAtFirst(&q)},
			others:  otherAttempts{attemptSearch: rows, at: beginOthers(&q)},
		}
		page, err = a.page(q.Limit)
		return err
	})
	return page, err
}

// attempts reads one page.
type attempts struct {
	atFirst atFirstAttempts
	others  otherAttempts
}

// attemptSearch is one of the two listings.
type attemptSearch struct {
	*search
	query  *store.AttemptQuery
	budget int  // how many rows may still be looked at
	ended  bool // there are no more rows after those that were read
}

// step is how many rows are read together.
func (s *attemptSearch) step() int {
	n := min(s.budget, max(s.query.Limit+1, firstStep))
	s.budget -= n
	return n
}

// disorder is more than an attempt takes that others overtake: if the first
// attempt of a delivery began so long before a time, those of the deliveries
// before it began before that time.
const disorder = 10 * time.Minute

// The columns of an attempt, and those of the delivery d that it belongs to. The
// statements: attempts after a place, the first attempts of deliveries, all of
// them.
const (
	attemptColumns = `o.number, o.at, o.duration, o.status_code, o.error, o.response, o.probe, o.phases, o.detail, o.location, o.header`
	attemptsOf     = `SELECT ` + attemptColumns + `, o.seq, d.event_id, d.message_id, o.account_id IS NULL `
	othersBefore   = attemptsOf + `FROM (SELECT seq, number FROM outcomes INDEXED BY outcomes_account
			WHERE account_id = ? AND (at, seq, number) < (?, ?, ?) ORDER BY at DESC, seq DESC, number DESC LIMIT ?) i
		CROSS JOIN outcomes o NOT INDEXED ON o.seq = i.seq AND o.number = i.number CROSS JOIN deliveries d ON d.seq = o.seq`
	firstAttempts = attemptsOf + `FROM json_each(?) j CROSS JOIN outcomes o NOT INDEXED ON o.seq = j.value AND o.number = 1 CROSS JOIN deliveries d ON d.seq = o.seq`
	allAttempts   = attemptsOf + `FROM json_each(?) j CROSS JOIN outcomes o NOT INDEXED ON o.seq = j.value AND o.number > 0 CROSS JOIN deliveries d ON d.seq = o.seq`
)

// attemptRow is an attempt as it is kept.
type attemptRow struct {
	store.AttemptOf
	atFirst bool // it is not in outcomes_account
}

func (c *search) attemptRows(query string, args ...any) ([]attemptRow, error) {
	rows, err := c.tx.QueryContext(c.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(rows *sql.Rows) (a attemptRow, err error) {
		a.Attempt, err = scanAttempt(rows, &a.Seq, &a.EventID, &a.MessageID, &a.atFirst)
		return a, err
	})
}

// attemptsOf reads a page of the attempts of some deliveries.
func (c *search) attemptsOf(places []place, q *store.AttemptQuery) (page store.AttemptPage, err error) {
	rows, err := c.attemptRows(allAttempts, list(seqsOf(places)))
	for i := range rows {
		a := &rows[i].AttemptOf
		if q.Selects(a) && (q.After.Others.Seq == 0 || a.Key().Compare(q.After.Others) < 0) {
			page.Attempts = append(page.Attempts, *a)
		}
	}
	sortAttempts(page.Attempts)
	if len(page.Attempts) > q.Limit {
		page.Attempts = page.Attempts[:q.Limit]
		page.Next.Others = page.Attempts[q.Limit-1].Key()
	}
	return page, err
}

func sortAttempts(all []store.AttemptOf) {
	slices.SortFunc(all, func(a, b store.AttemptOf) int { return b.Key().Compare(a.Key()) })
}

func seqsOf(places []place) []int64 {
	seqs := make([]int64, len(places))
	for i, p := range places {
		seqs[i] = p.seq
	}
	return seqs
}

// page takes the newer of both, until it has enough, or one has looked at too
// much to know its next. Of many deliveries without such an attempt, the next one
// that has it is taken to have been attempted before these were accepted.
func (a *attempts) page(limit int) (page store.AttemptPage, err error) {
	for {
		first, err := a.atFirst.next()
		if err != nil {
			return page, err
		}
		other, err := a.others.next()
		if err != nil {
			return page, err
		}
		more := first != nil || other != nil || !a.atFirst.ended || !a.others.ended
		unknown := first == nil && !a.atFirst.ended
		switch {
		case more && len(page.Attempts) == limit:
		case other != nil && (!unknown && (first == nil || other.Key().Compare(first.Key()) > 0) || unknown && micros(other.At) >= a.atFirst.at.accepted):
			page.Attempts = append(page.Attempts, *other)
			a.others.pass()
			continue
		case first != nil && (other != nil || a.others.ended):
			page.Attempts = append(page.Attempts, *first)
			a.atFirst.pass()
			continue
		}
		sortAttempts(page.Attempts)
		if more {
			page.Next = store.AttemptPlace{AtFirst: a.atFirst.passed(), Others: a.others.passed()}
		}
		return page, nil
	}
}

// atFirstAttempts goes through the deliveries, newest first.
type atFirstAttempts struct {
	attemptSearch
	newest []place               // in the tail
	at     place                 // it has passed
	places []place               // after that
	found  map[int64]*attemptRow // the first attempts of these
}

// http2xx is the status of what was acknowledged.
const http2xx = 2

func beginAtFirst(q *store.AttemptQuery) place {
	at := place{math.MaxInt64, 0}
	if !q.To.IsZero() {
		at.accepted = ceilMicros(q.To) // what was accepted later was attempted later
	}
	if after := (place{micros(q.After.AtFirst.AcceptedAt), q.After.AtFirst.Seq}); after.seq > 0 && after.compare(at) < 0 {
		return after
	}
	return at
}

// next is the next attempt that is asked for, and passes all before it; nil: the
// deliveries have ended, or the budget has.
func (f *atFirstAttempts) next() (*store.AttemptOf, error) {
	for {
		for len(f.places) > 0 {
			row := f.found[f.places[0].seq]
			switch {
			case row == nil:
			case !f.query.From.IsZero() && row.At.Before(f.query.From.Add(-disorder)):
				f.places, f.ended = nil, true
				return nil, nil
			case row.atFirst && f.query.Selects(&row.AttemptOf):
				return &row.AttemptOf, nil
			}
			f.pass()
		}
		if q := f.query; q.Outcome == store.AttemptFailed || q.Status != 0 && q.Status != http2xx {
			f.ended = true
		}
		if f.ended || f.budget == 0 {
			return nil, nil
		}
		if err := f.read(f.step()); err != nil {
			return nil, err
		}
	}
}

// passed is zero if none was.
func (f *atFirstAttempts) passed() store.Place {
	if f.at.seq == 0 {
		return store.Place{}
	}
	return f.at.shown()
}

func (f *atFirstAttempts) pass() { f.at, f.places = f.places[0], f.places[1:] }

func (f *atFirstAttempts) read(n int) error {
	l := listing{search: *f.search, query: &store.DeliveryQuery{AccountID: f.query.AccountID}, own: f.newest}
	places, err := l.places(f.at, n)
	if err != nil {
		return err
	}
	rows, err := f.attemptRows(firstAttempts, list(seqsOf(places)))
	f.newest, f.places, f.ended, f.found = l.own, places, len(places) < n, make(map[int64]*attemptRow, len(rows))
	for i := range rows {
		f.found[rows[i].Seq] = &rows[i]
	}
	return err
}

// otherAttempts goes through outcomes_account, newest first.
type otherAttempts struct {
	attemptSearch
	at   store.AttemptKey // it has passed
	rows []attemptRow     // after that
}

func beginOthers(q *store.AttemptQuery) store.AttemptKey {
	at := store.AttemptKey{At: time.UnixMicro(math.MaxInt64)}
	if !q.To.IsZero() {
		at.At = q.To
	}
	if after := q.After.Others; after.Seq > 0 && after.Compare(at) < 0 {
		return after
	}
	return at
}

// next is the next attempt that is asked for, and passes all before it; nil: there
// is none, or the budget has ended.
func (o *otherAttempts) next() (*store.AttemptOf, error) {
	for {
		for len(o.rows) > 0 {
			a := &o.rows[0].AttemptOf
			switch {
			case !o.query.From.IsZero() && a.At.Before(o.query.From):
				o.rows, o.ended = nil, true
				return nil, nil
			case o.query.Selects(a):
				return a, nil
			}
			o.pass()
		}
		if o.ended || o.budget == 0 {
			return nil, nil
		}
		n := o.step()
		var err error
		if o.rows, err = o.attemptRows(othersBefore, o.query.AccountID, ceilMicros(o.at.At), o.at.Seq, o.at.Number, n); err != nil {
			return nil, err
		}
		o.ended = len(o.rows) < n
	}
}

// passed is zero if none was.
func (o *otherAttempts) passed() store.AttemptKey {
	if o.at.Seq == 0 {
		return store.AttemptKey{}
	}
	return o.at
}

func (o *otherAttempts) pass() { o.at, o.rows = o.rows[0].Key(), o.rows[1:] }
