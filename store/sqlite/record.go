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
)

// deliver records such outcomes, many with one statement.
func (tx *txn) deliver(outcomes []store.Outcome, now time.Time) error {
	seqs := make([]int64, len(outcomes))
	for i := range outcomes {
		seqs[i] = outcomes[i].Delivery.Seq
	}
	ended, err := tx.stillPending(seqs, firstRun, now)
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
		n, err := tx.changes(text(insertOutcomes+`VALUES %s ON CONFLICT DO NOTHING`, outcomeRow, to-from), args...)
		known := map[int64]bool{}
		if err == nil && n < to-from {
			err = tx.endKnown(outcomes[from:to], micros(now), known)
		}
		for i := from; i < to; i++ {
			o := &outcomes[i]
			if !known[o.Delivery.Seq] {
				tx.tally(o.Delivery.AccountID, now).AddAttempt(o.Delivery.Seq, o.Attempt)
			}
		}
		return err
	})
	for i := 0; i < len(late) && err == nil; i++ {
		err = tx.addLate(&late[i], now)
	}
	return err
}

// endKnown ends deliveries whose attempt was recorded before, without the end.
func (tx *txn) endKnown(outcomes []store.Outcome, now int64, known map[int64]bool) error {
	for i := range outcomes {
		seq := outcomes[i].Delivery.Seq
		n, err := tx.changes(`UPDATE outcomes SET state = ?, ended_at = ? WHERE seq = ? AND number = 1 AND ended_at = 0`, delivered, now, seq)
		if err != nil {
			return err
		}
		known[seq] = n > 0
	}
	return nil
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
		o.Failures, state, ended, a.PackPhases())
}

// record records one outcome of any kind.
func (tx *txn) record(o *store.Outcome, now time.Time) error {
	is, err := tx.isPending(o.Delivery)
	switch {
	case err != nil:
		return err
	case !is:
		return tx.addLate(o, now)
	case o.State == store.Pending:
		return tx.keepPending(o, now)
	}
	if err := tx.end(o, now); err != nil || !o.Releases() {
		return err
	}
	return tx.exec(`UPDATE waiting SET due_at = ? WHERE due_at > ? AND (replayed_at > 0) = ? AND seq IN
		(SELECT seq FROM deliveries INDEXED BY deliveries_message WHERE message_id = ? AND account_id = ?)
		AND NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.seq = waiting.seq AND o.number > waiting.attempts)`,
		micros(now), micros(now), o.Delivery.IsReplay(), o.Delivery.MessageID, o.Delivery.AccountID)
}

// end ends a PENDING delivery.
func (tx *txn) end(o *store.Outcome, now time.Time) error {
	state := stateCodes[o.State]
	if state == failed {
		if err := tx.gaveUp(o.Delivery.AccountID, 1, now); err != nil {
			return err
		}
	}
	if o.Attempt == nil {
		_, err := tx.finish(o.Delivery.AccountID, state, now, []int64{o.Delivery.Seq}, whatever)
		return err
	}
	tx.moved(pending, state, 1)
	if _, err := tx.stillPending([]int64{o.Delivery.Seq}, whatever, now); err != nil {
		return err
	}
	isNew, err := tx.addAttempt(o, state, micros(now), now)
	if err != nil || isNew {
		return err
	}
	return tx.exec(`UPDATE outcomes SET state = ?, ended_at = ? WHERE seq = ? AND number = ?`, state, micros(now), o.Delivery.Seq, o.Attempt.Number)
}

// addAttempt keeps an attempt, unless it is already there.
func (tx *txn) addAttempt(o *store.Outcome, state int, ended int64, now time.Time) (isNew bool, err error) {
	n, err := tx.changes(insertOne+` ON CONFLICT DO NOTHING`, outcomeArgs(o, state, ended)...)
	if n > 0 {
		tx.tally(o.Delivery.AccountID, now).AddAttempt(o.Delivery.Seq, o.Attempt)
	}
	return n > 0, err
}

// isPending reports whether the delivery exists, belongs to the account, is PENDING,
// and has not been replayed since it was read.
func (tx *txn) isPending(d *store.Delivery) (is bool, err error) {
	if tx.isFresh(d.Seq) {
		return !d.IsReplay(), nil
	}
	err = tx.row(`SELECT EXISTS (SELECT 1 FROM waiting WHERE seq = ? AND account_id = ? AND replayed_at = ?)`, []any{d.Seq, d.AccountID, micros(d.Replay.At)}, &is)
	return is, err
}

// addLate keeps the attempt of a delivery that is not PENDING any more, unless
// the delivery was erased or the attempt is already there. To one that was replayed
// meanwhile it is an attempt of before.
func (tx *txn) addLate(o *store.Outcome, now time.Time) error {
	if o.Attempt == nil {
		return nil
	}
	n, err := tx.changes(insertOutcome+`SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,
		coalesce((SELECT failures FROM outcomes WHERE seq = ?1 ORDER BY number DESC LIMIT 1), 0), ?10, ?11, ?12, ?13, ?14, ?15, ?16
		WHERE EXISTS (SELECT 1 FROM deliveries WHERE seq = ?1 AND account_id = ?16) ON CONFLICT DO NOTHING`,
		outcomeArgs(o, 0, 0)...)
	if err != nil || n == 0 {
		return err
	}
	tx.tally(o.Delivery.AccountID, now).AddAttempt(o.Delivery.Seq, o.Attempt)
	return tx.exec(`UPDATE waiting SET attempts = max(attempts, ?) WHERE seq = ? AND replayed_at > 0`, o.Attempt.Number, o.Delivery.Seq)
}

// keepPending adds the attempt of a delivery that stays PENDING, and puts the
// delivery off. An attempt that is already there changes nothing.
func (tx *txn) keepPending(o *store.Outcome, now time.Time) error {
	d := o.Delivery
	if o.Attempt != nil {
		if isNew, err := tx.addAttempt(o, 0, 0, now); err != nil || !isNew {
			return err
		}
	}
	due := micros(o.DueAt)
	if due == 0 && d.IsReplay() {
		due = micros(now)
	}
	if o.Behind {
		var earlier bool
		if err := tx.row(pendingEarlier, []any{d.MessageID, d.AccountID, d.Seq, d.IsReplay()}, &earlier); err != nil {
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
