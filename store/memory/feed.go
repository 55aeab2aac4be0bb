package memory

import (
	"bytes"
	"context"

	"github.com/recapito/recapito/store"
)

// Events implements [store.Feed].
func (s *Store) Events(_ context.Context, q store.FeedQuery) (page store.FeedPage, err error) {
	if err := s.lock(); err != nil {
		return page, err
	}
	defer s.mu.Unlock()
	if q.Latest {
		return store.FeedPage{Next: s.seq}, nil
	}
	page.Next = q.After
	for _, r := range s.rows {
		if r.AccountID == q.AccountID && r.Seq > q.After && len(page.Events) < q.Limit {
			page.Events = append(page.Events, store.FeedEvent{Seq: r.Seq, EventID: r.EventID, AcceptedAt: r.AcceptedAt, Body: bytes.Clone(r.Body)})
			page.Next = r.Seq
		}
	}
	return page, nil
}
