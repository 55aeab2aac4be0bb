package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// This file counts what becomes of an account's events and attempts, minute by minute. A
// row is the account's tally at the end of a minute, or as it is in the present one. A
// commit writes those of its accounts with what it counts.

// counting is the part of a transaction that counts.
type counting struct {
	minute  int64                  // the present one; it never goes back
	changes map[int64]*store.Tally // by the number of the account
	sums    map[int64]*store.Tally // with these changes
}

// tally is what the transaction counts of an account.
func (tx *txn) tally(account int64, now time.Time) *store.Tally {
	c := &tx.counting
	c.minute = max(c.minute, store.Minute(now))
	t := c.changes[account]
	if t == nil {
		t = &store.Tally{}
		c.changes[account] = t
	}
	return t
}

const (
	// lastTallies are those of each node.
	lastTallies = `SELECT s.no, n.slot, t.tally FROM unnest($1::bigint[]) AS s (no) CROSS JOIN nodes n
		CROSS JOIN LATERAL (SELECT x.tally FROM tallies x WHERE x.account = s.no AND x.slot = n.slot ORDER BY x.minute DESC LIMIT 1) t`
	putTallies = `INSERT INTO tallies (account, slot, minute, tally) SELECT s.no, $4, $1, s.tally FROM unnest($2::bigint[], $3::bytea[]) AS s (no, tally)
		ON CONFLICT (account, slot, minute) DO UPDATE SET tally = excluded.tally`
)

// sumTallies adds the changes to the last tallies, which it reads if the writer does not
// know them.
func (tx *txn) sumTallies(from querier) error {
	c, w := &tx.counting, tx.w
	var missing []int64
	for account := range c.changes {
		if known := w.sums[account]; known != nil {
			c.sums[account] = known.Clone()
		} else {
			missing, c.sums[account] = append(missing, account), &store.Tally{}
		}
	}
	if len(missing) > 0 {
		if err := tx.readTallies(from, missing); err != nil {
			return err
		}
	}
	for account, change := range c.changes {
		c.sums[account].Add(change)
	}
	return nil
}

// readTallies reads what this node has counted last. How many attempts of an account
// have failed in a row is known by whichever node has made the last one.
func (tx *txn) readTallies(from querier, missing []int64) error {
	rows, err := from.Query(tx.ctx, lastTallies, missing)
	if err != nil {
		return err
	}
	c, all := &tx.counting, map[int64][]*store.Tally{}
	var account int64
	var slot int16
	var b []byte
	if _, err := pgx.ForEachRow(rows, []any{&account, &slot, &b}, func() error {
		t, err := readTally(b)
		if err == nil {
			all[account] = append(all[account], t)
			if slot == tx.w.mySlot() {
				c.sums[account] = t.Clone()
			}
		}
		b = nil
		return err
	}); err != nil {
		return err
	}
	for account, of := range all {
		c.sums[account].InARow = together(of).InARow
	}
	return nil
}

// together is what nodes have counted of an account.
func together(all []*store.Tally) *store.Tally {
	sum := &store.Tally{}
	var last time.Time
	inARow := int64(0)
	for _, t := range all {
		sum.Add(t)
		at := t.Success.At
		if t.Failure.At.After(at) {
			at = t.Failure.At
		}
		if !at.Before(last) {
			last, inARow = at, t.InARow
		}
	}
	sum.InARow = inARow
	return sum
}

func readTogether(all [][]byte) (*store.Tally, error) {
	tallies := make([]*store.Tally, len(all))
	for i, b := range all {
		t, err := readTally(b)
		if err != nil {
			return nil, err
		}
		tallies[i] = t
	}
	return together(tallies), nil
}

func readTally(b []byte) (*store.Tally, error) {
	t, _, err := store.ReadTally(b)
	if err != nil {
		return nil, fmt.Errorf("a tally: %w: %w", err, store.ErrDamaged)
	}
	return t, nil
}

// tallyArgs are the arguments of putTallies.
func (tx *txn) tallyArgs() []any {
	c := &tx.counting
	accounts, sums := make([]int64, 0, len(c.sums)), make([][]byte, 0, len(c.sums))
	for account, sum := range c.sums {
		accounts, sums = append(accounts, account), append(sums, sum.Append(nil))
	}
	return []any{c.minute, accounts, sums, tx.w.mySlot()}
}

// saveTallies is for a transaction of single statements.
func (tx *txn) saveTallies() error {
	if len(tx.counting.changes) == 0 {
		return nil
	}
	if err := tx.sumTallies(tx.tx); err != nil {
		return err
	}
	_, err := tx.exec(putTallies, tx.tallyArgs()...)
	return err
}

