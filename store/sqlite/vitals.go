package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/recapito/recapito/store"
)

// Vitals implements [store.HealthRecords]. It looks at one row for each window and a
// few others, whatever the account has.
func (s *Store) Vitals(ctx context.Context, accountID string, now time.Time) (v store.Vitals, err error) {
	changes, minute := s.w.tallies.of(accountID)
	minute = max(minute, store.Minute(now))
	err = s.snapshot(ctx, func(tx *readTxn) error {
		upTo := func(minute int64) *store.Tally {
			sum, failed := tx.tallyUpTo(accountID, minute, changes)
			err = errors.Join(err, failed)
			return sum
		}
		v.Fill(upTo(minute), func(ago int64) *store.Tally { return upTo(minute - ago) })
		if err != nil {
			return err
		}
		if v.LastFailure, err = tx.failure(&v.Failure); err != nil {
			return err
		}
		next, failed := tx.number(s.reads.nextDue, accountID, micros(now))
		v.NextDue = instant(next)
		return failed
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

// tallyUpTo is what was counted by the end of a minute: by its rows, and by what was
// not in them when that was copied.
func (t *readTxn) tallyUpTo(accountID string, minute int64, changes []minuteChange) (*store.Tally, error) {
	row := t.tx.StmtContext(t.ctx, t.store.reads.tally).QueryRowContext(t.ctx, accountID, minute)
	at, sum, err := scanTally(row.Scan)
	if err != nil {
		return &store.Tally{}, err
	}
	for _, c := range changes {
		if c.minute > at && c.minute <= minute {
			sum.Add(c.change)
		}
	}
	return sum, nil
}

// talliesBetween are an account's rows of some minutes.
const talliesBetween = `SELECT minute, tally FROM tallies WHERE account_id = ? AND minute BETWEEN ? AND ? ORDER BY minute`

// Minutes implements [store.HealthRecords]. It looks at one row for each minute.
func (s *Store) Minutes(ctx context.Context, accountID string, first, last int64) (all []store.MinuteTally, err error) {
	changes, _ := s.w.tallies.of(accountID)
	err = s.snapshot(ctx, func(tx *readTxn) error {
		before, err := tx.tallyUpTo(accountID, first-1, changes)
		if err != nil {
			return err
		}
		rows, err := tx.rows(s.reads.tallies, accountID, first, last)
		if err != nil {
			return err
		}
		kept, err := collect(rows, func(rows *sql.Rows) (t store.MinuteTally, err error) {
			minute, sum, err := scanTally(rows.Scan)
			if err == nil {
				t = store.MinuteTally{Minute: minute, Tally: *sum}
			}
			return t, err
		})
		all = append([]store.MinuteTally{{Minute: first - 1, Tally: *before}}, kept...)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if end := &all[len(all)-1]; c.minute > end.Minute && c.minute <= last {
			sum := end.Clone()
			sum.Add(c.change)
			all = append(all, store.MinuteTally{Minute: c.minute, Tally: *sum})
		}
	}
	return all, nil
}

// failure is a failed attempt as it is kept, or as far as it was noted.
func (t *readTxn) failure(m *store.Mark) (*store.Attempt, error) {
	if m.At.IsZero() {
		return nil, nil
	}
	rows, err := t.rows(t.store.reads.attempt, m.Seq, m.Number)
	if err != nil {
		return nil, err
	}
	found, err := collect(rows, func(rows *sql.Rows) (store.Attempt, error) { return scanAttempt(rows) })
	if err != nil || len(found) == 0 || !m.Marks(&found[0]) {
		return m.Attempt(), err
	}
	return &found[0], nil
}
