package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/recapito/recapito/store"
)

// PendingAccounts implements [store.Queue]. It skips from account to account in
// the index, however many deliveries each has.
func (s *Store) PendingAccounts(ctx context.Context, after string, limit int) ([]string, error) {
	rows, err := s.queryRead(ctx, s.reads.pendingAccounts, after, limit)
	if err != nil {
		return nil, err
	}
	return collect(rows, scanString)
}

// Backlog implements [store.Queue].
func (s *Store) Backlog(ctx context.Context, q store.BacklogQuery) (b store.Backlog, err error) {
	err = s.snapshot(ctx, func(tx *readTxn) error {
		if b.Webhook, err = tx.webhook(q.AccountID); err != nil {
			return err
		}
		if b.Due, err = tx.deliveries(s.reads.due, q.AccountID, micros(q.Now), q.Due); err != nil {
			return err
		}
		if q.Fresh > 0 {
			if b.Fresh, err = tx.deliveries(s.reads.fresh, q.AccountID, q.After, q.Fresh); err != nil {
				return err
			}
		}
		next, err := tx.number(s.reads.nextDue, q.AccountID, micros(q.Now))
		b.NextDue = instant(next)
		return err
	})
	return b, err
}

// Oldest implements [store.Queue].
func (s *Store) Oldest(ctx context.Context, accountID string) (b store.Backlog, err error) {
	err = s.snapshot(ctx, func(tx *readTxn) error {
		if b.Webhook, err = tx.webhook(accountID); err != nil {
			return err
		}
		b.Fresh, err = tx.deliveries(s.reads.oldest, accountID, accountID)
		return err
	})
	return b, err
}

// MakeDue implements [store.Queue].
func (s *Store) MakeDue(ctx context.Context, accountID string, now time.Time, limit int) (int, error) {
	return write(ctx, s.w, limit, func(tx *txn) (int, error) {
		return tx.changes(`UPDATE deliveries SET due_at = ? WHERE seq IN
			(SELECT seq FROM deliveries WHERE account_id = ? AND state = 0 AND due_at > ? ORDER BY due_at LIMIT ?)`,
			micros(now), accountID, micros(now), limit)
	})
}

// Expire implements [store.Queue]. What is to be given up is looked for by a
// reader, because it can be long in coming, and the writer looks again. The
// fresh ones are looked at in order of acceptance, so that the search ends at
// the first that is young enough.
func (s *Store) Expire(ctx context.Context, accountID string, acceptedBefore, now time.Time, limit int) (int, error) {
	seqs, err := s.seqs(ctx, `SELECT seq FROM (
		SELECT seq, accepted_at FROM deliveries INDEXED BY deliveries_pending WHERE account_id = ?1 AND state = 0 AND due_at = 0 ORDER BY seq LIMIT ?2)
		WHERE accepted_at < ?3
		UNION ALL SELECT seq FROM deliveries INDEXED BY deliveries_pending WHERE account_id = ?1 AND state = 0 AND due_at > 0 AND accepted_at < ?3 LIMIT ?2`,
		accountID, limit, ceilMicros(acceptedBefore))
	if err != nil || len(seqs) == 0 {
		return 0, err
	}
	return write(ctx, s.w, len(seqs), func(tx *txn) (int, error) { return tx.finish(failed, now, seqs) })
}

// Cancel implements [store.Queue]; like Expire it looks with a reader.
func (s *Store) Cancel(ctx context.Context, accountID string, now time.Time, limit int) (int, error) {
	// Read before the webhook: one that is made meanwhile begins behind it.
	before := s.w.totals.Load().lastSeq + 1
	switch w, err := s.Webhook(ctx, accountID); {
	case err == nil:
		before = w.FirstSeq
	case !errors.Is(err, store.ErrNotFound):
		return 0, err
	}
	seqs, err := s.seqs(ctx, cancelable, accountID, before, limit)
	if err != nil || len(seqs) == 0 {
		return 0, err
	}
	return write(ctx, s.w, len(seqs), func(tx *txn) (int, error) { return tx.finish(cancelled, now, seqs) })
}

// cancelable are an account's PENDING deliveries before a Seq.
const cancelable = `SELECT seq FROM (
	SELECT seq FROM deliveries INDEXED BY deliveries_pending WHERE account_id = ?1 AND state = 0 AND due_at = 0 AND seq < ?2
	UNION ALL SELECT seq FROM deliveries INDEXED BY deliveries_pending WHERE account_id = ?1 AND state = 0 AND due_at > 0 AND seq < ?2) LIMIT ?3`

// seqs reads numbers outside the writer.
func (s *Store) seqs(ctx context.Context, query string, args ...any) ([]int64, error) {
	if s.isClosed() {
		return nil, store.ErrClosed
	}
	rows, err := s.read.QueryContext(context.WithoutCancel(ctx), query, args...)
	if err != nil {
		return nil, s.orClosed(err)
	}
	return collect(rows, scanSeq)
}

func scanSeq(rows *sql.Rows) (seq int64, err error) { return seq, rows.Scan(&seq) }

// finish ends those of the deliveries that are PENDING and returns how many.
func (tx *txn) finish(state int, now time.Time, seqs []int64) (n int, err error) {
	err = bulk(len(seqs), func(from, to int) error {
		args := append(make([]any, 0, 66), state, micros(now))
		for _, seq := range seqs[from:to] {
			args = append(args, seq)
		}
		changed, err := tx.changes(text(`UPDATE deliveries SET state = ?, finished_at = ? WHERE seq IN (%s) AND state = 0`, `?`, to-from), args...)
		tx.moved(pending, state, changed)
		n += changed
		return err
	})
	return n, err
}

// Sweep implements [store.Queue].
func (s *Store) Sweep(ctx context.Context, finishedBefore time.Time, limit int) (int, error) {
	return write(ctx, s.w, limit, func(tx *txn) (int, error) {
		return tx.erase(`SELECT seq, state FROM deliveries WHERE finished_at > 0 AND finished_at < ? ORDER BY finished_at LIMIT ?`, ceilMicros(finishedBefore), limit)
	})
}

// erase removes the deliveries that a query selects, with their attempts.
func (tx *txn) erase(selected string, args ...any) (int, error) {
	rows, err := tx.query(selected, args...)
	if err != nil {
		return 0, err
	}
	var all []any // their Seq
	_, err = collect(rows, func(r *sql.Rows) (struct{}, error) {
		var seq int64
		var state int
		err := r.Scan(&seq, &state)
		if err == nil {
			all = append(all, seq)
			tx.totals.count[state]--
		}
		return struct{}{}, err
	})
	if err != nil {
		return 0, err
	}
	return len(all), bulk(len(all), func(from, to int) error {
		for _, table := range [...]string{"attempts", "deliveries"} {
			if err := tx.exec(text(`DELETE FROM `+table+` WHERE seq IN (%s)`, `?`, to-from), all[from:to]...); err != nil {
				return err
			}
		}
		return nil
	})
}