// counted keeps what was committed.
func (w *writer) counted(c *counting) {
	w.minute.Store(c.minute)
	for account, sum := range c.sums {
		put(w.sums, account, sum)
	}
}

const (
	minutesOfHour = 60
	minutesKept   = 25 * minutesOfHour                   // each minute has a row so long,
	hoursKept     = 7*24*minutesOfHour + 2*minutesOfHour // and each hour
	// sweptAtOnce is how many accounts one sweep looks at for old tallies.
	sweptAtOnce = 100
)

// sweepTallies removes rows that no question needs, of the accounts after the one that
// was looked at last: of an hour that is over all but the last, and of what is older
// than any question all but the last.
func (tx *txn) sweepTallies(now time.Time) error {
	w, minute := tx.w, store.Minute(now)
	var n, last int64
	err := tx.row(`WITH s AS MATERIALIZED (SELECT no FROM accounts WHERE no > $1 ORDER BY no LIMIT $2),
		d AS (DELETE FROM tallies t USING s WHERE t.account = s.no AND (
			t.minute < $3 AND EXISTS (SELECT FROM tallies l WHERE l.account = t.account AND l.slot = t.slot AND l.minute > t.minute AND l.minute < (t.minute / 60 + 1) * 60)
			OR t.minute < $4 AND EXISTS (SELECT FROM tallies l WHERE l.account = t.account AND l.slot = t.slot AND l.minute > t.minute AND l.minute < $4)))
		SELECT count(*), coalesce(max(no), 0) FROM s`,
		[]any{w.swept, sweptAtOnce, (minute - minutesKept) / minutesOfHour * minutesOfHour, minute - hoursKept}, &n, &last)
	if w.swept = last; n < sweptAtOnce {
		w.swept = 0
	}
	return err
}

// Vitals implements [store.HealthRecords]. It looks at one row for each window and a few
// others, whatever the account has.
func (s *Store) Vitals(ctx context.Context, accountID string, now time.Time) (v store.Vitals, err error) {
	read, cancel := shortly(ctx)
	defer cancel()
	minute := max(s.w.minute.Load(), store.Minute(now))
	err = s.snapshot(read, s.reads, func(tx pgx.Tx) (err error) {
		upTo := func(minute int64) *store.Tally {
			sum, failed := tallyUpTo(read, tx, accountID, minute)
			err = errors.Join(err, failed)
			return sum
		}
		v.Fill(upTo(math.MaxInt64), func(ago int64) *store.Tally { return upTo(minute - ago) })
		if err != nil {
			return err
		}
		if v.LastFailure, err = failure(read, tx, &v.Failure); err != nil {
			return err
		}
		var next int64
		err = tx.QueryRow(read, nextDue, accountID, micros(now)).Scan(&next)
		v.NextDue = instant(next)
		return err
	})
	if err != nil {
		return v, err
	}
	b, err := s.Oldest(ctx, accountID)
	for _, d := range append(b.Fresh, b.Replays...) {
		v.OldestPending = store.Earliest(v.OldestPending, d.Since())
	}
	return v, err
}

// tallyUpTo is what was counted by the end of a minute.
func tallyUpTo(ctx context.Context, tx pgx.Tx, accountID string, minute int64) (*store.Tally, error) {
	rows, err := tx.Query(ctx, `SELECT t.tally FROM (SELECT `+numberOf+` AS no) a CROSS JOIN nodes n
		CROSS JOIN LATERAL (SELECT x.tally FROM tallies x WHERE x.account = a.no AND x.slot = n.slot AND x.minute <= $2 ORDER BY x.minute DESC LIMIT 1) t`, accountID, minute)
	if err != nil {
		return &store.Tally{}, err
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return &store.Tally{}, err
	}
	sum, err := readTogether(all)
	if err != nil {
		return &store.Tally{}, err
	}
	return sum, nil
}

// failure is a failed attempt as it is kept, or as far as it was noted.
func failure(ctx context.Context, tx pgx.Tx, m *store.Mark) (*store.Attempt, error) {
	if m.At.IsZero() {
		return nil, nil
	}
	rows, err := tx.Query(ctx, `SELECT `+attemptColumns+` FROM outcomes o WHERE o.seq = $1 AND o.number = $2`, m.Seq, m.Number)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Attempt, error) { return scanAttempt(row) })
	if err != nil || len(found) == 0 || !found[0].At.Equal(m.At) {
		return m.Attempt(), err
	}
	return &found[0], nil
}
