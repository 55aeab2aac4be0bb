package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// LastAccepted implements [store.Queue].
func (s *Store) LastAccepted(ctx context.Context) (time.Time, error) {
	at, err := s.numbers(ctx, `SELECT accepted_at FROM deliveries ORDER BY seq DESC LIMIT 1`)
	if err != nil || len(at) == 0 {
		return time.Time{}, err
	}
	return instant(at[0]), nil
}

// PendingAccounts implements [store.Queue]. It reads one row an account,
// however many deliveries each has.
func (s *Store) PendingAccounts(ctx context.Context, after string, limit int) ([]string, error) {
	accounts := s.w.tail.waiting(after, limit)
	listed, err := readAll(ctx, s, s.reads.pendingAccounts, scanString, after, limit)
	accounts = append(accounts, listed...)
	slices.Sort(accounts)
	accounts = slices.Compact(accounts)
	return accounts[:min(limit, len(accounts))], err
}

// Backlog implements [store.Queue].
func (s *Store) Backlog(ctx context.Context, q store.BacklogQuery) (b store.Backlog, err error) {
	newest := s.w.tail.fresh(q.AccountID, q.After, q.Fresh)
	b, err = s.backlog(ctx, &q, newest)
	if err == nil && len(newest) == q.Fresh && len(b.Fresh) < q.Fresh {
		// Some have ended since they were copied, so that there may be more.
		return s.backlog(ctx, &q, s.w.tail.fresh(q.AccountID, q.After, math.MaxInt))
	}
	return b, err
}

// backlog is Backlog with what was copied of the tail before.
func (s *Store) backlog(ctx context.Context, q *store.BacklogQuery, newest []int64) (b store.Backlog, err error) {
	err = s.snapshot(ctx, func(tx *readTxn) error {
		if b.Webhook, err = tx.webhook(q.AccountID); err != nil {
			return err
		}
		now := micros(time.Now()) // later than all that the snapshot has
		if b.Due, err = tx.deliveries(s.reads.due, now, q.AccountID, micros(q.Now), list(q.Known), q.Due); err != nil {
			return err
		}
		if b.Fresh, err = tx.fresh(q, now, newest); err != nil {
			return err
		}
		if q.Replays > 0 {
			if b.Replays, err = tx.deliveries(s.reads.replays, now, q.AccountID, micros(q.Now), list(q.Known), q.Replays); err != nil {
				return err
			}
		}
		next, err := tx.number(s.reads.nextDue, q.AccountID, micros(q.Now))
		b.NextDue = instant(next)
		return err
	})
	return b, err
}

