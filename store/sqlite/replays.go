package sqlite

import (
	"context"
	"time"

	"github.com/recapito/recapito/store"
)

// Replay implements [store.Replays].
func (s *Store) Replay(ctx context.Context, accountID, eventID string, now time.Time) error {
	return s.w.do(ctx, func(tx *txn) error {
		rows, err := tx.query(endedDelivery, eventID, accountID)
		if err != nil {
			return err
		}
		found, err := collect(rows, s.scanDelivery)
		switch {
		case err != nil:
			return err
		case len(found) == 0:
			return store.ErrNotFound
		case found[0].State == store.Pending:
			return store.ErrConflict
		}
		w, err := tx.webhookOrNone(accountID)
		switch {
		case err != nil:
			return err
		case w == nil:
			return store.ErrNoWebhook
		case found[0].Damaged:
			return store.ErrDamaged
		}
		return tx.replay(w, found, now)
	})
}

const endedDelivery = `SELECT ` + deliveryColumns + noQueueColumns + ` FROM deliveries d` + joinQueue + ` WHERE d.event_id = ? AND d.account_id = ?`

// replay makes deliveries of an account that have ended PENDING again. Their history
// stays, but for what it says of their schedule.
func (tx *txn) replay(w *store.Webhook, ended []store.Delivery, now time.Time) error {
	seqs, size := make([]int64, len(ended)), int64(0)
	for i := range ended {
		seqs[i] = ended[i].Seq
		size += store.PayloadSize(ended[i].Body)
		tx.moved(stateCodes[ended[i].State], pending, 1)
	}
	tx.tally(w.AccountID, now).AddPending(int64(len(ended)), size)
	tx.news = append(tx.news, news{account: w.AccountID, webhook: w, replayed: seqs})
	return bulk(len(ended), func(from, to int) error {
		var args, rows []any
		for i := from; i < to; i++ {
			r := ended[i].Again(w, now)
			args = append(args, seqs[i])
			rows = append(rows, w.AccountID, micros(now), seqs[i], micros(r.At), r.WebhookID, r.Attempts)
		}
		if err := tx.exec(text(`DELETE FROM outcomes WHERE number = 0 AND seq IN (%s)`, `?`, to-from), args...); err != nil {
			return err
		}
		if err := tx.exec(text(`UPDATE outcomes SET failures = 0, state = 0, ended_at = 0 WHERE seq IN (%s)`, `?`, to-from), args...); err != nil {
			return err
		}
		return tx.exec(text(`INSERT INTO waiting (account_id, due_at, seq, replayed_at, webhook_id, attempts) VALUES %s`, `(?, ?, ?, ?, ?, ?)`, to-from), rows...)
	})
}
