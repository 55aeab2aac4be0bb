package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// Deliveries implements [store.History].
func (s *Store) Deliveries(_ context.Context, asked store.DeliveryQuery) (store.DeliveryPage, error) {
	if err := s.lock(); err != nil {
		return store.DeliveryPage{}, err
	}
	defer s.mu.Unlock()
	q := deliveryQuery{asked}
	var found []*row
	for _, r := range s.rows {
		if q.selects(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *row) int { return q.compare(placeOf(a), placeOf(b)) })
	var page store.DeliveryPage
	for _, r := range found[:min(len(found), q.Limit)] {
		page.Deliveries = append(page.Deliveries, s.show(r))
	}
	if len(found) > q.Limit {
		page.Next = placeOf(found[q.Limit-1])
	}
	return page, nil
}

func placeOf(r *row) store.Place { return store.Place{AcceptedAt: r.AcceptedAt, Seq: r.Seq} }

// deliveryQuery is the query of a listing.
type deliveryQuery struct{ store.DeliveryQuery }

// compare orders two places as in the listing.
func (q *deliveryQuery) compare(a, b store.Place) int {
	if !q.OldestFirst {
		a, b = b, a
	}
	return cmp.Or(a.AcceptedAt.Compare(b.AcceptedAt), cmp.Compare(a.Seq, b.Seq))
}

func (q *deliveryQuery) selects(r *row) bool {
	failed := func(a store.Attempt) bool { return a.Error != "" && !a.At.Before(q.FailedSince) }
	return r.AccountID == q.AccountID &&
		(q.After.Seq == 0 || q.compare(placeOf(r), q.After) > 0) &&
		(len(q.States) == 0 || slices.Contains(q.States, r.State)) &&
		(q.MessageID == "" || r.MessageID == q.MessageID) &&
		(q.Channel == "" || r.channel == q.Channel) &&
		bytes.Contains(r.payload, q.Holding) && bytes.Contains(r.payload, q.HoldingToo) &&
		(q.Error == "" || r.last() != nil && r.last().Error == q.Error) &&
		(q.StatusCode == 0 || r.last() != nil && r.last().StatusCode == q.StatusCode) &&
		within(r.AcceptedAt, q.From, q.To) &&
		(q.FinishedFrom.IsZero() && q.FinishedTo.IsZero() || r.State != store.Pending && within(r.FinishedAt, q.FinishedFrom, q.FinishedTo)) &&
		(q.FailedSince.IsZero() || slices.ContainsFunc(r.attempts, failed))
}

// within: at from or later and before to; zero: no bound.
func within(at, from, to time.Time) bool {
	return (from.IsZero() || !at.Before(from)) && (to.IsZero() || at.Before(to))
}

// Attempts implements [store.History].
func (s *Store) Attempts(_ context.Context, q store.AttemptQuery) (page store.AttemptPage, err error) {
	if err := s.lock(); err != nil {
		return page, err
	}
	defer s.mu.Unlock()
	var found []store.AttemptOf
	for _, r := range s.rows {
		for _, a := range r.attempts {
			of := store.AttemptOf{Attempt: a, Seq: r.Seq, EventID: r.EventID, MessageID: r.MessageID}
			after := q.After.Others.Seq == 0 || of.Key().Compare(q.After.Others) < 0
			if r.AccountID == q.AccountID && after && q.Selects(&of) {
				of.Response = bytes.Clone(a.Response)
				found = append(found, of)
			}
		}
	}
	slices.SortFunc(found, func(a, b store.AttemptOf) int { return b.Key().Compare(a.Key()) })
	if len(found) > q.Limit {
		found = found[:q.Limit]
		page.Next.Others = found[q.Limit-1].Key()
	}
	page.Attempts = found
	return page, nil
}

// Delivery implements [store.History].
func (s *Store) Delivery(_ context.Context, accountID, eventID string) (store.Delivery, []store.Attempt, error) {
	if err := s.lock(); err != nil {
		return store.Delivery{}, nil, err
	}
	defer s.mu.Unlock()
	r := s.byEvent[[2]string{accountID, eventID}]
	if r == nil {
		return store.Delivery{}, nil, store.ErrNotFound
	}
	attempts := slices.Clone(r.attempts)
	for i := range attempts {
		attempts[i].Response = bytes.Clone(attempts[i].Response)
	}
	return s.show(r), attempts, nil
}

// show is read with what [store.History] knows beyond it.
func (s *Store) show(r *row) store.Delivery {
	d := s.read(r)
	if last := r.last(); last != nil {
		d.LastError, d.LastDetail, d.LastStatusCode = last.Error, last.Detail, last.StatusCode
	}
	if d.State == store.Pending {
		for _, o := range s.messages[[2]string{r.AccountID, r.MessageID}] {
			if o.Seq < r.Seq && o.State == store.Pending && o.IsReplay() == r.IsReplay() {
				d.Behind.EventID = o.EventID
			}
		}
	}
	return d
}

// last is the last attempt; nil: none was made.
func (r *row) last() (last *store.Attempt) {
	for i := range r.attempts {
		if a := &r.attempts[i]; last == nil || a.Number > last.Number {
			last = a
		}
	}
	return last
}
