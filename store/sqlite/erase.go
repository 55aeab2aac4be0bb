package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Sweep implements [store.Upkeep].
func (s *Store) Sweep(ctx context.Context, now time.Time, retention time.Duration, limit int) (int, error) {
	return write(ctx, s.w, limit, func(tx *txn) (int, error) {
		if err := errors.Join(tx.endSecrets(now), tx.forgetReplays(now.Add(-retention)), tx.sweepTallies(now)); err != nil {
			return 0, err
		}
		rows, err := tx.query(`SELECT seq FROM outcomes WHERE ended_at > 0 AND ended_at < ? ORDER BY ended_at LIMIT ?`, ceilMicros(now.Add(-retention)), limit)
		if err != nil {
			return 0, err
		}
		seqs, err := collect(rows, scanSeq)
		if err != nil {
			return 0, err
		}
		return tx.erase(seqs)
	})
}

// deliveriesOf finds up to limit deliveries of an account.
func (tx *txn) deliveriesOf(account string, limit int) ([]int64, error) {
	rows, err := tx.query(`SELECT seq FROM listed WHERE account_id = ? LIMIT ?`, account, limit)
	if err != nil {
		return nil, err
	}
	seqs, err := collect(rows, scanSeq)
	for _, p := range tx.w.tail.places(account) {
		seqs = append(seqs, p.seq)
	}
	for i, a := range tx.added {
		if a.account == account {
			seqs = append(seqs, tx.w.tail.next()+int64(i))
		}
	}
	return seqs[:min(limit, len(seqs))], err
}

// erase removes deliveries with all their rows and returns how many there were.
func (tx *txn) erase(seqs []int64) (n int, err error) {
	tx.erased = append(tx.erased, seqs...)
	err = bulk(len(seqs), func(from, to int) error {
		args := make([]any, 0, to-from)
		for _, seq := range seqs[from:to] {
			tx.leave(seq)
			args = append(args, seq)
		}
		erased, err := tx.forget(args)
		n += erased
		return err
	})
	return n, err
}

func (tx *txn) forget(seqs []any) (n int, err error) {
	rows, err := tx.query(text(`SELECT d.account_id, d.accepted_at, d.seq, coalesce((SELECT state FROM outcomes o NOT INDEXED WHERE o.seq = d.seq AND o.ended_at > 0), 0)
		FROM deliveries d WHERE d.seq IN (%s)`, `?`, len(seqs)), seqs...)
	if err != nil {
		return 0, err
	}
	var listed []any
	_, err = collect(rows, func(r *sql.Rows) (struct{}, error) {
		var account string
		var accepted, seq int64
		var state int
		err := r.Scan(&account, &accepted, &seq, &state)
		if err == nil {
			if state < len(states) { // else the row is damaged
				tx.totals.count[state]--
			}
			listed = append(listed, account, accepted, seq)
			n++
		}
		return struct{}{}, err
	})
	if err != nil || n == 0 {
		return n, err
	}
	if err := tx.exec(text(`DELETE FROM listed WHERE (account_id, accepted_at, seq) IN (VALUES %s)`, `(?, ?, ?)`, n), listed...); err != nil {
		return n, err
	}
	for _, table := range [...]string{"waiting", "outcomes", "deliveries"} {
		if err := tx.exec(text(`DELETE FROM `+table+` WHERE seq IN (%s)`, `?`, len(seqs)), seqs...); err != nil {
			return n, err
		}
	}
	return n, nil
}
