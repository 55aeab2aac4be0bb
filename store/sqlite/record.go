package sqlite

import (
	"context"
	"time"

	"github.com/recapito/recapito/store"
)

// Record implements [store.Queue].
func (s *Store) Record(ctx context.Context, outcomes []store.Outcome, now time.Time) error {
	return s.w.doRows(ctx, len(outcomes), func(tx *txn) error {
		tx.outcomes += len(outcomes)
		for rest := outcomes; len(rest) > 0; {
			n := atFirst(rest)
			err := tx.deliver(rest[:n], now)
			if err == nil && n < len(rest) {
				err = tx.record(&rest[n], now)
				n++
			}
			if err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
}

// atFirst counts, from the beginning, the outcomes that are [store.Outcome.AtFirst].
func atFirst(outcomes []store.Outcome) int {
	for i := range outcomes {
		if !outcomes[i].AtFirst() {
			return i
		}
	}
	return len(outcomes)
}

const (
	outcomeColumns = `seq, number, at, duration, status_code, error, response, probe, failures, state, ended_at, phases`
	outcomeRow     = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	// insertOutcomes is for what was acknowledged at first, nearly all, and for no
	// attempt: it leaves out what only the others have.
	insertOutcomes = `INSERT INTO outcomes (` + outcomeColumns + `) `
	insertOutcome  = `INSERT INTO outcomes (` + outcomeColumns + `, detail, location, header, account_id) `
	insertOne      = insertOutcome + `VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	// orEnd is for an attempt that was recorded before, without the end.
	orEnd = ` ON CONFLICT DO UPDATE SET state = excluded.state, ended_at = excluded.ended_at`
)

// deliver records such outcomes, many with one statement.
func (tx *txn) deliver(outcomes []store.Outcome, now time.Time) error {
	seqs := make([]int64, len(outcomes))
	for i := range outcomes {
		seqs[i] = outcomes[i].Delivery.Seq
	}
	ended, err := tx.stillPending(seqs)
	if err != nil {
		return err
	}
	var late []store.Outcome
	if len(ended) < len(outcomes) {
		outcomes, late = divide(outcomes, ended)
	}
	tx.moved(pending, delivered, len(outcomes))
	err = bulk(len(outcomes), func(from, to int) error {
		args := make([]any, 0, 12*(to-from))
		for i := from; i < to; i++ {
			args = deliveredArgs(args, &outcomes[i], delivered, micros(now))
		}
		return tx.exec(text(insertOutcomes+`VALUES %s`+orEnd, outcomeRow, to-from), args...)
	})
	for i := 0; i < len(late) && err == nil; i++ {
		err = tx.addLate(&late[i])
	}
	return err
}

// divide returns for each of the deliveries its first outcome, and the others.
func divide(outcomes []store.Outcome, seqs []int64) (first, others []store.Outcome) {
	wanted := make(map[int64]bool, len(seqs))
	for _, seq := range seqs {
		wanted[seq] = true
	}
	for i := range outcomes {
		if seq := outcomes[i].Delivery.Seq; wanted[seq] {
			delete(wanted, seq)
			first = append(first, outcomes[i])
		} else {
			others = append(others, outcomes[i])
		}
	}
	return first, others
}

func outcomeArgs(o *store.Outcome, state int, ended int64) []any {
	return append(deliveredArgs(make([]any, 0, 16), o, state, ended), o.Attempt.Detail, o.Attempt.Location, o.Attempt.Header, o.Delivery.AccountID)
}

func deliveredArgs(args []any, o *store.Outcome, state int, ended int64) []any {
	a := o.Attempt
	return append(args, o.Delivery.Seq, a.Number, micros(a.At), a.Duration.Microseconds(), a.StatusCode, string(a.Error), a.Response, a.Probe,
		o.Failures, state, ended, phases(a))
}

// record records one outcome of any kind.
func (tx *txn) record(o *store.Outcome, now time.Time) error {
	is, err := tx.isPending(o.Delivery)
	switch {
	case err != nil:
		return err
	case !is:
		return tx.addLate(o)
	case o.State == store.Pending:
		return tx.keepPending(o, now)
	}
	if err := tx.end(o, now); err != nil || !o.Releases() {
		return err
	}
	return tx.exec(`UPDATE waiting SET due_at = ? WHERE due_at > ? AND seq IN
		(SELECT seq FROM deliveries INDEXED BY deliveries_message WHERE message_id = ? AND account_id = ?)
		AND NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.seq = waiting.seq)`,
		micros(now), micros(now), o.Delivery.MessageID, o.Delivery.AccountID)
}

// end ends a PENDING delivery.
func (tx *txn) end(o *store.Outcome, now time.Time) error {
	state := stateCodes[o.State]
	if o.Attempt == nil {
		_, err := tx.finish(state, now, []int64{o.Delivery.Seq})
		return err
	}
	tx.moved(pending, state, 1)
	if _, err := tx.stillPending([]int64{o.Delivery.Seq}); err != nil {
		return err
	}
	return tx.exec(insertOne+orEnd, outcomeArgs(o, state, micros(now))...)
}

// isPending reports whether the delivery exists, belongs to the account, and is
// PENDING.
func (tx *txn) isPending(d *store.Delivery) (is bool, err error) {
	if tx.isFresh(d.Seq) {
		return true, nil
	}
	err = tx.row(`SELECT EXISTS (SELECT 1 FROM waiting WHERE seq = ? AND account_id = ?)`, []any{d.Seq, d.AccountID}, &is)
	return is, err
}

// addLate keeps the attempt of a delivery that is not PENDING any more, unless
// the delivery was erased or the attempt is already there.
func (tx *txn) addLate(o *store.Outcome) error {
	if o.Attempt == nil {
		return nil
	}
	return tx.exec(insertOutcome+`SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,
		coalesce((SELECT failures FROM outcomes WHERE seq = ?1 ORDER BY number DESC LIMIT 1), 0), ?10, ?11, ?12, ?13, ?14, ?15, ?16
		WHERE EXISTS (SELECT 1 FROM deliveries WHERE seq = ?1 AND account_id = ?16) ON CONFLICT DO NOTHING`,
		outcomeArgs(o, 0, 0)...)
}

// keepPending adds the attempt of a delivery that stays PENDING, and puts the
// delivery off. An attempt that is already there changes nothing.
func (tx *txn) keepPending(o *store.Outcome, now time.Time) error {
	d := o.Delivery
	if o.Attempt != nil {
		n, err := tx.changes(insertOne+` ON CONFLICT DO NOTHING`, outcomeArgs(o, 0, 0)...)
		if err != nil || n == 0 {
			return err
		}
	}
	due := micros(o.DueAt)
	if o.Behind {
		var earlier bool
		if err := tx.row(pendingEarlier, []any{d.MessageID, d.AccountID, d.Seq}, &earlier); err != nil {
			return err
		}
		if !earlier {
			due = micros(now)
		}
	}
	if !tx.isFresh(d.Seq) {
		return tx.exec(`UPDATE waiting SET due_at = ? WHERE seq = ?`, due, d.Seq)
	}
	if due == 0 {
		return nil
	}
	tx.leave(d.Seq)
	return tx.exec(`INSERT INTO waiting (account_id, due_at, seq) VALUES (?, ?, ?)`, d.AccountID, due, d.Seq)
}
