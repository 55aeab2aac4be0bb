package postgres

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// Each node's tallies of an account: the last one before a minute, and those from it on to
// another.
const (
	talliesBefore = `SELECT n.slot, t.minute, t.tally FROM (SELECT ` + numberOf + ` AS no) a CROSS JOIN nodes n
		CROSS JOIN LATERAL (SELECT x.minute, x.tally FROM tallies x WHERE x.account = a.no AND x.slot = n.slot AND x.minute < $2 ORDER BY x.minute DESC LIMIT 1) t`
	talliesBetween = `SELECT n.slot, t.minute, t.tally FROM (SELECT ` + numberOf + ` AS no) a CROSS JOIN nodes n
		JOIN tallies t ON t.account = a.no AND t.slot = n.slot AND t.minute BETWEEN $2 AND $3 ORDER BY t.minute`
)

// Minutes implements [store.HealthRecords]. It looks at one row for each minute and node.
func (s *Store) Minutes(ctx context.Context, accountID string, first, last int64) (all []store.MinuteTally, err error) {
	ctx, cancel := shortly(ctx)
	defer cancel()
	err = s.snapshot(ctx, s.reads, func(tx pgx.Tx) error {
		nodes := map[int16]*store.Tally{}
		read := func(query string, args ...any) error {
			rows, err := tx.Query(ctx, query, args...)
			if err != nil {
				return err
			}
			var slot int16
			var minute int64
			var b []byte
			_, err = pgx.ForEachRow(rows, []any{&slot, &minute, &b}, func() (err error) {
				if nodes[slot], err = readTally(b); err != nil {
					return err
				}
				b = nil
				if minute = max(minute, first-1); len(all) == 0 || all[len(all)-1].Minute < minute {
					all = append(all, store.MinuteTally{Minute: minute})
				}
				all[len(all)-1].Tally = *together(slices.Collect(maps.Values(nodes)))
				return nil
			})
			return err
		}
		if err := read(talliesBefore, accountID, first); err != nil {
			return err
		}
		if len(all) == 0 {
			all = append(all, store.MinuteTally{Minute: first - 1})
		}
		return read(talliesBetween, accountID, first, last)
	})
	return all, err
}
