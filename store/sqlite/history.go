package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/history"
)

// Delivery implements [store.History].
func (s *Store) Delivery(ctx context.Context, accountID, eventID string) (d store.Delivery, attempts []store.Attempt, err error) {
	err = s.snapshot(ctx, func(tx *readTxn) error {
		rows, err := tx.rows(s.reads.delivery, eventID, accountID)
		if err != nil {
			return err
		}
		found, err := collect(rows, s.scanShown)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return store.ErrNotFound
		}
		if err := s.addBehind(tx.ctx, tx.tx, found); err != nil {
			return err
		}
		d = found[0]
		rows, err = tx.rows(s.reads.attempts, d.Seq)
		if err != nil {
			return err
		}
		attempts, err = collect(rows, func(rows *sql.Rows) (store.Attempt, error) { return scanAttempt(rows) })
		return err
	})
	return d, attempts, err
}

// pendingOfMessages are the PENDING deliveries of the same messages as the given
// ones. It looks at a given number of the messages' deliveries at most.
var pendingOfMessages = `SELECT same.seq, same.message_id, (SELECT event_id FROM deliveries WHERE seq = same.seq), coalesce(p.due_at, 0), coalesce(p.replayed_at, 0), ` + firstFailure(`same.seq`) + `
	FROM (SELECT e.seq, e.message_id
			FROM (SELECT DISTINCT d.message_id, d.account_id FROM json_each(?) j CROSS JOIN deliveries d ON d.seq = j.value) m
			CROSS JOIN deliveries e INDEXED BY deliveries_message ON e.message_id = m.message_id AND e.account_id = m.account_id LIMIT ?) same
	LEFT JOIN waiting p ON p.seq = same.seq WHERE ` + isPending(`same.seq`)

// addBehind completes those of an account's deliveries that are PENDING. If their
// messages have more than scanRows deliveries, it leaves some out.
func (s *Store) addBehind(ctx context.Context, tx *sql.Tx, ds []store.Delivery) error {
	var seqs []int64
	for i := range ds {
		if ds[i].State == store.Pending {
			seqs = append(seqs, ds[i].Seq)
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	rows, err := tx.QueryContext(ctx, pendingOfMessages, list(seqs), s.cfg.scanRows)
	if err != nil {
		return err
	}
	pending, err := collect(rows, func(rows *sql.Rows) (e store.Delivery, err error) {
		var due, replayed, failed int64
		err = rows.Scan(&e.Seq, &e.MessageID, &e.EventID, &due, &replayed, &failed)
		e.DueAt, e.Replay.At, e.FailedAt = instant(due), instant(replayed), instant(failed)
		return e, err
	})
	history.Behind(ds, pending, time.Now()) // later than all that the snapshot has
	return err
}

// scanAttempt reads attemptColumns, and more after them.
func scanAttempt(rows *sql.Rows, more ...any) (a store.Attempt, err error) {
	var at, duration int64
	var kind string
	var phases []byte
	err = rows.Scan(append([]any{&a.Number, &at, &duration, &a.StatusCode, &kind, &a.Response, &a.Probe, &phases, &a.Detail, &a.Location, &a.Header}, more...)...)
	a.UnpackPhases(phases)
	a.At, a.Duration, a.Error = instant(at), time.Duration(duration)*time.Microsecond, store.ErrorKind(kind)
	return a, err
}
