package postgres

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// MakeDue implements [store.Upkeep].
func (s *Store) MakeDue(ctx context.Context, accountID string, now time.Time, limit int) (int, error) {
	return write(ctx, s.w, func(tx *txn) (int, error) {
		if !tx.mine(accountID) {
			return 0, nil
		}
		n, err := tx.exec(`UPDATE waiting SET due_at = $2 WHERE seq IN
			(SELECT seq FROM waiting WHERE account = `+numberOf+` AND due_at > $2 ORDER BY due_at LIMIT $3)`, accountID, micros(now), limit)
		if err == nil && n < limit {
			err = tx.madeDue(accountID, now)
		}
		return n, err
	})
}

// madeDue ends [store.Webhook.MakeDue].
func (tx *txn) madeDue(accountID string, now time.Time) error {
	n, err := tx.exec(`UPDATE webhooks SET make_due = false WHERE make_due AND account = `+numberOf, accountID)
	if err == nil && n > 0 {
		tx.webhooks[accountID] = nil // the cache has it
		tx.note(accountID, stateChanged, now)
	}
	return err
}

// The PENDING deliveries of an account that may be given up, or cancelled: those that
// wait and those beyond the mark.
var (
	expirable = `SELECT s.seq FROM (
			(SELECT seq, replayed_at FROM waiting WHERE account = ` + numberOf + ` AND due_at = 0 ORDER BY seq LIMIT $3)
			UNION ALL SELECT seq, replayed_at FROM waiting WHERE account = ` + numberOf + ` AND due_at > 0
			UNION ALL SELECT f.seq, 0 FROM (` + freshBeyond(numberOf, `$4::smallint`, `0`, ``) + ` ORDER BY d.seq LIMIT $3) f) s` + bySeq + `
		WHERE CASE WHEN s.replayed_at > 0 THEN s.replayed_at ELSE d.accepted_at END < $2 LIMIT $3`
	cancelable = `SELECT s.seq FROM (
			SELECT seq FROM waiting WHERE account = $1 AND due_at = 0 AND seq < $2
			UNION ALL SELECT seq FROM waiting WHERE account = $1 AND due_at > 0 AND CASE WHEN replayed_at > 0 THEN webhook_id <> $4 ELSE seq < $2 END
			UNION ALL (` + freshBeyond(`$1`, `(SELECT shard FROM accounts WHERE no = $1)`, `0`, ``) + ` AND d.seq < $2 ORDER BY d.seq LIMIT $3)) s LIMIT $3`
)

// Expire implements [store.Upkeep]. A reader finds what is to be given up, because the
// search can be long; the writer checks it again. The search goes through the fresh
// deliveries in order of acceptance.
func (s *Store) Expire(ctx context.Context, accountID string, before, now time.Time, limit int) (int, error) {
	seqs, err := all(ctx, s, pgx.RowTo[int64], expirable, accountID, ceilMicros(before), limit, shardOf(accountID))
	if err != nil || len(seqs) == 0 {
		return 0, err
	}
	return s.finishFound(ctx, accountID, failed, now, seqs, limit, func(*txn) (those, error) { return those{replayedBefore: ceilMicros(before)}, nil })
}

// Cancel implements [store.Upkeep]. As in Expire, a reader finds the deliveries.
func (s *Store) Cancel(ctx context.Context, accountID string, now time.Time, limit int) (int, error) {
	var no, before int64
	var present string
	err := s.one(ctx, `SELECT a.no, coalesce(w.first_seq, (SELECT last_value + 1 FROM blocks) * 65536), coalesce(w.id, '') FROM accounts a LEFT JOIN webhooks w ON w.account = a.no WHERE a.id = $1`,
		[]any{accountID}, &no, &before, &present)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil // it was erased
	}
	if err != nil {
		return 0, err
	}
	seqs, err := all(ctx, s, pgx.RowTo[int64], cancelable, no, before, limit, present)
	if err != nil || len(seqs) == 0 {
		return 0, err
	}
	return s.finishFound(ctx, accountID, cancelled, now, seqs, limit, func(tx *txn) (those, error) {
		which := whatever
		err := tx.row(`SELECT coalesce((SELECT id FROM webhooks WHERE account = $1), '')`, []any{no}, &which.notTo)
		return which, err
	})
}

// finishFound ends what a reader has found. It returns limit if so many were found,
// though some have ended since: there may be more. still says which it would find now,
// as some may have been replayed since.
func (s *Store) finishFound(ctx context.Context, accountID string, state int16, now time.Time, seqs []int64, limit int, still func(*txn) (those, error)) (int, error) {
	n, err := write(ctx, s.w, func(tx *txn) (int, error) {
		which, err := still(tx)
		if err != nil {
			return 0, err
		}
		var no int64
		err = tx.row(`SELECT no FROM accounts WHERE id = $1`, []any{accountID}, &no)
		if errors.Is(err, store.ErrNotFound) || !tx.mine(accountID) {
			return 0, nil // it was erased, or is another node's
		}
		if err != nil {
			return 0, err
		}
		n, err := tx.finish(no, state, now, seqs, which)
		if err == nil && state == failed {
			tx.gaveUp(no, n, now)
		}
		return n, err
	})
	if err == nil && len(seqs) == limit {
		return limit, nil
	}
	return n, err
}

