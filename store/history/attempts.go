// Package history is what the listings of the stores have in common: how a page of
// attempts is put together, and what a PENDING delivery is behind.
//
// It promises to look at no more rows than its caller allows. It leaves out how the
// rows are read, which is each store's own.
package history

import (
	"math"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// Attempt is one as a store has it.
type Attempt struct {
	store.AttemptOf
	AtFirst bool // it acknowledged its delivery at first, so that it is found by that alone
}

// Source reads an account's attempts, newest first. It finds those that acknowledged a
// delivery at first by their delivery, and all others by their time.
type Source interface {
	// Places are the next n deliveries before a place; fewer: there are no more.
	Places(before store.Place, n int) ([]store.Place, error)
	// First are the first attempts of some deliveries, in any order.
	First(seqs []int64) ([]Attempt, error)
	// Others are the next n of the others before one; fewer: there are no more.
	Others(before store.AttemptKey, n int) ([]Attempt, error)
}

// Attempts reads a page. Of either sort it looks at so many rows at most. It merges
// two listings: of the deliveries, for the attempts that acknowledged one at first, and
// of all others. The first is nearly in order of time, as fresh deliveries are taken in
// order of acceptance.
func Attempts(q *store.AttemptQuery, most int, from Source) (store.AttemptPage, error) {
	rows := search{source: from, query: q, budget: max(most, q.Limit+1)}
	m := merge{
		atFirst: atFirst{search: rows, at: beginAtFirst(q)},
		others:  others{search: rows, at: beginOthers(q)},
	}
	return m.page(q.Limit)
}

// Page makes a page of all attempts that q may ask for, of a message's deliveries.
func Page(q *store.AttemptQuery, all []Attempt) (page store.AttemptPage) {
	for i := range all {
		a := &all[i].AttemptOf
		if q.Selects(a) && (q.After.Others.Seq == 0 || a.Key().Compare(q.After.Others) < 0) {
			page.Attempts = append(page.Attempts, *a)
		}
	}
	newestFirst(page.Attempts)
	if len(page.Attempts) > q.Limit {
		page.Attempts = page.Attempts[:q.Limit]
		page.Next.Others = page.Attempts[q.Limit-1].Key()
	}
	return page
}

func newestFirst(all []store.AttemptOf) {
	slices.SortFunc(all, func(a, b store.AttemptOf) int { return b.Key().Compare(a.Key()) })
}

// merge reads one page.
type merge struct {
	atFirst atFirst
	others  others
}

// search is one of the two listings.
type search struct {
	source Source
	query  *store.AttemptQuery
	budget int  // how many rows may still be looked at
	ended  bool // there are no more rows after those that were read
}

// firstStep is how many rows are read together at least, since some are left out.
const firstStep = 100

// step is how many rows are read together.
func (s *search) step() int {
	n := min(s.budget, max(s.query.Limit+1, firstStep))
	s.budget -= n
	return n
}

// disorder is more than an attempt takes that others overtake: if the first
// attempt of a delivery began so long before a time, those of the deliveries
// before it began before that time.
const disorder = 10 * time.Minute

// page takes the newer of both, until it has enough, or one has looked at too
// much to know its next. Of many deliveries without such an attempt, the next one
// that has it is taken to have been attempted before these were accepted.
func (m *merge) page(limit int) (page store.AttemptPage, err error) {
	for {
		first, err := m.atFirst.next()
		if err != nil {
			return page, err
		}
		other, err := m.others.next()
		if err != nil {
			return page, err
		}
		more := first != nil || other != nil || !m.atFirst.ended || !m.others.ended
		unknown := first == nil && !m.atFirst.ended
		switch {
		case more && len(page.Attempts) == limit:
		case other != nil && (!unknown && (first == nil || other.Key().Compare(first.Key()) > 0) || unknown && !other.At.Before(m.atFirst.at.AcceptedAt)):
			page.Attempts = append(page.Attempts, *other)
			m.others.pass()
			continue
		case first != nil && (other != nil || m.others.ended):
			page.Attempts = append(page.Attempts, *first)
			m.atFirst.pass()
			continue
		}
		newestFirst(page.Attempts)
		if more {
			page.Next = store.AttemptPlace{AtFirst: m.atFirst.passed(), Others: m.others.passed()}
		}
		return page, nil
	}
}

// atFirst goes through the deliveries, newest first.
type atFirst struct {
	search
	at     store.Place        // it has passed
	places []store.Place      // after that
	found  map[int64]*Attempt // the first attempts of these
}

// http2xx is the status of what was acknowledged.
const http2xx = 2

// beyond is later than any time that is kept.
var beyond = time.UnixMicro(math.MaxInt64)

func beginAtFirst(q *store.AttemptQuery) store.Place {
	at := store.Place{AcceptedAt: beyond}
	if !q.To.IsZero() {
		at.AcceptedAt = q.To // what was accepted later was attempted later
	}
	if after := q.After.AtFirst; after.Seq > 0 && after.Compare(at) < 0 {
		return after
	}
	return at
}

// next is the next attempt that is asked for, and passes all before it; nil: the
// deliveries have ended, or the budget has.
func (f *atFirst) next() (*store.AttemptOf, error) {
	for {
		for len(f.places) > 0 {
			row := f.found[f.places[0].Seq]
			switch {
			case row == nil:
			case !f.query.From.IsZero() && row.At.Before(f.query.From.Add(-disorder)):
				f.places, f.ended = nil, true
				return nil, nil
			case row.AtFirst && f.query.Selects(&row.AttemptOf):
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
func (f *atFirst) passed() store.Place {
	if f.at.Seq == 0 {
		return store.Place{}
	}
	return f.at
}

func (f *atFirst) pass() { f.at, f.places = f.places[0], f.places[1:] }

func (f *atFirst) read(n int) error {
	places, err := f.source.Places(f.at, n)
	if err != nil {
		return err
	}
	seqs := make([]int64, len(places))
	for i, p := range places {
		seqs[i] = p.Seq
	}
	rows, err := f.source.First(seqs)
	f.places, f.ended, f.found = places, len(places) < n, make(map[int64]*Attempt, len(rows))
	for i := range rows {
		f.found[rows[i].Seq] = &rows[i]
	}
	return err
}

// others goes through the other attempts, newest first.
type others struct {
	search
	at   store.AttemptKey // it has passed
	rows []Attempt        // after that
}

func beginOthers(q *store.AttemptQuery) store.AttemptKey {
	at := store.AttemptKey{At: beyond}
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
func (o *others) next() (*store.AttemptOf, error) {
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
		if o.rows, err = o.source.Others(o.at, n); err != nil {
			return nil, err
		}
		o.ended = len(o.rows) < n
	}
}

// passed is zero if none was.
func (o *others) passed() store.AttemptKey {
	if o.at.Seq == 0 {
		return store.AttemptKey{}
	}
	return o.at
}

func (o *others) pass() { o.at, o.rows = o.rows[0].Key(), o.rows[1:] }
