package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/recapito/recapito/store"
)

// Accept implements [store.Intake].
func (s *Store) Accept(ctx context.Context, events []store.Event, now time.Time) ([]store.Verdict, error) {
	return write(ctx, s.w, len(events), func(tx *txn) ([]store.Verdict, error) {
		in := intake{tx: tx, at: micros(now), verdicts: make([]store.Verdict, len(events)), batch: make([]store.Acceptance, 0, len(events))}
		if err := in.accept(events); err != nil {
			return nil, err
		}
		if len(in.batch) > 0 {
			tx.events += len(in.batch)
			tx.tell = append(tx.tell, func(l store.Listener) { l.Accepted(in.batch) })
		}
		return in.verdicts, nil
	})
}

// intake is one call of Accept.
type intake struct {
	tx       *txn
	at       int64
	verdicts []store.Verdict
	batch    []store.Acceptance
}

// candidate is an event that will be stored if it is not a duplicate.
type candidate struct {
	*store.Event
	index    int // in the caller's batch
	webhook  *store.Webhook
	sequence int64
	behind   bool
}

func (in *intake) accept(events []store.Event) error {
	todo := make([]candidate, 0, len(events))
	for i := range events {
		w, err := in.tx.webhook(events[i].AccountID)
		switch {
		case err == nil:
			todo = append(todo, candidate{Event: &events[i], index: i, webhook: w})
		case !errors.Is(err, store.ErrNotFound):
			return err
		default:
			if in.verdicts[i], err = in.tx.whyNoWebhook(events[i].AccountID); err != nil {
				return err
			}
		}
	}
	return bulk(len(todo), func(from, to int) error { return in.chunk(todo[from:to]) })
}

// chunk stores many events with one statement. Duplicates are rare: if there
// is one, the chunk is undone and goes event by event.
func (in *intake) chunk(todo []candidate) error {
	if err := in.tx.earlier(todo); err != nil {
		return err
	}
	first := in.tx.totals.lastSeq + 1
	n, err := in.tx.insert(todo, first, in.at)
	switch {
	case err != nil:
		return err
	case n == len(todo):
		in.accepted(todo, first)
		return nil
	case len(todo) == 1:
		in.verdicts[todo[0].index] = store.Duplicate
		return nil
	}
	if err := in.tx.exec(`DELETE FROM deliveries WHERE seq >= ?`, first); err != nil {
		return err
	}
	for i := range todo {
		if err := in.chunk(todo[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// accepted notes what has been stored, the first with the given Seq.
func (in *intake) accepted(stored []candidate, first int64) {
	for i := range stored {
		c := &stored[i]
		in.verdicts[c.index] = store.Accepted
		in.batch = append(in.batch, store.Acceptance{Webhook: c.webhook, Delivery: store.Delivery{
			Seq: first + int64(i), AccountID: c.AccountID, EventID: c.ID, MessageID: c.MessageID,
			Body: store.Body(c.Payload, c.sequence), AcceptedAt: instant(in.at), State: store.Pending, Behind: c.behind,
		}})
	}
	in.tx.totals.lastSeq += int64(len(stored))
	in.tx.totals.count[pending] += int64(len(stored))
}

func (tx *txn) insert(todo []candidate, first, at int64) (int, error) {
	const row = `(?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0)`
	args := make([]any, 0, 9*len(todo))
	for i := range todo {
		c := &todo[i]
		args = append(args, first+int64(i), c.AccountID, c.ID, c.MessageID, c.Channel, int64(c.Part), c.sequence, c.Payload, at)
	}
	return tx.changes(text(insertDeliveries, row, len(todo)), args...)
}

const insertDeliveries = `INSERT INTO deliveries
	(seq, account_id, event_id, message_id, channel, part, sequence, payload, accepted_at, state, attempts, failures, due_at, finished_at)
	VALUES %s ON CONFLICT (event_id, account_id) DO NOTHING`

// earlierEvents finds the last sequence of each event's part and channel, and
// whether an earlier event of its message is PENDING.
const earlierEvents = `SELECT column1,
	coalesce((SELECT max(sequence) FROM deliveries INDEXED BY deliveries_message WHERE message_id = column2 AND account_id = column3 AND channel = column4 AND part = column5), 0),
	EXISTS (SELECT 1 FROM deliveries INDEXED BY deliveries_message WHERE message_id = column2 AND account_id = column3 AND state = 0)
	FROM (VALUES %s)`

// earlier completes candidates with what the store has of their messages, and
// what comes before them among themselves.
func (tx *txn) earlier(todo []candidate) (err error) {
	args := make([]any, 0, 5*len(todo))
	for i := range todo {
		args = append(args, int64(i), todo[i].MessageID, todo[i].AccountID, todo[i].Channel, int64(todo[i].Part))
	}
	rows, err := tx.query(text(earlierEvents, `(?, ?, ?, ?, ?)`, len(todo)), args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var i int
		var last int64
		var behind bool
		if err := rows.Scan(&i, &last, &behind); err != nil {
			return err
		}
		todo[i].sequence, todo[i].behind = last+1, behind
	}
	if err := rows.Err(); err != nil {
		return err
	}
	follow(todo)
	return nil
}

// message names a message and counter what is counted by sequence.
type (
	message struct{ account, id string }
	counter struct {
		message
		channel string
		part    int
	}
)

// follow puts candidates behind those of the same message before them.
func follow(todo []candidate) {
	if len(todo) == 1 {
		return
	}
	last, seen := make(map[counter]int64, len(todo)), make(map[message]bool, len(todo))
	for i := range todo {
		c := &todo[i]
		m := message{c.AccountID, c.MessageID}
		k := counter{m, c.Channel, c.Part}
		if n, ok := last[k]; ok {
			c.sequence = n + 1
		}
		last[k] = c.sequence
		c.behind = c.behind || seen[m]
		seen[m] = true
	}
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
