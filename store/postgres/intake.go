package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// Accept implements [store.Intake]. Events that several callers hand in at the same
// time are stored together.
func (s *Store) Accept(ctx context.Context, events []store.Event, now time.Time) ([]store.Verdict, error) {
	in := &intake{events: events, at: micros(now), verdicts: make([]store.Verdict, len(events))}
	if err := s.w.submit(&operation{ctx: ctx, rows: len(events), intake: in}); err != nil {
		return nil, err
	}
	return in.verdicts, nil
}

// intake is what one caller has handed in.
type intake struct {
	events   []store.Event
	at       int64 // when it was handed in
	accounts map[string]*registration
	found    []store.Verdict // so far
	verdicts []store.Verdict // the caller's, once it is committed
}

// candidate is an event that will be stored if its account has no other with its ID.
type candidate struct {
	*store.Event
	*registration
	verdict  *store.Verdict
	at       int64
	rank     int32 // among those of this commit that its sequence counts with, from 1
	seq      int64
	sequence int32
	behind   store.Behind
}

// candidates are the events of accounts that have a webhook, in order.
func (tx *txn) candidates(ops []*operation) (all []candidate, err error) {
	accounts, err := tx.registrations(ops)
	if err != nil {
		return nil, err
	}
	for _, op := range ops {
		in := op.intake
		if in == nil || op.err != nil {
			continue
		}
		in.accounts, in.found = accounts, make([]store.Verdict, len(in.events))
		for i := range in.events {
			switch r := accounts[in.events[i].AccountID]; {
			case r == nil, r.no == operationsNo && r.webhook == nil && r.damage == nil:
				in.found[i] = store.UnknownAccount
			case r.damage != nil:
				in.found[i] = store.Unreadable
				tx.w.tellUnreadable(in.events[i].AccountID, r.damage)
			case r.webhook == nil:
				in.found[i] = store.NoWebhook
			default:
				all = append(all, candidate{Event: &in.events[i], registration: r, verdict: &in.found[i], at: in.at})
			}
		}
	}
	return all, nil
}

// registrations are the accounts of the events, from the cache as far as it has them.
func (tx *txn) registrations(ops []*operation) (map[string]*registration, error) {
	accounts := map[string]*registration{}
	var missing []string
	cache := tx.w.store.cache
	for _, op := range ops {
		if op.intake == nil || op.err != nil {
			continue
		}
		for i := range op.intake.events {
			id := op.intake.events[i].AccountID
			if _, known := accounts[id]; known {
				continue
			}
			if accounts[id], _ = tx.w.store.cached(id); accounts[id] == nil {
				missing = append(missing, id)
			}
		}
	}
	if len(missing) == 0 {
		return accounts, nil
	}
	changes := cache.version()
	found, err := tx.w.store.readRegistrations(tx.ctx, tx.w.conn, missing)
	for _, r := range found {
		accounts[r.account] = r
		cache.keep(r, changes)
	}
	return accounts, err
}

type eventKey struct {
	account int64
	id      string
}

// distinct leaves out the events that are known from this commit and, if it is to
// look, from earlier ones; and of the others those for which there is no room.
func (tx *txn) distinct(all []candidate, look bool, room *room) (todo []*candidate, err error) {
	known := map[eventKey][]byte{} // payloads
	if look {
		if known, err = tx.known(all); err != nil {
			return nil, err
		}
	}
	for i := range all {
		c := &all[i]
		key := eventKey{c.no, c.ID}
		kept, is := known[key]
		switch {
		case !is && !room.take(c):
			*c.verdict = store.OverQuota
		case !is:
			known[key] = c.Payload
			*c.verdict = store.Accepted
			todo = append(todo, c)
		case store.SameContent(kept, c.Payload):
			*c.verdict = store.Duplicate
		default:
			*c.verdict = store.Reused
		}
	}
	rank(todo)
	return todo, nil
}

const knownEvents = `SELECT d.account, d.event_id, d.payload FROM unnest($1::bigint[], $2::text[]) AS e (account, id)
	CROSS JOIN LATERAL (SELECT x.account, x.event_id, x.payload FROM deliveries x WHERE x.event_id = e.id AND x.account = e.account LIMIT 1) d`

func (tx *txn) known(all []candidate) (map[eventKey][]byte, error) {
	accounts, ids := make([]int64, len(all)), make([]string, len(all))
	for i := range all {
		accounts[i], ids[i] = all[i].no, all[i].ID
	}
	rows, err := tx.w.conn.Query(tx.ctx, knownEvents, accounts, ids)
	if err != nil {
		return nil, err
	}
	known := map[eventKey][]byte{}
	var key eventKey
	var payload []byte
	_, err = pgx.ForEachRow(rows, []any{&key.account, &key.id, &payload}, func() error {
		known[key] = payload
		payload = nil
		return nil
	})
	return known, err
}

