package sqlite

import (
	"context"
	"time"

	"github.com/recapito/recapito/store"
)

// Record implements [store.Queue].
func (s *Store) Record(ctx context.Context, outcomes []store.Outcome, now time.Time) error {
	return s.w.doRows(ctx, len(outcomes), func(tx *txn) error {
		tx.outcomes += len(outcomes)
		for rest := outcomes; len(rest) > 0; {
			n := atFirst(rest)
			err := bulk(n, func(from, to int) error { return tx.deliver(rest[from:to], now) })
			if err == nil && n < len(rest) {
				err = tx.record(&rest[n], now)
				n++
			}
			if err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
}

// atFirst counts the outcomes, from the beginning, of events that were
// delivered with their first attempt and that no other waits for: nearly all.
func atFirst(outcomes []store.Outcome) int {
	for i := range outcomes {
		if o := &outcomes[i]; o.State != store.Delivered || o.Releases() || o.Failures != 0 {
			return i
		}
	}
	return len(outcomes)
}

// deliver records such outcomes with two statements. If one of them is not
// PENDING any more, they go one by one.
func (tx *txn) deliver(outcomes []store.Outcome, now time.Time) error {
	args := append(make([]any, 0, 1+len(outcomes)), micros(now))
	for i := range outcomes {
		args = append(args, outcomes[i].Delivery.Seq)
	}
	n, err := tx.changes(text(`UPDATE deliveries SET state = 1, attempts = max(attempts, 1), failures = 0, finished_at = ? WHERE seq IN (%s) AND state = 0`, `?`, len(outcomes)), args...)
	if err != nil {
		return err
	}
	tx.moved(pending, delivered, n)
	if n == len(outcomes) {
		return tx.addAttempts(outcomes)
	}
	for i := range outcomes {
		if err := tx.record(&outcomes[i], now); err != nil {
			return err
		}
	}
	return nil
}

// record records any outcome.
func (tx *txn) record(o *store.Outcome, now time.Time) error {
	number, known := 0, false
	if o.Attempt != nil {
		number = o.Attempt.Number
		n, err := tx.addAttempt(o.Delivery, o.Attempt)
		if err != nil {
			return err
		}
		known = n == 0
	}
	if o.State == store.Pending {
		if known {
			return nil // recorded before, or the delivery was erased
		}
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
	return tx.exec(`UPDATE deliveries INDEXED BY deliveries_message SET due_at = ? WHERE message_id = ? AND account_id = ? AND state = 0 AND attempts = 0 AND due_at > ?`,
		micros(now), o.Delivery.MessageID, o.Delivery.AccountID, micros(now))
}

func (tx *txn) keepPending(o *store.Outcome, number int, now time.Time) error {
	due := micros(o.DueAt)
	if o.Behind {
		var earlier bool
		err := tx.row(`SELECT EXISTS (SELECT 1 FROM deliveries INDEXED BY deliveries_message WHERE message_id = ? AND account_id = ? AND state = 0 AND seq < ?)`,
			[]any{o.Delivery.MessageID, o.Delivery.AccountID, o.Delivery.Seq}, &earlier)
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

// countAttempt counts an attempt of a delivery that is not PENDING any more.
func (tx *txn) countAttempt(d *store.Delivery, number int) error {
	return tx.exec(`UPDATE deliveries SET attempts = max(attempts, ?) WHERE seq = ? AND account_id = ?`, number, d.Seq, d.AccountID)
}

const insertAttempts = `INSERT INTO attempts (seq, number, at, duration, status_code, error, response, probe) `

func attemptArgs(args []any, seq int64, a *store.Attempt) []any {
	return append(args, seq, a.Number, micros(a.At), a.Duration.Microseconds(), a.StatusCode, string(a.Error), a.Response, a.Probe)
}

// addAttempts keeps the attempts of deliveries that are there.
func (tx *txn) addAttempts(outcomes []store.Outcome) error {
	args := make([]any, 0, 8*len(outcomes))
	for i := range outcomes {
		args = attemptArgs(args, outcomes[i].Delivery.Seq, outcomes[i].Attempt)
	}
	return tx.exec(text(insertAttempts+`VALUES %s ON CONFLICT DO NOTHING`, `(?, ?, ?, ?, ?, ?, ?, ?)`, len(outcomes)), args...)
}

// addAttempt keeps an attempt, unless its delivery is gone (erased) or it is
// there already: then it returns 0.
func (tx *txn) addAttempt(d *store.Delivery, a *store.Attempt) (int, error) {
	return tx.changes(insertAttempts+`SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
		WHERE EXISTS (SELECT 1 FROM deliveries WHERE seq = ?1 AND account_id = ?9) ON CONFLICT DO NOTHING`,
		append(attemptArgs(make([]any, 0, 9), d.Seq, a), d.AccountID)...)
}
