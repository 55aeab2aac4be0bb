package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/recapito/recapito/store"
)

// Accept implements [store.Intake]. Events that several callers hand in at the
// same time are stored together: a single event takes three times as long. Many are
// stored in parts, so that other accounts' have their turn between them.
func (s *Store) Accept(ctx context.Context, events []store.Event, now time.Time) ([]store.Verdict, error) {
	verdicts := make([]store.Verdict, len(events))
	for from := 0; from < len(events); from += partRows {
		to := min(from+partRows, len(events))
		part, own := events[from:to], verdicts[from:to]
		err := s.w.submit(&operation{ctx: ctx, rows: len(part), handIn: true, account: accountOf(part), run: func(tx *txn) error {
			tx.intake.add(part, own, micros(now))
			return nil
		}})
		if err != nil {
			return nil, err
		}
	}
	return verdicts, nil
}

// intake is what the callers of Accept have handed in. It is stored before
// anything else in the transaction.
type intake []candidate

// candidate is an event that will be stored if its account has a webhook and it
// is not a duplicate.
type candidate struct {
	*store.Event
	verdict  *store.Verdict // the caller's
	at       int64          // when it was handed in
	webhook  *store.Webhook
	sequence int64
	behind   store.Behind
}

func (in *intake) add(events []store.Event, verdicts []store.Verdict, at int64) {
	for i := range events {
		*in = append(*in, candidate{Event: &events[i], verdict: &verdicts[i], at: at})
	}
}

// takeIn stores what has been handed in.
func (tx *txn) takeIn() error {
	all := tx.intake
	tx.intake = nil
	todo := all[:0] // in place
	for _, c := range all {
		var err error
		switch c.webhook, err = tx.webhook(c.AccountID); {
		case err == nil:
			todo = append(todo, c)
		case errors.Is(err, errUnreadable):
			*c.verdict = store.Unreadable
			tx.w.tellUnreadable(c.AccountID, err)
		case !errors.Is(err, store.ErrNotFound):
			return err
		default:
			if *c.verdict, err = tx.whyNoWebhook(c.AccountID); err != nil {
				return err
			}
			if *c.verdict == store.NoWebhook {
				tx.tally(c.AccountID, instant(c.at)).AddSkipped()
			}
		}
	}
	todo, tight, err := tx.divideByRoom(todo)
	if err != nil {
		return err
	}
	batch := make([]store.Acceptance, 0, len(todo))
	err = bulk(len(todo), func(from, to int) (err error) {
		batch, err = tx.chunk(batch, todo[from:to])
		return err
	})
	for i := 0; i < len(tight) && err == nil; i++ {
		batch, err = tx.ifRoom(batch, tight[i:i+1])
	}
	if len(batch) > 0 {
		tx.events += len(batch)
		tx.news = append(tx.news, news{accepted: batch})
	}
	return err
}

// chunk stores many events with one statement and adds them to a batch.
// Duplicates are rare: if there is one, the chunk is undone and stored event by
// event.
func (tx *txn) chunk(batch []store.Acceptance, todo []candidate) ([]store.Acceptance, error) {
	if err := tx.earlier(todo); err != nil {
		return batch, err
	}
	first := tx.totals.lastSeq + 1
	n, err := tx.insert(todo, first)
	switch {
	case err != nil:
		return batch, err
	case n == len(todo):
		return tx.accepted(batch, todo, first), nil
	case len(todo) == 1:
		*todo[0].verdict, err = tx.whyKnown(todo[0].Event)
		return batch, err
	}
	if err := tx.exec(`DELETE FROM deliveries WHERE seq >= ?`, first); err != nil {
		return batch, err
	}
	for i := range todo {
		if batch, err = tx.chunk(batch, todo[i:i+1]); err != nil {
			return batch, err
		}
	}
	return batch, nil
}

// accepted notes what has been stored, the first with the given Seq.
func (tx *txn) accepted(batch []store.Acceptance, stored []candidate, first int64) []store.Acceptance {
	for i := range stored {
		c := &stored[i]
		tx.added = append(tx.added, added{account: c.AccountID, accepted: c.at, size: int32(len(c.Payload))})
		tx.tally(c.AccountID, instant(c.at)).AddPending(1, int64(len(c.Payload)))
		*c.verdict = store.Accepted
		batch = append(batch, store.Acceptance{Webhook: c.webhook, Delivery: store.Delivery{
			Seq: first + int64(i), AccountID: c.AccountID, EventID: c.ID, MessageID: c.MessageID,
			Body: store.Body(c.Payload, c.sequence), AcceptedAt: instant(c.at), Traceparent: c.Traceparent, State: store.Pending, Behind: c.behind,
		}})
	}
	tx.totals.lastSeq += int64(len(stored))
	tx.totals.count[pending] += int64(len(stored))
	return batch
}

// whyKnown compares an event with the one that has its ID; [store.ErrNotFound]: none has.
func (tx *txn) whyKnown(e *store.Event) (store.Verdict, error) {
	var kept []byte
	err := tx.row(`SELECT payload FROM deliveries WHERE event_id = ? AND account_id = ?`, []any{e.ID, e.AccountID}, &kept)
	if err == nil && !store.SameContent(kept, e.Payload) {
		return store.Reused, nil
	}
	return store.Duplicate, err
}

