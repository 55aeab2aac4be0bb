package server

import (
	"context"
	"encoding/json"
	"time"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

// feedLimit is what the document states for the feed's parameter limit, and
// latest its word for the end of the feed.
const (
	feedLimit = 100
	latest    = "latest"
)

func (s *server) ReadEvents(ctx context.Context, r gen.ReadEventsRequestObject) (gen.ReadEventsResponseObject, error) {
	q := store.FeedQuery{AccountID: accountOf(ctx), Limit: feedLimit}
	if p := r.Params.Limit; p != nil {
		q.Limit = int(*p)
	}
	switch after := value(r.Params.After); after {
	case "":
	case latest:
		q.Latest = true
	default:
		if err := s.cursors.read(after, feedCursor, q.AccountID, &q.After); err != nil {
			return nil, errBadAfter
		}
	}
	page, err := s.feedPage(ctx, &q)
	if wait := value(r.Params.Wait); err == nil && len(page.Events) == 0 && wait > 0 {
		page, err = s.awaitEvents(ctx, &q, time.Duration(wait)*time.Second)
	}
	if err != nil {
		return nil, err
	}
	out := gen.ReadEvents200JSONResponse{Events: make([]gen.FeedEvent, 0, len(page.Events)), NextCursor: *s.cursors.write(feedCursor, q.AccountID, page.Next)}
	for _, e := range page.Events {
		shown := gen.FeedEvent{EventID: e.EventID, AcceptedAt: showTime(e.AcceptedAt)}
		if !e.Damaged {
			shown.Payload = new(json.RawMessage(e.Body))
		}
		out.Events = append(out.Events, shown)
	}
	return out, nil
}

// feedPage reads a page, in the account's turn, and moves the query to the next.
func (s *server) feedPage(ctx context.Context, q *store.FeedQuery) (store.FeedPage, error) {
	done, err := s.listings.take(ctx, q.AccountID)
	if err != nil {
		return store.FeedPage{}, err
	}
	defer done()
	page, err := s.Store.Events(ctx, *q)
	q.After, q.Latest = page.Next, false
	return page, err
}

// awaitEvents returns when there are events, and without any when the time is
// over or the service stops. It looks once more after it has joined: what is
// accepted from then on wakes it.
func (s *server) awaitEvents(ctx context.Context, q *store.FeedQuery, wait time.Duration) (store.FeedPage, error) {
	own, err := s.waiting.join(q.AccountID)
	if err != nil {
		return store.FeedPage{}, err
	}
	defer own.leave()
	end := time.NewTimer(wait)
	defer end.Stop()
	var others <-chan time.Time
	if s.FeedGap > 0 {
		look := time.NewTicker(s.FeedGap)
		defer look.Stop()
		others = look.C
	}
	for {
		woken := own.next()
		page, err := s.feedPage(ctx, q)
		if err != nil || len(page.Events) > 0 {
			return page, err
		}
		select {
		case <-woken:
		case <-others:
		case <-end.C:
			return page, nil
		case <-s.Stop:
			return page, nil
		case <-ctx.Done():
			return page, nil // the caller has left, which is no failure
		}
	}
}
