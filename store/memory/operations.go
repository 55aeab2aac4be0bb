package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// tell accepts an operational event, if the platform has a webhook and the notice is
// not of that.
func (s *Store) tell(n store.Notice, now time.Time) {
	w, e := s.webhook(store.Operations), n.Event()
	if w == nil || n.AccountID == store.Operations || s.byEvent[[2]string{e.AccountID, e.ID}] != nil {
		return
	}
	d := s.accept(&e, now)
	if s.listener != nil {
		s.listener.Accepted([]store.Acceptance{{Delivery: d, Webhook: w}})
	}
}

// gaveUp adds deliveries of an account to those that the platform is to be told of.
func (s *Store) gaveUp(account string, deliveries int, now time.Time) {
	if s.webhook(store.Operations) == nil || deliveries == 0 || account == store.Operations {
		return
	}
	n, ok := s.notices[account]
	if !ok {
		n = store.Notice{Kind: store.DeliveryGivenUp, AccountID: account, At: now}
		if w := s.webhook(account); w != nil {
			n.WebhookID = w.ID
		}
	}
	n.Deliveries += deliveries
	s.notices[account] = n
}

// failure is of an endpoint that fails.
type failure struct {
	store.Notice
	told bool
}

// fails notes that an endpoint began to fail, and has the platform told that it ended,
// if it was told of the failure.
func (s *Store) fails(c *store.HealthChange) {
	switch f, known := s.failing[c.AccountID]; {
	case c.To.Fails() && !c.From.Fails():
		if s.webhook(store.Operations) != nil && c.AccountID != store.Operations {
			s.failing[c.AccountID] = failure{Notice: store.NoticeOfFailure(c)}
		}
	case known && !c.To.Fails():
		delete(s.failing, c.AccountID)
		if f.told {
			s.tell(f.Recovered(c.At), c.At)
		}
	}
}

// Notify implements [store.Upkeep].
func (s *Store) Notify(_ context.Context, now time.Time, limit int) (int, error) {
	if err := s.lock(); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	var sums, failures []store.Notice
	for _, n := range s.notices {
		sums = append(sums, n)
	}
	for _, f := range s.failing {
		if !f.told {
			failures = append(failures, f.Notice)
		}
	}
	all := append(dueOf(sums, now), dueOf(failures, now)...)
	all = all[:min(len(all), limit)]
	for _, n := range all {
		if n.Kind == store.EndpointFailing {
			s.failing[n.AccountID] = failure{n, true}
		} else {
			delete(s.notices, n.AccountID)
		}
		s.tell(n, now)
	}
	return len(all), nil
}

// dueOf are those that are, in order.
func dueOf(all []store.Notice, now time.Time) []store.Notice {
	all = slices.DeleteFunc(all, func(n store.Notice) bool { return n.At.Add(store.NoticeDelay).After(now) })
	slices.SortFunc(all, func(a, b store.Notice) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.AccountID, b.AccountID))
	})
	return all
}