// fresh reads the fresh deliveries in the table, and those of the tail that are
// still fresh.
func (t *readTxn) fresh(q *store.BacklogQuery, now int64, newest []int64) ([]store.Delivery, error) {
	if q.Fresh == 0 {
		return nil, nil
	}
	all, err := t.deliveries(t.store.reads.fresh, now, q.AccountID, q.After, q.Fresh)
	if err != nil || len(newest) == 0 || (len(all) == q.Fresh && all[q.Fresh-1].Seq < newest[0]) {
		return all, err
	}
	more, err := t.deliveries(t.store.reads.newest, now, list(newest))
	all = append(all, more...)
	slices.SortFunc(all, func(a, b store.Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	return all[:min(len(all), q.Fresh)], err
}

// Oldest implements [store.Queue].
func (s *Store) Oldest(ctx context.Context, accountID string) (b store.Backlog, err error) {
	newest := s.w.tail.fresh(accountID, 0, 1)
	b, err = s.oldest(ctx, accountID, newest)
	if err == nil && len(newest) > 0 && (len(b.Fresh) == 0 || b.Fresh[0].Seq > newest[0]) {
		// It has ended since it was copied, so that another one of the tail may be the oldest.
		return s.oldest(ctx, accountID, s.w.tail.fresh(accountID, 0, math.MaxInt))
	}
	return b, err
}

// oldest is Oldest with what was copied of the tail before.
func (s *Store) oldest(ctx context.Context, accountID string, newest []int64) (b store.Backlog, err error) {
	err = s.snapshot(ctx, func(tx *readTxn) error {
		if b.Webhook, err = tx.webhook(accountID); err != nil {
			return err
		}
		if b.Fresh, err = tx.deliveries(s.reads.oldest, accountID, list(newest)); err != nil {
			return err
		}
		b.Replays, err = tx.deliveries(s.reads.firstReplay, micros(time.Now()), accountID)
		return err
	})
	return b, err
}

// MakeDue implements [store.Upkeep].
func (s *Store) MakeDue(ctx context.Context, accountID string, now time.Time, limit int) (int, error) {
	return write(ctx, s.w, limit, func(tx *txn) (int, error) {
		n, err := tx.changes(`UPDATE waiting SET due_at = ? WHERE seq IN
			(SELECT seq FROM waiting WHERE account_id = ? AND due_at > ? ORDER BY due_at LIMIT ?)`,
			micros(now), accountID, micros(now), limit)
		if err == nil && n < limit {
			err = tx.madeDue(accountID)
		}
		return n, err
	})
}

// madeDue ends [store.Webhook.MakeDue]. That of a webhook that cannot be read stays.
func (tx *txn) madeDue(accountID string) error {
	present, err := tx.webhookOrNone(accountID)
	if errors.Is(err, errUnreadable) || err == nil && (present == nil || !present.MakeDue) {
		return nil
	}
	if err != nil {
		return err
	}
	w := *present
	w.MakeDue = false
	tx.webhooks[accountID] = &w
	return tx.exec(`UPDATE webhooks SET make_due = 0 WHERE account_id = ?`, accountID)
}

// anyPending reports whether the account has something PENDING.
func (tx *txn) anyPending(accountID string) (is bool, err error) {
	if len(tx.freshOf(accountID, 1)) > 0 {
		return true, nil
	}
	return is, tx.row(`SELECT EXISTS (SELECT 1 FROM waiting WHERE account_id = ?)`, []any{accountID}, &is)
}

// Expire implements [store.Upkeep]. A reader finds what is to be given up,
// because the search can be long; the writer checks it again. The search goes
// through the fresh deliveries in order of acceptance and ends at the first
// that is young enough.
func (s *Store) Expire(ctx context.Context, accountID string, before, now time.Time, limit int) (int, error) {
	newest := s.w.tail.fresh(accountID, 0, limit)
	seqs, err := s.numbers(ctx, `SELECT d.seq FROM (
			SELECT seq, 0 AS replayed_at FROM (SELECT seq FROM waiting WHERE account_id = ?1 AND due_at = 0 ORDER BY seq LIMIT ?2)
			UNION ALL SELECT seq, replayed_at FROM waiting WHERE account_id = ?1 AND due_at > 0
			UNION ALL SELECT value, 0 FROM json_each(?4)) w
		JOIN deliveries d ON d.seq = w.seq WHERE iif(w.replayed_at > 0, w.replayed_at, d.accepted_at) < ?3 LIMIT ?2`,
		accountID, limit, ceilMicros(before), list(newest))
	if err != nil || len(seqs) == 0 {
		return 0, err
	}
	return s.finishFound(ctx, accountID, failed, now, seqs, limit, func(*txn) (those, error) { return replayedBefore(ceilMicros(before)), nil })
}

// Cancel implements [store.Upkeep]. As in Expire, a reader finds the deliveries.
func (s *Store) Cancel(ctx context.Context, accountID string, now time.Time, limit int) (int, error) {
	// Read before the webhook: a webhook that is made meanwhile begins after
	// it.
	before, present := s.w.totals.Load().lastSeq+1, any(nil)
	switch w, err := s.Webhook(ctx, accountID); {
	case err == nil:
		before, present = w.FirstSeq, w.ID
	case !errors.Is(err, store.ErrNotFound):
		return 0, err
	}
	newest := s.w.tail.fresh(accountID, 0, limit)
	for len(newest) > 0 && newest[len(newest)-1] >= before {
		newest = newest[:len(newest)-1]
	}
	seqs, err := s.numbers(ctx, cancelable, accountID, before, limit, present)
	seqs = append(seqs, newest...)
	seqs = seqs[:min(limit, len(seqs))]
	if err != nil || len(seqs) == 0 {
		return 0, err
	}
	return s.finishFound(ctx, accountID, cancelled, now, seqs, limit, func(tx *txn) (those, error) {
		w, err := tx.webhookOrNone(accountID)
		if w == nil {
			return whatever, err
		}
		return those{`webhook_id <> ?`, w.ID}, nil
	})
}

// finishFound ends what a reader has found of an account. It returns limit if so many were found,
// although some may have ended since: there may be more. still says which it would
// find now, as some may have been replayed since.
func (s *Store) finishFound(ctx context.Context, accountID string, state int, now time.Time, seqs []int64, limit int, still func(*txn) (those, error)) (int, error) {
	n, err := write(ctx, s.w, len(seqs), func(tx *txn) (int, error) {
		which, err := still(tx)
		if err != nil {
			return 0, err
		}
		n, err := tx.finish(accountID, state, now, seqs, which)
		if err == nil && state == failed {
			err = tx.gaveUp(accountID, n, now)
		}
		return n, err
	})
	if err == nil && len(seqs) == limit {
		n = limit
	}
	return n, err
}

// cancelable are an account's PENDING deliveries before a seq, except those in
// the tail, and those that were replayed for another webhook than a given one.
const cancelable = `SELECT seq FROM (
	SELECT seq FROM waiting WHERE account_id = ?1 AND due_at = 0 AND seq < ?2
	UNION ALL SELECT seq FROM waiting WHERE account_id = ?1 AND due_at > 0 AND iif(replayed_at > 0, webhook_id IS NOT ?4, seq < ?2)) LIMIT ?3`

// numbers reads sequence numbers outside the writer.
func (s *Store) numbers(ctx context.Context, query string, args ...any) ([]int64, error) {
	return readRows(ctx, s, query, scanSeq, args...)
}

func scanSeq(rows *sql.Rows) (seq int64, err error) { return seq, rows.Scan(&seq) }

// finish ends the PENDING ones of an account's deliveries, without an attempt, and
// returns how many there were.
func (tx *txn) finish(accountID string, state int, now time.Time, seqs []int64, which those) (n int, err error) {
	seqs, err = tx.stillPending(seqs, which, now)
	if err != nil {
		return 0, err
	}
	tx.moved(pending, state, len(seqs))
	return len(seqs), bulk(len(seqs), func(from, to int) error {
		args := make([]any, 0, 3*(to-from))
		for _, seq := range seqs[from:to] {
			args = append(args, seq, state, micros(now))
		}
		return tx.exec(text(insertOutcomes+`VALUES %s`, `(?, 0, 0, 0, 0, '', NULL, 0, 0, ?, ?, NULL)`, to-from), args...)
	})
}

// those is a condition on a row of the table waiting, with its one parameter.
type those struct {
	condition string
	arg       any
}

// replayedBefore are those that were not replayed then or later.
func replayedBefore(at int64) those { return those{`replayed_at < ?`, at} }

var firstRun, whatever = replayedBefore(1), replayedBefore(math.MaxInt64)

// stillPending removes the PENDING ones of the deliveries from where they wait, if
// they are those, counts that they are no more, and returns them.
func (tx *txn) stillPending(seqs []int64, which those, now time.Time) (is []int64, err error) {
	noMore := func(account string, size int64) { tx.tally(account, now).AddPending(-1, -size) }
	var others []int64
	for _, seq := range seqs {
		if tx.isFresh(seq) {
			noMore(tx.sizeOf(seq))
			tx.leave(seq)
			is = append(is, seq)
		} else {
			others = append(others, seq)
		}
	}
	err = bulk(len(others), func(from, to int) error {
		args := make([]any, 0, to-from+1)
		for _, seq := range others[from:to] {
			args = append(args, seq)
		}
		rows, err := tx.query(text(`DELETE FROM waiting WHERE seq IN (%s) AND `+which.condition+` RETURNING seq, account_id, `+sizeOfWaiting, `?`, to-from), append(args, which.arg)...)
		if err != nil {
			return err
		}
		waited, err := collect(rows, func(r *sql.Rows) (seq int64, err error) {
			var account string
			var size int64
			if err = r.Scan(&seq, &account, &size); err == nil {
				noMore(account, size)
			}
			return seq, err
		})
		is = append(is, waited...)
		return err
	})
	return is, err
}

// sizeOfWaiting is how long the payload of a row of the table waiting is.
const sizeOfWaiting = `coalesce((SELECT length(payload) FROM deliveries d WHERE d.seq = waiting.seq), 0)`
