package sqlite

import (
	"context"
	"database/sql"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/history"
)

// Attempts implements [store.History]. Those that acknowledged a delivery at first are
// found by the place of that, and all others by outcomes_account.
func (s *Store) Attempts(ctx context.Context, q store.AttemptQuery) (page store.AttemptPage, err error) {
	c := search{store: s, ctx: ctx}
	from := attemptSource{search: &c, account: q.AccountID, newest: s.w.tail.places(q.AccountID)}
	err = s.list(&c, func() error {
		if q.MessageID != "" {
			few, err := c.few(messagePlaces, messageRows, q.MessageID, q.AccountID)
			if err != nil {
				return err
			}
			if few != nil {
				all, err := c.attemptRows(allAttempts, list(seqsOf(few)))
				page = history.Page(&q, all)
				return err
			}
		}
		page, err = history.Attempts(&q, s.cfg.scanRows, &from)
		return err
	})
	return page, err
}

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

func (c *search) attemptRows(query string, args ...any) ([]history.Attempt, error) {
	rows, err := c.tx.QueryContext(c.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(rows *sql.Rows) (a history.Attempt, err error) {
		a.Attempt, err = scanAttempt(rows, &a.Seq, &a.EventID, &a.MessageID, &a.AtFirst)
		return a, err
	})
}

func seqsOf(places []place) []int64 {
	seqs := make([]int64, len(places))
	for i, p := range places {
		seqs[i] = p.seq
	}
	return seqs
}

// attemptSource implements [history.Source].
type attemptSource struct {
	*search
	account string
	newest  []place // in the tail
}

// Places implements [history.Source].
func (s *attemptSource) Places(before store.Place, n int) ([]store.Place, error) {
	l := listing{search: *s.search, query: &store.DeliveryQuery{AccountID: s.account}, own: s.newest}
	found, err := l.places(place{ceilMicros(before.AcceptedAt), before.Seq}, n)
	s.newest = l.own
	places := make([]store.Place, len(found))
	for i, p := range found {
		places[i] = p.shown()
	}
	return places, err
}

// First implements [history.Source].
func (s *attemptSource) First(seqs []int64) ([]history.Attempt, error) {
	return s.attemptRows(firstAttempts, list(seqs))
}

// Others implements [history.Source].
func (s *attemptSource) Others(before store.AttemptKey, n int) ([]history.Attempt, error) {
	return s.attemptRows(othersBefore, s.account, ceilMicros(before.At), before.Seq, before.Number, n)
}
