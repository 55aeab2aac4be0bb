package store

import "time"

// FeedQuery selects events of one account.
type FeedQuery struct {
	AccountID string
	After     int64 // those with a greater Seq; Next of the page before
	Latest    bool  // those that are accepted from now on: none, but Next
	Limit     int
}

// FeedEvent is an event as its delivery sends it.
type FeedEvent struct {
	Seq        int64
	EventID    string
	AcceptedAt time.Time
	Body       []byte
	Damaged    bool // as [Delivery.Damaged]
}

// FeedPage is a part of a feed.
type FeedPage struct {
	Events []FeedEvent // at most the query's Limit; fewer: there are no more yet
	Next   int64       // After of the query for those that follow
}
