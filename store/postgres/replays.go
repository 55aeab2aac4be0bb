package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/recapito/recapito/store"
)

// Replay implements [store.Replays].
func (s *Store) Replay(ctx context.Context, accountID, eventID string, now time.Time) error {
	return s.w.do(ctx, func(tx *txn) error {
		// Its node may be about to remove it, and another to replay it as well.
		if _, err := tx.exec(`SELECT seq FROM outcomes WHERE ended_at > 0 AND seq = (SELECT seq FROM deliveries WHERE event_id = $2 AND account = `+numberOf+`) FOR UPDATE`, accountID, eventID); err != nil {
			return err
		}
		found, err := deliveries(tx.ctx, tx.tx, accountID, false, selectDelivery, accountID, eventID)
		switch {
		case err != nil:
			return err
		case len(found) == 0:
			return store.ErrNotFound
		case found[0].State == store.Pending:
			return store.ErrConflict
		}
		r, err := tx.registration(accountID)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return store.ErrNoWebhook
		case err != nil:
			return err
		case found[0].Damaged:
			return store.ErrDamaged
		}
		return tx.replay(r, found, now)
	})
}

const insertReplays = `INSERT INTO waiting (seq, account, due_at, shard, replayed_at, webhook_id, attempts)
	SELECT u.seq, $4, $5, $6, u.at, $7, u.attempts FROM unnest($1::bigint[], $2::bigint[], $3::integer[]) AS u (seq, at, attempts)`

// replay makes deliveries of an account that have ended PENDING again. Their history
// stays, but for what it says of their schedule.
func (tx *txn) replay(r *registration, ended []store.Delivery, now time.Time) error {
	seqs, at, attempts := make([]int64, len(ended)), make([]int64, len(ended)), make([]int32, len(ended))
	size := int64(0)
	for i := range ended {
		size += store.PayloadSize(ended[i].Body)
		again := ended[i].Again(r.webhook, now)
		seqs[i], at[i], attempts[i] = ended[i].Seq, micros(again.At), int32(again.Attempts)
		tx.ended(stateCodes[ended[i].State], -1)
	}
	tx.tally(r.no, now).AddPending(int64(len(ended)), size)
	tx.news = append(tx.news, news{account: r.account, webhook: r.webhook, replayed: seqs})
	if !tx.mine(r.account) {
		for _, seq := range seqs {
			tx.noted = append(tx.noted, note{account: r.account, kind: deliveriesReplayed, at: micros(now), seq: seq})
		}
	}
	if _, err := tx.exec(`DELETE FROM outcomes WHERE number = 0 AND seq = ANY($1)`, seqs); err != nil {
		return err
	}
	if _, err := tx.exec(`UPDATE outcomes SET failures = 0, state = 0, ended_at = 0 WHERE seq = ANY($1)`, seqs); err != nil {
		return err
	}
	_, err := tx.exec(insertReplays, seqs, at, attempts, r.no, micros(now), r.shard, r.webhook.ID)
	return err
}