// those are deliveries in their first run, and replays that were asked for before a
// time and go to another webhook than one.
type those struct {
	replayedBefore int64
	notTo          string
}

var whatever = those{replayedBefore: math.MaxInt64}

var finishPending = `WITH s AS MATERIALIZED (SELECT u.seq, octet_length(d.payload) AS size FROM unnest($1::bigint[]) AS u (seq)
		CROSS JOIN LATERAL (SELECT x.payload FROM deliveries x WHERE x.seq = u.seq LIMIT 1) d
		LEFT JOIN LATERAL (SELECT x.replayed_at, x.webhook_id FROM waiting x WHERE x.seq = u.seq LIMIT 1) w ON true
		WHERE ` + isPending(`u.seq`) + ` AND (coalesce(w.replayed_at, 0) = 0 OR w.replayed_at < $4 AND w.webhook_id <> $5)),
	w AS (DELETE FROM waiting USING s WHERE waiting.seq = s.seq),
	o AS (INSERT INTO outcomes (seq, at, ended_at, duration, number, failures, status_code, state, probe, error, detail)
		SELECT seq, 0, $3, 0, 0, 0, 0, $2, false, '', '' FROM s)
	SELECT count(*), coalesce(sum(size), 0) FROM s`

// finish ends the PENDING ones of the deliveries, if they are those, without an attempt, and returns how
// many there were.
func (tx *txn) finish(account int64, state int16, now time.Time, seqs []int64, which those) (int, error) {
	var n, size int64
	err := tx.row(finishPending, []any{seqs, state, micros(now), which.replayedBefore, which.notTo}, &n, &size)
	if err == nil {
		tx.ended(state, n)
		tx.tally(account, now).AddPending(-n, -size)
	}
	return int(n), err
}

// cancel ends the first of an account's PENDING deliveries.
func (tx *txn) cancel(account int64, now time.Time, limit int) error {
	seqs, err := tx.numbers(cancelable, account, int64(math.MaxInt64), limit, "")
	if err == nil {
		_, err = tx.finish(account, cancelled, now, seqs, whatever)
	}
	return err
}

// Sweep implements [store.Upkeep].
func (s *Store) Sweep(ctx context.Context, now time.Time, retention time.Duration, limit int) (int, error) {
	return write(ctx, s.w, func(tx *txn) (int, error) {
		if err := tx.endSecrets(now); err != nil {
			return 0, err
		}
		if err := tx.sweepTallies(now); err != nil {
			return 0, err
		}
		if err := tx.forgetReplays(now.Add(-retention)); err != nil {
			return 0, err
		}
		if err := tx.forgetChanges(); err != nil {
			return 0, err
		}
		seqs, err := tx.numbers(overdue, ceilMicros(now.Add(-retention)), limit, tx.w.store.shards.all())
		if err != nil || len(seqs) == 0 {
			return 0, err
		}
		return tx.erase(seqs)
	})
}

// overdue are deliveries of some shards that ended before a time. They stay as they are
// until the transaction ends: any node may replay one.
const overdue = `SELECT d.seq FROM outcomes o JOIN deliveries d ON d.seq = o.seq
	WHERE o.ended_at > 0 AND o.ended_at < $1 AND d.shard = ANY($3) ORDER BY o.ended_at LIMIT $2 FOR UPDATE OF o`

var countStates = `SELECT e.state, count(*) FROM unnest($1::bigint[]) AS s (seq)` + bySeq + `
	CROSS JOIN LATERAL (SELECT coalesce((SELECT x.state FROM outcomes x WHERE x.seq = s.seq AND x.ended_at > 0 LIMIT 1), 0) AS state) e GROUP BY e.state`

// erase removes deliveries with all their rows and returns how many there were.
func (tx *txn) erase(seqs []int64) (n int, err error) {
	rows, err := tx.tx.Query(tx.ctx, countStates, seqs)
	if err != nil {
		return 0, err
	}
	var state, count int
	if _, err := pgx.ForEachRow(rows, []any{&state, &count}, func() error {
		tx.moved[state] -= int64(count)
		n += count
		return nil
	}); err != nil {
		return 0, err
	}
	for _, table := range [...]string{"waiting", "outcomes", "deliveries"} {
		if _, err := tx.exec(`DELETE FROM `+table+` WHERE seq = ANY($1)`, seqs); err != nil {
			return 0, err
		}
	}
	return n, nil
}
