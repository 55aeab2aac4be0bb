package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/recapito/recapito/store"
)

// Record implements [store.Queue].
func (s *Store) Record(ctx context.Context, outcomes []store.Outcome, now time.Time) error {
	return s.w.do(ctx, func(tx *txn) error {
		for i := range outcomes {
			if err := tx.record(&outcomes[i], now); err != nil {
				return err
			}
		}
		tx.outcomes += len(outcomes)
		return nil
	})
}

func (tx *txn) record(o *store.Outcome, now time.Time) error {
	number := 0
	if a := o.Attempt; a != nil {
		number = a.Number
		if err := tx.addAttempt(o.Delivery, a); err != nil {
			return err
		}
	}
	if o.State == store.Pending {
		return tx.keepPending(o, number, now)
	}
	n, err := tx.changes(`UPDATE deliveries SET state = ?, attempts = max(attempts, ?), failures = ?, finished_at = ? WHERE seq = ? AND account_id = ? AND state = 0`,
		stateCodes[o.State], number, o.Failures, micros(now), o.Delivery.Seq, o.Delivery.AccountID)
	if err != nil {
		return err
	}
	if n == 0 {
		return tx.countAttempt(o.Delivery, number)
	}
	tx.moved(pending, stateCodes[o.State], 1)
	if !o.Releases() {
		return nil
	}
	return tx.exec(`UPDATE deliveries SET due_at = ? WHERE account_id = ? AND message_id = ? AND state = 0 AND attempts = 0 AND due_at > ?`,
		micros(now), o.Delivery.AccountID, o.Delivery.MessageID, micros(now))
}

// addAttempt keeps an attempt, unless its delivery is gone (erased) or it is
// there already.
func (tx *txn) addAttempt(d *store.Delivery, a *store.Attempt) error {
	return tx.exec(`INSERT INTO attempts (seq, number, at, duration, status_code, error, response, probe)
		SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE EXISTS (SELECT 1 FROM deliveries WHERE seq = ?1 AND account_id = ?9) ON CONFLICT DO NOTHING`,
		d.Seq, a.Number, micros(a.At), a.Duration.Microseconds(), a.StatusCode, string(a.Error), a.Response, a.Probe, d.AccountID)
}

// countAttempt counts an attempt of a delivery that is not PENDING any more.
func (tx *txn) countAttempt(d *store.Delivery, number int) error {
	return tx.exec(`UPDATE deliveries SET attempts = max(attempts, ?) WHERE seq = ? AND account_id = ?`, number, d.Seq, d.AccountID)
}

func (tx *txn) keepPending(o *store.Outcome, number int, now time.Time) error {
	due := micros(o.DueAt)
	if o.Behind {
		var earlier bool
		err := tx.row(`SELECT EXISTS (SELECT 1 FROM deliveries WHERE account_id = ? AND message_id = ? AND state = 0 AND seq < ?)`,
			[]any{o.Delivery.AccountID, o.Delivery.MessageID, o.Delivery.Seq}, &earlier)
		if err != nil {
			return err
		}
		if !earlier {
			due = micros(now)
		}
	}
	n, err := tx.changes(`UPDATE deliveries SET attempts = max(attempts, ?), failures = ?, due_at = ? WHERE seq = ? AND account_id = ? AND state = 0`,
		number, o.Failures, due, o.Delivery.Seq, o.Delivery.AccountID)
	if err == nil && n == 0 {
		return tx.countAttempt(o.Delivery, number)
	}
	return err
}

func (tx *txn) moved(from, to, n int) {
	tx.totals.count[from] -= int64(n)
	tx.totals.count[to] += int64(n)
}

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
	return write(ctx, s.w, func(tx *txn) (int, error) {
		return tx.changes(`UPDATE deliveries SET due_at = ? WHERE seq IN
			(SELECT seq FROM deliveries WHERE account_id = ? AND state = 0 AND due_at > ? ORDER BY due_at LIMIT ?)`,
			micros(now), accountID, micros(now), limit)
	})
}

// Expire implements [store.Queue]. The fresh ones are looked at in order of
// acceptance, so that the search ends at the first that is young enough.
func (s *Store) Expire(ctx context.Context, accountID string, acceptedBefore, now time.Time, limit int) (int, error) {
	return write(ctx, s.w, func(tx *txn) (int, error) {
		return tx.finish(failed, now, `SELECT seq FROM (
			SELECT seq, accepted_at FROM deliveries WHERE account_id = ?1 AND state = 0 AND due_at = 0 ORDER BY seq LIMIT ?2)
			WHERE accepted_at < ?3
			UNION ALL SELECT seq FROM deliveries WHERE account_id = ?1 AND state = 0 AND due_at > 0 AND accepted_at < ?3 LIMIT ?2`,
			accountID, limit, micros(acceptedBefore))
	})
}

// Cancel implements [store.Queue].
func (s *Store) Cancel(ctx context.Context, accountID string, now time.Time, limit int) (int, error) {
	return write(ctx, s.w, func(tx *txn) (int, error) {
		return tx.cancel(accountID, now, limit)
	})
}

func (tx *txn) cancel(accountID string, now time.Time, limit int) (int, error) {
	before := tx.totals.lastSeq + 1
	switch w, err := tx.webhook(accountID); {
	case err == nil:
		before = w.FirstSeq
	case !errors.Is(err, store.ErrNotFound):
		return 0, err
	}
	return tx.finish(cancelled, now, `SELECT seq FROM deliveries WHERE account_id = ? AND state = 0 AND seq < ? LIMIT ?`, accountID, before, limit)
}

// finish ends the PENDING deliveries that a query selects.
func (tx *txn) finish(state int, now time.Time, selected string, args ...any) (int, error) {
	n, err := tx.changes(fmt.Sprintf(`UPDATE deliveries SET state = %d, finished_at = %d WHERE seq IN (%s)`, state, micros(now), selected), args...)
	if err != nil {
		return 0, err
	}
	tx.moved(pending, state, n)
	return n, nil
}

// Sweep implements [store.Queue].
func (s *Store) Sweep(ctx context.Context, finishedBefore time.Time, limit int) (int, error) {
	return write(ctx, s.w, func(tx *txn) (int, error) {
		return tx.erase(`SELECT seq, state FROM deliveries WHERE finished_at > 0 AND finished_at < ? ORDER BY finished_at LIMIT ?`, micros(finishedBefore), limit)
	})
}

// erase removes the deliveries that a query selects, with their attempts.
func (tx *txn) erase(selected string, args ...any) (int, error) {
	rows, err := tx.query(selected, args...)
	if err != nil {
		return 0, err
	}
	type found struct {
		seq   int64
		state int
	}
	all, err := collect(rows, func(r *sql.Rows) (f found, err error) { return f, r.Scan(&f.seq, &f.state) })
	if err != nil {
		return 0, err
	}
	for _, f := range all {
		if err := errors.Join(tx.exec(`DELETE FROM attempts WHERE seq = ?`, f.seq), tx.exec(`DELETE FROM deliveries WHERE seq = ?`, f.seq)); err != nil {
			return 0, err
		}
		tx.totals.count[f.state]--
	}
	return len(all), nil
}
