package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/history"
)

const selectDelivery = `SELECT ` + deliveryColumns + noBehind + ` FROM deliveries d` + withQueue + ` WHERE d.event_id = $2 AND d.account = ` + numberOf

// Delivery implements [store.History].
func (s *Store) Delivery(ctx context.Context, accountID, eventID string) (d store.Delivery, attempts []store.Attempt, err error) {
	ctx, cancel := shortly(ctx)
	defer cancel()
	err = s.snapshot(ctx, s.reads, func(tx pgx.Tx) error {
		found, err := deliveries(ctx, tx, accountID, true, selectDelivery, accountID, eventID)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return store.ErrNotFound
		}
		if err := s.addBehind(ctx, tx, accountID, found); err != nil {
			return err
		}
		d = found[0]
		rows, err := tx.Query(ctx, `SELECT `+attemptColumns+` FROM outcomes o WHERE o.seq = $1 AND o.number > 0 ORDER BY o.number`, d.Seq)
		if err != nil {
			return err
		}
		attempts, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Attempt, error) { return scanAttempt(row) })
		return err
	})
	return d, attempts, err
}

// pendingOfMessages are the PENDING deliveries of some messages. It looks at a given
// number of the messages' deliveries at most.
var pendingOfMessages = `SELECT p.seq, p.message_id, p.event_id, coalesce(w.due_at, 0), coalesce(w.replayed_at, 0), ` + firstFailure(`p.seq`) + `
	FROM (SELECT x.seq, x.message_id, x.event_id FROM unnest($2::text[]) AS m (id)
		CROSS JOIN LATERAL (SELECT y.seq, y.message_id, y.event_id FROM deliveries y WHERE y.message_id = m.id AND y.account = ` + numberOf + ` LIMIT $3) x LIMIT $3) p
	LEFT JOIN LATERAL (SELECT x.due_at, x.replayed_at FROM waiting x WHERE x.seq = p.seq LIMIT 1) w ON true
	WHERE ` + isPending(`p.seq`)

// addBehind completes those of an account's deliveries that are PENDING. If their
// messages have more than scanRows deliveries, it leaves some out.
func (s *Store) addBehind(ctx context.Context, tx pgx.Tx, accountID string, ds []store.Delivery) error {
	var messages []string
	seen := map[string]bool{}
	for i := range ds {
		if m := ds[i].MessageID; ds[i].State == store.Pending && !seen[m] {
			seen[m], messages = true, append(messages, m)
		}
	}
	if len(messages) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, pendingOfMessages, accountID, messages, s.cfg.scanRows)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d store.Delivery, err error) {
		var due, replayed, failedAt int64
		err = row.Scan(&d.Seq, &d.MessageID, &d.EventID, &due, &replayed, &failedAt)
		d.DueAt, d.Replay.At, d.FailedAt = instant(due), instant(replayed), instant(failedAt)
		return d, err
	})
	history.Behind(ds, found, time.Now()) // later than all that the snapshot has
	return err
}

const attemptColumns = `o.number, o.at, o.duration, o.status_code, o.error, o.response, o.probe, o.phases, o.detail, o.location, o.header`

// scanAttempt reads attemptColumns, and more after them.
func scanAttempt(row pgx.CollectableRow, more ...any) (a store.Attempt, err error) {
	var at, duration int64
	var kind string
	var phases, location, header []byte
	err = row.Scan(append([]any{&a.Number, &at, &duration, &a.StatusCode, &kind, &a.Response, &a.Probe, &phases, &a.Detail, &location, &header}, more...)...)
	a.UnpackPhases(phases)
	a.At, a.Duration, a.Error = instant(at), time.Duration(duration)*time.Microsecond, store.ErrorKind(kind)
	a.Location, a.Header = string(location), string(header)
	return a, err
}