// message identifies a message, and counter what sequence counts.
type (
	message struct {
		account int64
		id      string
	}
	counter struct {
		message
		channel string
		part    int
	}
)

// rank counts the events of each counter, and puts events behind those of the same
// message before them.
func rank(todo []*candidate) {
	last, seen := make(map[counter]int32, len(todo)), make(map[message]bool, len(todo))
	for _, c := range todo {
		m := message{c.no, c.MessageID}
		k := counter{m, c.Channel, c.Part}
		last[k]++
		c.rank, c.behind = last[k], store.Behind{Fresh: seen[m]}
		seen[m] = true
	}
}

// insertDeliveries returns, beside what it has given, what each is behind in earlier
// commits: a statement does not see what it inserts. Last, whether another node has
// accepted one of the message of which the listener may not know.
var insertDeliveries = `WITH b AS MATERIALIZED (SELECT nextval('blocks') * 65536 AS base)
	INSERT INTO deliveries (seq, accepted_at, account, sequence, part, src, shard, channel, event_id, message_id, payload, traceparent)
	SELECT b.base + e.ord - 1, e.at, e.account, e.rank + coalesce((SELECT max(d.sequence) FROM deliveries d
		WHERE d.message_id = e.message AND d.account = e.account AND d.channel = e.channel AND d.part = e.part), 0), e.part, $10::smallint, e.shard, e.channel, e.id, e.message, e.payload, nullif(e.trace, '')
	FROM b, unnest($1::bigint[], $2::bigint[], $3::integer[], $4::integer[], $5::smallint[], $6::text[], $7::text[], $8::text[], $9::bytea[], $13::text[])
		WITH ORDINALITY AS e (at, account, rank, part, shard, channel, id, message, payload, trace, ord)
	RETURNING seq, sequence, ` + behind(`p.message_id = deliveries.message_id AND p.account = deliveries.account`, `false`, `$11`) + `,
		(SELECT p.seq FROM deliveries p WHERE p.message_id = deliveries.message_id AND p.account = deliveries.account AND p.seq > $12 AND p.src <> $10 LIMIT 1) IS NOT NULL`

// insert adds the insertion to a batch.
func (tx *txn) insert(batch *pgx.Batch, todo []*candidate) {
	n := len(todo)
	at, account, rank, part, shard := make([]int64, n), make([]int64, n), make([]int32, n), make([]int32, n), make([]int16, n)
	channel, id, message, payload, trace := make([]string, n), make([]string, n), make([]string, n), make([][]byte, n), make([]string, n)
	for i, c := range todo {
		at[i], account[i], rank[i], part[i], shard[i] = c.at, c.no, c.rank, int32(c.Part), c.shard
		channel[i], id[i], message[i], payload[i], trace[i] = c.Channel, c.ID, c.MessageID, c.Payload, c.Traceparent
	}
	batch.Queue(insertDeliveries, at, account, rank, part, shard, channel, id, message, payload, tx.w.mySlot(), micros(time.Now()), tx.low, trace).Query(func(rows pgx.Rows) error {
		var seq int64
		var sequence int32
		var ahead []int64
		var overtakes bool
		place := 0
		_, err := pgx.ForEachRow(rows, []any{&seq, &sequence, &ahead, &overtakes}, func() error {
			if place == n || place > 0 && seq != todo[0].seq+int64(place) {
				return errors.New("the server returns other rows than were inserted")
			}
			c := todo[place]
			fresh := c.behind.Fresh
			c.seq, c.sequence, c.behind = seq, sequence, scanBehind(ahead)
			c.behind.Fresh = c.behind.Fresh || fresh
			tx.overtakes = tx.overtakes || overtakes
			place++
			return nil
		})
		return err
	})
}

// accepted notes what has been stored.
func (tx *txn) accepted(todo []*candidate) {
	if len(todo) == 0 {
		return
	}
	batch, shards := make([]store.Acceptance, len(todo)), make([]int16, len(todo))
	for i, c := range todo {
		shards[i] = c.shard
		batch[i] = store.Acceptance{Webhook: c.webhook, Delivery: store.Delivery{
			Seq: c.seq, AccountID: c.AccountID, EventID: c.ID, MessageID: c.MessageID, Body: store.Body(c.Payload, int64(c.sequence)),
			AcceptedAt: instant(c.at), Traceparent: c.Traceparent, State: store.Pending, Behind: c.behind,
		}}
	}
	tx.events += len(todo)
	tx.took = true
	tx.news = append(tx.news, news{accepted: batch, shards: shards})
}
