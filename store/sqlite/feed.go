package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"slices"

	"github.com/recapito/recapito/store"
)

// feedPlaces are the account's deliveries in the table after a seq; feedEvents is
// what is told of some deliveries.
const (
	feedPlaces = `SELECT seq FROM listed INDEXED BY listed_seq WHERE account_id = ? AND seq > ? ORDER BY seq LIMIT ?`
	feedEvents = `SELECT d.seq, d.account_id, d.event_id, d.message_id, d.payload, d.sequence, d.checksum, d.accepted_at
		FROM json_each(?) j CROSS JOIN deliveries d ON d.seq = j.value`
)

// Events implements [store.Feed]. A seq is given and committed by the one writer,
// and the tail has it once it is durable.
func (s *Store) Events(ctx context.Context, q store.FeedQuery) (page store.FeedPage, err error) {
	if q.Latest && !s.isClosed() {
		return store.FeedPage{Next: s.w.totals.Load().lastSeq}, nil
	}
	c := search{store: s, ctx: ctx}
	seqs := s.w.tail.after(q.AccountID, q.After, q.Limit)
	err = s.list(&c, func() error {
		rows, err := c.tx.QueryContext(ctx, feedPlaces, q.AccountID, q.After, q.Limit)
		if err != nil {
			return err
		}
		listed, err := collect(rows, scanSeq)
		if err != nil {
			return err
		}
		seqs = append(seqs, listed...)
		slices.Sort(seqs)
		seqs = slices.Compact(seqs)
		if rows, err = c.tx.QueryContext(ctx, feedEvents, list(seqs[:min(q.Limit, len(seqs))])); err != nil {
			return err
		}
		page.Events, err = collect(rows, s.scanEvent)
		slices.SortFunc(page.Events, func(a, b store.FeedEvent) int { return cmp.Compare(a.Seq, b.Seq) })
		return err
	})
	page.Next = q.After
	if n := len(page.Events); n > 0 {
		page.Next = page.Events[n-1].Seq
	}
	return page, err
}

func (s *Store) scanEvent(rows *sql.Rows) (store.FeedEvent, error) {
	var d store.Delivery
	var payload []byte
	var sequence, accepted int64
	var sum sql.NullInt64
	err := rows.Scan(&d.Seq, &d.AccountID, &d.EventID, &d.MessageID, &payload, &sequence, &sum, &accepted)
	if err == nil {
		s.complete(&d, payload, sequence, sum)
	}
	return store.FeedEvent{Seq: d.Seq, EventID: d.EventID, AcceptedAt: instant(accepted), Body: d.Body, Damaged: d.Damaged}, err
}
