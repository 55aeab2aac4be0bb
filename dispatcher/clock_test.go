package dispatcher_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/store"
)

// rewoundStore is a store that a process whose clock was set back looks at: what
// was put off before that is due so much later.
type rewoundStore struct {
	dispatcher.Store
	back time.Duration
}

func (s *rewoundStore) Backlog(ctx context.Context, q store.BacklogQuery) (store.Backlog, error) {
	q.Now = q.Now.Add(-s.back)
	page, err := s.Store.Backlog(ctx, q)
	if !page.NextDue.IsZero() {
		page.NextDue = page.NextDue.Add(s.back)
	}
	for _, part := range [][]store.Delivery{page.Due, page.Fresh} {
		for i := range part {
			d := &part[i]
			for _, at := range []*time.Time{&d.AcceptedAt, &d.FailedAt, &d.Behind.DueAt, &d.Behind.FailedAt} {
				if !at.IsZero() {
					*at = at.Add(s.back)
				}
			}
		}
	}
	return page, err
}

func (s *rewoundStore) Record(ctx context.Context, outcomes []store.Outcome, now time.Time) error {
	outcomes = slices.Clone(outcomes)
	for i := range outcomes {
		if o := &outcomes[i]; !o.DueAt.IsZero() {
			o.DueAt = o.DueAt.Add(-s.back)
		}
	}
	return s.Store.Record(ctx, outcomes, now.Add(-s.back))
}

func (s *rewoundStore) LastAccepted(ctx context.Context) (time.Time, error) {
	at, err := s.Store.LastAccepted(ctx)
	if !at.IsZero() {
		at = at.Add(s.back)
	}
	return at, err
}

func (s *rewoundStore) MakeDue(ctx context.Context, accountID string, now time.Time, limit int) (int, error) {
	return s.Store.MakeDue(ctx, accountID, now.Add(-s.back), limit)
}

func newRewoundRig(t *testing.T) (*rig, *rewoundStore) {
	t.Helper()
	s := &rewoundStore{}
	return newRig(t, func(c *dispatcher.Config) { s.Store, c.Store = c.Store, s }), s
}

func TestClockSetBackStallsNoRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRewoundRig(t)
		r.account("a")
		r.account("b")
		r.recv.set(failing(func(c call) bool { return c.Attempt == 1 }))
		ev := r.accept("a", "m", "m", "n")
		r.after(4 * time.Second)
		s.back = time.Hour
		r.disp.SetClockBack(time.Hour)
		r.after(2 * time.Second)
		later := r.accept("b", "m")[0] // retried by the new clock alone
		r.after(6 * time.Second)
		for _, id := range ev {
			r.wantState("a", id, store.Delivered)
		}
		r.wantState("b", later, store.Delivered)
	})
}

// What is put off again, behind an event that has not been attempted, waits by
// the new clock.
func TestClockSetBackStallsNothingThatIsPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRewoundRig(t)
		r.account("a")
		r.stop()
		ev := r.accept("a", "m", "m")
		d, _ := r.delivery("a", ev[1])
		off := store.Outcome{Delivery: &d, State: store.Pending, DueAt: d.AcceptedAt.Add(time.Minute), Behind: true}
		if err := r.store.Record(context.Background(), []store.Outcome{off}, time.Now()); err != nil {
			t.Fatal(err)
		}
		s.back = time.Hour
		r.start()
		r.after(time.Minute + time.Second)
		for _, id := range ev {
			r.wantState("a", id, store.Delivered)
		}
	})
}

// What waits for one that failed by the clock of before does not wait until that
// time comes again.
func TestClockSetBackStallsNothingBehindAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRewoundRig(t)
		r.account("a")
		r.recv.set(failing(func(c call) bool { return c.ID == "a-m-1" }))
		ev := r.accept("a", "m", "m")
		r.after(4 * time.Second)
		s.back = time.Hour
		r.disp.SetClockBack(time.Hour)
		r.after(time.Minute + time.Second)
		r.wantState("a", ev[1], store.Delivered)
	})
}

// One that failed by the clock of before does not let others pass one that fails
// by the new clock.
func TestClockSetBackKeepsTheOrderBehindALaterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRewoundRig(t)
		r.account("a")
		r.recv.set(failing(func(c call) bool { return c.ID != "a-m-3" }))
		ev := r.accept("a", "m", "m", "m")
		r.after(4 * time.Second)
		s.back = time.Hour
		r.disp.SetClockBack(time.Hour)
		r.after(59 * time.Second) // the second one failed at 4 s or later
		if got := ids(r.recv.got()); !slices.Contains(got, ev[1]) || slices.Contains(got, ev[2]) {
			t.Errorf("attempted were %q, want the second event and not the third", got)
		}
	})
}

func TestClockSetBackWhileNothingRanStallsNoRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRewoundRig(t)
		const accounts = 1500 // the scan of a start takes more than one page
		r.recv.set(failing(func(c call) bool { return c.Attempt == 1 }))
		for i := range accounts {
			r.account(fmt.Sprint("a", i))
			r.accept(fmt.Sprint("a", i), "m")
		}
		r.after(4 * time.Second)
		r.stop()
		s.back = time.Hour
		r.start()
		r.after(2 * time.Second)
		if n := r.store.Stats().Deliveries[store.Delivered]; n != accounts {
			t.Errorf("%d of %d were retried", n, accounts)
		}
	})
}
