package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/history"
)

// Attempts implements [store.History]. Those that acknowledged a delivery at first are
// found by the place of that, and all others by outcomes_account.
func (s *Store) Attempts(ctx context.Context, q store.AttemptQuery) (page store.AttemptPage, err error) {
	err = s.snapshot(ctx, s.history, func(tx pgx.Tx) error {
		from := attemptSource{ctx: ctx, tx: tx, account: q.AccountID}
		if q.MessageID != "" {
			seqs, err := few(ctx, tx, messageRows, messageSeqs, q.AccountID, q.MessageID)
			if err != nil {
				return err
			}
			if seqs != nil {
				all, err := from.rows(allAttempts, seqs)
				page = history.Page(&q, all)
				return err
			}
		}
		page, err = history.Attempts(&q, s.cfg.scanRows, &from)
		return err
	})
	return page, err
}

// The statements: attempts before a place, the first attempts of deliveries, all of
// them.
const (
	attemptsOf   = `SELECT ` + attemptColumns + `, o.seq, d.event_id, d.message_id, o.account IS NULL `
	attemptOwner = ` CROSS JOIN LATERAL (SELECT x.event_id, x.message_id FROM deliveries x WHERE x.seq = o.seq LIMIT 1) d`
	othersBefore = attemptsOf + `FROM (SELECT * FROM outcomes WHERE account = ` + numberOf + ` AND (at, seq, number) < ($2, $3, $4)
		ORDER BY at DESC, seq DESC, number DESC LIMIT $5) o` + attemptOwner + ` ORDER BY o.at DESC, o.seq DESC, o.number DESC`
	firstAttempts = attemptsOf + `FROM unnest($1::bigint[]) AS s (seq) CROSS JOIN LATERAL (SELECT * FROM outcomes x WHERE x.seq = s.seq AND x.number = 1 LIMIT 1) o` + attemptOwner
	allAttempts   = attemptsOf + `FROM unnest($1::bigint[]) AS s (seq) CROSS JOIN LATERAL (SELECT * FROM outcomes x WHERE x.seq = s.seq AND x.number > 0 OFFSET 0) o` + attemptOwner
	placesBefore  = `SELECT accepted_at, seq FROM deliveries WHERE account = ` + numberOf + ` AND (accepted_at, seq) < ($2, $3) ORDER BY accepted_at DESC, seq DESC LIMIT $4`
)

// attemptSource implements [history.Source].
type attemptSource struct {
	ctx     context.Context
	tx      pgx.Tx
	account string
}

func (s *attemptSource) rows(query string, args ...any) ([]history.Attempt, error) {
	rows, err := s.tx.Query(s.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (a history.Attempt, err error) {
		a.Attempt, err = scanAttempt(row, &a.Seq, &a.EventID, &a.MessageID, &a.AtFirst)
		return a, err
	})
}

// Places implements [history.Source].
func (s *attemptSource) Places(before store.Place, n int) ([]store.Place, error) {
	rows, err := s.tx.Query(s.ctx, placesBefore, s.account, ceilMicros(before.AcceptedAt), before.Seq, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p store.Place, err error) {
		var at int64
		err = row.Scan(&at, &p.Seq)
		p.AcceptedAt = instant(at)
		return p, err
	})
}

// First implements [history.Source].
func (s *attemptSource) First(seqs []int64) ([]history.Attempt, error) {
	return s.rows(firstAttempts, seqs)
}

// Others implements [history.Source].
func (s *attemptSource) Others(before store.AttemptKey, n int) ([]history.Attempt, error) {
	return s.rows(othersBefore, s.account, ceilMicros(before.At), before.Seq, before.Number, n)
}
