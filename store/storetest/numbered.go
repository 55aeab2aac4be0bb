package storetest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/recapito/recapito/store"
)

// numbered is a store whose deliveries have the numbers 1, 2, 3… in order of their
// Seq, which the contract leaves to the store otherwise. It learns of them as the
// listener does.
type numbered struct {
	store.Store
	mu   sync.Mutex
	seqs []int64 // in order
}

// number is the number of a delivery; of a Seq that no delivery has, that of the last
// one before it.
func (s *numbered) number(seq int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, found := slices.BinarySearch(s.seqs, seq)
	if found {
		n++
	}
	return int64(n)
}

// seq reverses number.
func (s *numbered) seq(number int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number < 1 || number > int64(len(s.seqs)) {
		return number
	}
	return s.seqs[number-1]
}

func (s *numbered) delivery(d store.Delivery) store.Delivery {
	d.Seq = s.number(d.Seq)
	return d
}

func (s *numbered) deliveries(ds []store.Delivery) []store.Delivery {
	for i := range ds {
		ds[i].Seq = s.number(ds[i].Seq)
	}
	return ds
}

// webhook numbers the first delivery of a webhook, which may not be there yet.
func (s *numbered) webhook(w store.Webhook) store.Webhook {
	if w.FirstSeq > 0 {
		w.FirstSeq = s.number(w.FirstSeq-1) + 1
	}
	return w
}

// numberedListener tells a listener the numbers.
type numberedListener struct {
	store.Listener
	s *numbered
}

func (l *numberedListener) Accepted(batch []store.Acceptance) {
	told := slices.Clone(batch)
	l.s.mu.Lock()
	for i := range batch {
		l.s.seqs = append(l.s.seqs, batch[i].Delivery.Seq)
	}
	l.s.mu.Unlock()
	for i := range told {
		w := l.s.webhook(*told[i].Webhook)
		told[i].Webhook, told[i].Delivery = &w, l.s.delivery(told[i].Delivery)
	}
	l.Listener.Accepted(told)
}

func (l *numberedListener) Replayed(w *store.Webhook, seqs []int64) {
	numbers, own := make([]int64, len(seqs)), l.s.webhook(*w)
	for i, seq := range seqs {
		numbers[i] = l.s.number(seq)
	}
	l.Listener.Replayed(&own, numbers)
}

func (s *numbered) Listen(l store.Listener) { s.Store.Listen(&numberedListener{l, s}) }

func (s *numbered) CreateWebhook(ctx context.Context, w store.Webhook) (store.Webhook, error) {
	w, err := s.Store.CreateWebhook(ctx, w)
	return s.webhook(w), err
}

func (s *numbered) Webhook(ctx context.Context, accountID string) (store.Webhook, error) {
	w, err := s.Store.Webhook(ctx, accountID)
	return s.webhook(w), err
}

func (s *numbered) ReplaceCallbackURL(ctx context.Context, accountID, callbackURL string, now time.Time) (store.Webhook, error) {
	w, err := s.Store.ReplaceCallbackURL(ctx, accountID, callbackURL, now)
	return s.webhook(w), err
}

func (s *numbered) RotateSecret(ctx context.Context, accountID string, secret []byte, until, now time.Time) (store.Webhook, error) {
	w, err := s.Store.RotateSecret(ctx, accountID, secret, until, now)
	return s.webhook(w), err
}

func (s *numbered) Deliveries(ctx context.Context, q store.DeliveryQuery) (store.DeliveryPage, error) {
	q.After.Seq = s.seq(q.After.Seq)
	page, err := s.Store.Deliveries(ctx, q)
	page.Deliveries, page.Next.Seq = s.deliveries(page.Deliveries), s.number(page.Next.Seq)
	return page, err
}

func (s *numbered) Delivery(ctx context.Context, accountID, eventID string) (store.Delivery, []store.Attempt, error) {
	d, attempts, err := s.Store.Delivery(ctx, accountID, eventID)
	return s.delivery(d), attempts, err
}

func (s *numbered) Attempts(ctx context.Context, q store.AttemptQuery) (store.AttemptPage, error) {
	q.After.AtFirst.Seq, q.After.Others.Seq = s.seq(q.After.AtFirst.Seq), s.seq(q.After.Others.Seq)
	page, err := s.Store.Attempts(ctx, q)
	for i := range page.Attempts {
		page.Attempts[i].Seq = s.number(page.Attempts[i].Seq)
	}
	page.Next.AtFirst.Seq, page.Next.Others.Seq = s.number(page.Next.AtFirst.Seq), s.number(page.Next.Others.Seq)
	return page, err
}

func (s *numbered) Events(ctx context.Context, q store.FeedQuery) (store.FeedPage, error) {
	q.After = s.seq(q.After)
	page, err := s.Store.Events(ctx, q)
	for i := range page.Events {
		page.Events[i].Seq = s.number(page.Events[i].Seq)
	}
	page.Next = s.number(page.Next)
	return page, err
}

func (s *numbered) backlog(b store.Backlog, err error) (store.Backlog, error) {
	b.Due, b.Fresh, b.Replays = s.deliveries(b.Due), s.deliveries(b.Fresh), s.deliveries(b.Replays)
	if b.Webhook != nil {
		w := s.webhook(*b.Webhook)
		b.Webhook = &w
	}
	return b, err
}

func (s *numbered) Backlog(ctx context.Context, q store.BacklogQuery) (store.Backlog, error) {
	q.After, q.Known = s.seq(q.After), slices.Clone(q.Known)
	for i := range q.Known {
		q.Known[i] = s.seq(q.Known[i])
	}
	return s.backlog(s.Store.Backlog(ctx, q))
}

func (s *numbered) Oldest(ctx context.Context, accountID string) (store.Backlog, error) {
	return s.backlog(s.Store.Oldest(ctx, accountID))
}

func (s *numbered) Record(ctx context.Context, outcomes []store.Outcome, now time.Time) error {
	own := slices.Clone(outcomes)
	for i := range own {
		d := *own[i].Delivery
		d.Seq = s.seq(d.Seq)
		own[i].Delivery = &d
	}
	return s.Store.Record(ctx, own, now)
}

func (s *numbered) Vitals(ctx context.Context, accountID string, now time.Time) (store.Vitals, error) {
	v, err := s.Store.Vitals(ctx, accountID, now)
	v.Success.Seq, v.Failure.Seq = s.number(v.Success.Seq), s.number(v.Failure.Seq)
	return v, err
}