func (tx *txn) insert(todo []candidate, first int64) (int, error) {
	const row = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	args := make([]any, 0, 11*len(todo))
	for i := range todo {
		c := &todo[i]
		args = append(args, first+int64(i), c.AccountID, c.ID, c.MessageID, c.Channel, int64(c.Part), c.sequence, c.Payload, c.at, deliverySum(c.AccountID, c.ID, c.MessageID, c.sequence, c.Payload), c.Traceparent)
	}
	return tx.changes(text(insertDeliveries, row, len(todo)), args...)
}

const insertDeliveries = `INSERT INTO deliveries
	(seq, account_id, event_id, message_id, channel, part, sequence, payload, accepted_at, checksum, traceparent)
	VALUES %s ON CONFLICT (event_id, account_id) DO NOTHING`

// knownMessages finds the events whose message has others. A new message needs
// no other query.
const knownMessages = `SELECT column1 FROM (VALUES %s)
	WHERE EXISTS (SELECT 1 FROM deliveries INDEXED BY deliveries_message WHERE message_id = column2 AND account_id = column3)`

// earlierEvents finds, for events of such messages, the last sequence of the
// event's channel and part and whether they are behind others.
var earlierEvents = `SELECT column1,
	coalesce((SELECT max(sequence) FROM deliveries INDEXED BY deliveries_message WHERE message_id = column2 AND account_id = column3 AND channel = column4 AND part = column5), 0),
	` + behind(`e.message_id = column2 AND e.account_id = column3 AND coalesce(p.replayed_at, 0) = 0`) + `
	FROM (VALUES %s)`

// pendingEarlier asks whether an event of the message before a seq is PENDING, in its
// first run or again.
var pendingEarlier = `SELECT EXISTS (SELECT 1 FROM deliveries e INDEXED BY deliveries_message LEFT JOIN waiting p ON p.seq = e.seq
	WHERE e.message_id = ? AND e.account_id = ? AND e.seq < ? AND ` + isPending(`e.seq`) + ` AND (coalesce(p.replayed_at, 0) > 0) = ?)`

// behind is what [store.Behind] says of those of these deliveries e that are
// PENDING, its members in a row with spaces between them; NULL: there are none.
// Its parameter is the present time.
func behind(these string) string {
	failed := `iif(p.due_at > 0, ` + firstFailure(`e.seq`) + `, NULL)`
	return `(SELECT max(coalesce(p.due_at, 0) = 0) || ' ' || count(nullif(p.due_at, 0)) || ' ' || coalesce(min(nullif(p.due_at, 0)), 0) || ' ' ||
			coalesce(iif(min(` + failed + `) = 0, 0, coalesce(max(` + failed + `) FILTER (WHERE ` + failed + ` <= ?), max(` + failed + `))), 0)
		FROM deliveries e INDEXED BY deliveries_message LEFT JOIN waiting p ON p.seq = e.seq WHERE ` + these + ` AND ` + isPending(`e.seq`) + `)`
}

// firstFailure is [store.Delivery.FailedAt].
func firstFailure(seq string) string {
	return `coalesce((SELECT at + duration FROM outcomes WHERE seq = ` + seq + ` AND failures > 0 ORDER BY number LIMIT 1), 0)`
}

// scanBehind reads what behind says.
func scanBehind(text sql.NullString) (b store.Behind, err error) {
	if !text.Valid {
		return b, nil
	}
	var members [4]int64
	rest := text.String
	for i := range members {
		var word string
		word, rest, _ = strings.Cut(rest, " ")
		if members[i], err = strconv.ParseInt(word, 10, 64); err != nil {
			return b, err
		}
	}
	b.Fresh, b.PutOff = members[0] == 1, int(members[1])
	b.DueAt, b.FailedAt = instant(members[2]), instant(members[3])
	return b, nil
}

// isPending is the condition that the delivery is PENDING.
func isPending(seq string) string {
	return `NOT EXISTS (SELECT 1 FROM outcomes o NOT INDEXED WHERE o.seq = ` + seq + ` AND o.ended_at > 0)`
}

// earlier completes candidates with what the store has of their messages, and
// with the candidates before them.
func (tx *txn) earlier(todo []candidate) error {
	args := make([]any, 0, 3*len(todo))
	for i := range todo {
		todo[i].sequence, todo[i].behind = 1, store.Behind{}
		args = append(args, int64(i), todo[i].MessageID, todo[i].AccountID)
	}
	rows, err := tx.query(text(knownMessages, `(?, ?, ?)`, len(todo)), args...)
	if err != nil {
		return err
	}
	known, err := collect(rows, scanSeq)
	if err != nil {
		return err
	}
	err = bulk(len(known), func(from, to int) error { return tx.follows(todo, known[from:to]) })
	follow(todo)
	return err
}

// follows completes those candidates whose message has others.
func (tx *txn) follows(todo []candidate, known []int64) (err error) {
	args := append(make([]any, 0, 1+5*len(known)), micros(time.Now()))
	for _, i := range known {
		args = append(args, i, todo[i].MessageID, todo[i].AccountID, todo[i].Channel, int64(todo[i].Part))
	}
	rows, err := tx.query(text(earlierEvents, `(?, ?, ?, ?, ?)`, len(known)), args...)
	if err != nil {
		return err
	}
	_, err = collect(rows, func(r *sql.Rows) (struct{}, error) {
		var i int
		var last int64
		var ahead sql.NullString
		if err := r.Scan(&i, &last, &ahead); err != nil {
			return struct{}{}, err
		}
		todo[i].sequence = last + 1
		todo[i].behind, err = scanBehind(ahead)
		return struct{}{}, err
	})
	return err
}

// message identifies a message, and counter what sequence counts.
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
		if seen[m] {
			c.behind.Fresh = true
		}
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
