package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// complete is up to where nothing can be accepted any more: each node has drawn its last
// block behind the end of its stream, and one that has ended draws none.
const complete = `(SELECT coalesce(min(pos), 9223372036854775807) FROM nodes WHERE alive)`

const feedEvents = `SELECT seq, event_id, accepted_at, payload, sequence FROM deliveries WHERE account = ` + numberOf + ` AND seq > $2 AND seq <= ` + complete + ` ORDER BY seq LIMIT $3`

// Events implements [store.Feed]. What was accepted is shown when no node can accept
// anything before it any more: at once where there is one.
func (s *Store) Events(ctx context.Context, q store.FeedQuery) (page store.FeedPage, err error) {
	if q.Latest {
		err = s.one(ctx, `SELECT coalesce(max(seq), 0) FROM deliveries WHERE seq <= `+complete, nil, &page.Next)
		return page, err
	}
	page.Events, err = all(ctx, s, scanEvent, feedEvents, q.AccountID, q.After, q.Limit)
	page.Next = q.After
	if n := len(page.Events); n > 0 {
		page.Next = page.Events[n-1].Seq
	}
	return page, err
}

func scanEvent(row pgx.CollectableRow) (e store.FeedEvent, err error) {
	var accepted int64
	var payload []byte
	var sequence int32
	err = row.Scan(&e.Seq, &e.EventID, &accepted, &payload, &sequence)
	e.AcceptedAt, e.Damaged = instant(accepted), len(payload) == 0
	if !e.Damaged {
		e.Body = store.Body(payload, int64(sequence))
	}
	return e, err
}
