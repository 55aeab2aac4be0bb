package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/recapito/recapito/store"
)

// Accept implements [store.Intake].
func (s *Store) Accept(ctx context.Context, events []store.Event, now time.Time) ([]store.Verdict, error) {
	return write(ctx, s.w, func(tx *txn) ([]store.Verdict, error) {
		verdicts := make([]store.Verdict, len(events))
		batch := make([]store.Acceptance, 0, len(events))
		for i := range events {
			verdict, acceptance, err := tx.accept(&events[i], now)
			if err != nil {
				return nil, err
			}
			if verdicts[i] = verdict; verdict == store.Accepted {
				batch = append(batch, acceptance)
			}
		}
		if len(batch) > 0 {
			tx.events += len(batch)
			tx.tell = append(tx.tell, func(l store.Listener) { l.Accepted(batch) })
		}
		return verdicts, nil
	})
}

func (tx *txn) accept(e *store.Event, now time.Time) (v store.Verdict, a store.Acceptance, err error) {
	a.Webhook, err = tx.webhook(e.AccountID)
	if errors.Is(err, store.ErrNotFound) {
		v, err = tx.whyNoWebhook(e.AccountID)
		return v, a, err
	}
	if err != nil {
		return 0, a, err
	}
	sequence, behind, err := tx.earlier(e)
	if err != nil {
		return 0, a, err
	}
	seq, at := tx.totals.lastSeq+1, micros(now)
	n, err := tx.changes(`INSERT INTO deliveries
		(seq, account_id, event_id, message_id, channel, part, sequence, payload, accepted_at, state, attempts, failures, due_at, finished_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING`,
		seq, e.AccountID, e.ID, e.MessageID, e.Channel, e.Part, sequence, e.Payload, at)
	if err != nil {
		return 0, a, err
	}
	if n == 0 {
		return store.Duplicate, a, nil
	}
	tx.totals.lastSeq = seq
	tx.totals.count[pending]++
	a.Delivery = store.Delivery{
		Seq: seq, AccountID: e.AccountID, EventID: e.ID, MessageID: e.MessageID,
		Body: store.Body(e.Payload, sequence), AcceptedAt: instant(at), State: store.Pending, Behind: behind,
	}
	return store.Accepted, a, nil
}

func (tx *txn) whyNoWebhook(accountID string) (store.Verdict, error) {
	switch err := tx.mustHaveAccount(accountID); {
	case err == nil:
		return store.NoWebhook, nil
	case errors.Is(err, store.ErrNotFound):
		return store.UnknownAccount, nil
	default:
		return 0, err
	}
}

// earlier looks at the message's earlier events: it returns the next sequence,
// and whether one of them is PENDING.
func (tx *txn) earlier(e *store.Event) (sequence int64, behind bool, err error) {
	rows, err := tx.query(`SELECT channel, part, sequence, state FROM deliveries WHERE account_id = ? AND message_id = ?`, e.AccountID, e.MessageID)
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	sequence = 1
	var channel string
	var part, state int
	var last int64
	for rows.Next() {
		if err := rows.Scan(&channel, &part, &last, &state); err != nil {
			return 0, false, err
		}
		behind = behind || state == pending
		if channel == e.Channel && part == e.Part {
			sequence = max(sequence, last+1)
		}
	}
	return sequence, behind, rows.Err()
}
