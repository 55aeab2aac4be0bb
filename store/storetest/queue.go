package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

func testQueue(t *testing.T, open Opener) {
	t.Run("fresh in order behind the cursor", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"), event("a", "e3", "m3"), event("a", "e4", "m4"))
		accept(t, s, t0, event("b", "e9", "m1"))
		page := backlog(t, s, store.BacklogQuery{AccountID: "a", Now: t0, After: ds[0].Seq, Fresh: 2})
		wantIDs(t, "page", page.Fresh, " e2 e3")
		if page.Webhook == nil || page.Webhook.AccountID != "a" || len(page.Webhook.Secret) == 0 {
			t.Errorf("webhook %+v, want a's", page.Webhook)
		}
		if page := backlog(t, s, store.BacklogQuery{AccountID: "x", Now: t0, Fresh: 2, Due: 2}); page.Webhook != nil || len(page.Fresh) > 0 {
			t.Errorf("backlog of an unknown account: %+v, want nothing", page)
		}
	})
	t.Run("the last accepted", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		last := func(want time.Time) {
			t.Helper()
			if got, err := s.LastAccepted(t.Context()); err != nil || !got.Equal(want) {
				t.Errorf("LastAccepted: %v and %v, want %v", got, err, want)
			}
		}
		last(time.Time{})
		accept(t, s, at(time.Hour), event("a", "e1", "m1"))
		last(at(time.Hour))
		accept(t, s, t0, event("b", "e2", "m2")) // the clock was set back
		last(t0)
	})
	t.Run("put off until due", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"), event("a", "e3", "m3"), event("a", "e4", "m4"))
		must(t, s.Record(t.Context(), []store.Outcome{
			again(&ds[0], at(30*time.Second)), again(&ds[1], at(10*time.Second)), again(&ds[2], at(time.Hour)),
		}, at(time.Second)))
		page := backlog(t, s, all(at(time.Minute)))
		wantIDs(t, "due", page.Due, " e2 e1")
		wantIDs(t, "fresh", page.Fresh, " e4")
		if !page.NextDue.Equal(at(time.Hour)) {
			t.Errorf("NextDue %v, want %v", page.NextDue, at(time.Hour))
		}
		page = backlog(t, s, store.BacklogQuery{AccountID: "a", Now: at(time.Minute), Due: 1})
		wantIDs(t, "one", page.Due, " e2")
		page = backlog(t, s, store.BacklogQuery{AccountID: "a", Now: at(time.Minute), Due: 1, Known: []int64{page.Due[0].Seq}})
		wantIDs(t, "one that is not known", page.Due, " e1")
		page = backlog(t, s, all(t0))
		wantIDs(t, "nothing due", page.Due, "")
		if !page.NextDue.Equal(at(10 * time.Second)) {
			t.Errorf("NextDue %v, want %v", page.NextDue, at(10*time.Second))
		}
	})
	t.Run("oldest", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"), event("a", "e3", "m3"))
		must(t, s.Record(t.Context(), []store.Outcome{done(&ds[0]), again(&ds[1], at(time.Hour))}, t0))
		b, err := s.Oldest(t.Context(), "a")
		must(t, err)
		wantIDs(t, "oldest", b.Fresh, " e2")
		if b.Webhook == nil || b.Fresh[0].DueAt.IsZero() {
			t.Errorf("got %+v, want the webhook and the delivery as it is", b)
		}
	})
	t.Run("accounts with pending deliveries", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b", "c", "d")
		var events []store.Event
		for i := range 20 {
			events = append(events, event(string(rune('a'+i%4)), fmt.Sprint("e", i), "m"))
		}
		ds := accept(t, s, t0, events...)
		for i := range ds {
			if ds[i].AccountID == "b" {
				must(t, s.Record(t.Context(), []store.Outcome{done(&ds[i])}, t0))
			}
		}
		for _, tt := range []struct {
			after string
			limit int
			want  []string
		}{{"", 10, []string{"a", "c", "d"}}, {"", 2, []string{"a", "c"}}, {"c", 2, []string{"d"}}, {"d", 2, nil}} {
			got, err := s.PendingAccounts(t.Context(), tt.after, tt.limit)
			must(t, err)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("after %q, limit %d (-want +got):\n%s", tt.after, tt.limit, diff)
			}
		}
	})
	t.Run("recording twice changes nothing", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"))
		outcomes := []store.Outcome{done(&ds[0]), again(&ds[1], at(time.Hour))}
		must(t, s.Record(t.Context(), outcomes, at(time.Second)))
		first, firstAttempts, err := s.Delivery(t.Context(), "a", "e1")
		must(t, err)
		must(t, s.Record(t.Context(), outcomes, at(time.Minute)))
		second, secondAttempts, err := s.Delivery(t.Context(), "a", "e1")
		must(t, err)
		if !cmp.Equal(first, second) || !cmp.Equal(firstAttempts, secondAttempts) {
			t.Errorf("after recording again %+v %+v, want %+v %+v", second, secondAttempts, first, firstAttempts)
		}
		want := store.Delivery{
			Seq: ds[0].Seq, AccountID: "a", EventID: "e1", MessageID: "m1", Body: ds[0].Body, AcceptedAt: t0,
			State: store.Delivered, Attempts: 1, FinishedAt: at(time.Second), LastStatusCode: 204,
		}
		if diff := cmp.Diff(want, first); diff != "" {
			t.Errorf("delivered (-want +got):\n%s", diff)
		}
		wantTotals(t, s, 1, 1, 0, 0)
	})
	t.Run("what is not pending any more only gets the attempt", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		d := accept(t, s, t0, event("a", "e1", "m1"))[0]
		must(t, s.DeleteWebhook(t.Context(), "a", at(time.Second)))
		must(t, s.Record(t.Context(), []store.Outcome{done(&d)}, at(time.Minute)))
		got, attempts, err := s.Delivery(t.Context(), "a", "e1")
		must(t, err)
		if got.State != store.Cancelled || got.Attempts != 1 || len(attempts) != 1 {
			t.Errorf("%+v with %d attempts, want CANCELLED with the attempt", got, len(attempts))
		}
		wantTotals(t, s, 0, 0, 0, 1)
	})
	t.Run("recording an attempt again does not undo what came after it", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		d := accept(t, s, t0, event("a", "e1", "m1"))[0]
		first := again(&d, at(5*time.Second))
		must(t, s.Record(t.Context(), []store.Outcome{first}, at(time.Second)))
		second := again(&backlog(t, s, all(at(5*time.Second))).Due[0], at(time.Hour))
		must(t, s.Record(t.Context(), []store.Outcome{second, first}, at(6*time.Second)))
		got, attempts, err := s.Delivery(t.Context(), "a", "e1")
		must(t, err)
		if !got.DueAt.Equal(at(time.Hour)) || got.Failures != 2 || len(attempts) != 2 {
			t.Errorf("due at %v after %d failures and %d attempts, want %v, 2 and 2", got.DueAt, got.Failures, len(attempts), at(time.Hour))
		}
	})
	t.Run("what was erased stays so", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m1"))
		must(t, s.DeleteAccount(t.Context(), "a"))
		ready(t, s, "a")
		must(t, s.Record(t.Context(), []store.Outcome{done(&ds[0]), again(&ds[1], at(time.Minute))}, t0))
		wantTotals(t, s, 0, 0, 0, 0)
		anew := accept(t, s, t0, event("a", "e1", "m1"))[0]
		_, attempts, err := s.Delivery(t.Context(), "a", "e1")
		must(t, err)
		if anew.Attempts != 0 || len(attempts) != 0 || string(anew.Body) != `{"id":"e1","sequence":1}` {
			t.Errorf("accepted anew: %s with %d attempts, want it as if there had been none", anew.Body, len(attempts))
		}
	})
	t.Run("without a webhook all is cancelled", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		var events []store.Event
		for i := range 1200 {
			events = append(events, event("a", fmt.Sprint("e", i), fmt.Sprint("m", i)))
		}
		accept(t, s, t0, append(events, event("b", "e", "m"))...)
		must(t, s.DeleteWebhook(t.Context(), "a", t0))
		n, err := s.Cancel(t.Context(), "a", t0, 500)
		must(t, err)
		m, err := s.Cancel(t.Context(), "b", t0, 500)
		must(t, err)
		if n != 200 || m != 0 {
			t.Errorf("Cancel: %d without a webhook and %d with one; want 200 and 0", n, m)
		}
		wantTotals(t, s, 1, 0, 0, 1200)
	})
	t.Run("make due, expire, sweep", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		old := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"), event("a", "e3", "m3"))
		accept(t, s, at(time.Hour), event("a", "e4", "m4"))
		must(t, s.Record(t.Context(), []store.Outcome{again(&old[0], at(9*time.Hour)), again(&old[1], at(8*time.Hour))}, t0))
		n, err := s.MakeDue(t.Context(), "a", at(time.Minute), 1)
		must(t, err)
		m, err := s.MakeDue(t.Context(), "a", at(time.Minute), 5)
		must(t, err)
		wantIDs(t, "due", backlog(t, s, all(at(time.Minute))).Due, " e1 e2")
		if n != 1 || m != 1 {
			t.Errorf("MakeDue: %d, then %d; want 1, then 1", n, m)
		}
		n, err = s.Expire(t.Context(), "a", at(time.Minute), at(2*time.Hour), 2)
		must(t, err)
		m, err = s.Expire(t.Context(), "a", at(time.Minute), at(3*time.Hour), 2)
		must(t, err)
		if n != 2 || m != 1 {
			t.Errorf("Expire: %d, then %d; want 2, then 1", n, m)
		}
		wantTotals(t, s, 1, 0, 3, 0)
		n, err = s.Sweep(t.Context(), at(3*time.Hour), time.Hour, 10)
		must(t, err)
		m, err = s.Sweep(t.Context(), at(150*time.Minute), 0, 10)
		must(t, err)
		if n != 0 || m != 2 {
			t.Errorf("Sweep: %d, then %d; want 0 (finished at that time, not before), then 2", n, m)
		}
		wantTotals(t, s, 1, 0, 1, 0)
	})
	t.Run("a sweep begins with what was finished first", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"), event("a", "e3", "m3"))
		for i, d := range []*store.Delivery{&ds[1], &ds[2], &ds[0]} {
			must(t, s.Record(t.Context(), []store.Outcome{done(d)}, at(time.Duration(i)*time.Minute)))
		}
		n, err := s.Sweep(t.Context(), at(time.Hour), 0, 2)
		must(t, err)
		left, err := s.Deliveries(t.Context(), store.DeliveryQuery{AccountID: "a", Limit: 10})
		must(t, err)
		if n != 2 || len(left.Deliveries) != 1 || left.Deliveries[0].EventID != "e1" {
			t.Errorf("Sweep: %d, and left %+v; want 2, and e1, which was finished last", n, left.Deliveries)
		}
	})
}

func testOrder(t *testing.T, open Opener) {
	t.Run("behind what is pending, of the same message alone", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m"), event("a", "e2", "m"), event("a", "e3", "n"))
		wantIDs(t, "at first", backlog(t, s, all(t0)).Fresh, " e1 e2+ e3")
		must(t, s.Record(t.Context(), []store.Outcome{done(&ds[0])}, t0))
		wantIDs(t, "after the first was delivered", backlog(t, s, all(t0)).Fresh, " e2 e3")
	})
	behind := func(d *store.Delivery) store.Outcome {
		return store.Outcome{Delivery: d, State: store.Pending, DueAt: at(time.Minute), Behind: true}
	}
	t.Run("put off behind a pending one, released by its outcome", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m"), event("a", "e2", "m"), event("a", "e3", "m"), event("a", "e4", "n"))
		must(t, s.Record(t.Context(), []store.Outcome{again(&ds[0], at(5*time.Second)), behind(&ds[1]), behind(&ds[2])}, at(time.Second)))
		page := backlog(t, s, all(at(6*time.Second)))
		wantIDs(t, "due", page.Due, " e1")
		wantIDs(t, "fresh", page.Fresh, " e4")
		second := page.Due[0]
		must(t, s.Record(t.Context(), []store.Outcome{done(&second)}, at(7*time.Second)))
		wantIDs(t, "released", backlog(t, s, all(at(7*time.Second))).Due, " e2 e3++")
	})
	t.Run("since when it waits", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m"), event("a", "e2", "m"), event("a", "e3", "m"))
		attempt := func(d *store.Delivery, number, failures int, from, to, due time.Duration) store.Outcome {
			return store.Outcome{Delivery: d, State: store.Pending, Failures: failures, DueAt: at(due), Attempt: &store.Attempt{
				Number: number, At: at(from), Duration: to - from, StatusCode: 500, Error: store.HTTPStatus, Probe: failures == 0,
			}}
		}
		must(t, s.Record(t.Context(), []store.Outcome{
			attempt(&ds[0], 1, 0, time.Second, 2*time.Second, time.Minute), behind(&ds[1]),
		}, at(2*time.Second)))
		page := backlog(t, s, all(at(time.Hour)))
		wantBehind(t, "a probe's failure", page.Fresh[0], time.Time{}, store.Behind{PutOff: 2, DueAt: at(time.Minute)})
		must(t, s.Record(t.Context(), []store.Outcome{attempt(&page.Due[0], 2, 1, 3*time.Second, 4*time.Second, 2*time.Minute)}, at(4*time.Second)))
		must(t, s.Record(t.Context(), []store.Outcome{attempt(&page.Due[0], 3, 2, 5*time.Second, 6*time.Second, 3*time.Minute)}, at(6*time.Second)))
		page = backlog(t, s, all(at(time.Hour)))
		wantBehind(t, "the one that failed", page.Due[1], at(4*time.Second), store.Behind{})
		wantBehind(t, "put off behind it", page.Due[0], time.Time{}, store.Behind{PutOff: 1, DueAt: at(3 * time.Minute), FailedAt: at(4 * time.Second)})
		wantBehind(t, "behind one that has not", page.Fresh[0], time.Time{}, store.Behind{PutOff: 2, DueAt: at(time.Minute)})
		must(t, s.Record(t.Context(), []store.Outcome{attempt(&page.Due[0], 1, 1, 7*time.Second, 8*time.Second, 4*time.Minute)}, at(8*time.Second)))
		page = backlog(t, s, all(at(time.Hour)))
		wantBehind(t, "behind two that failed", page.Fresh[0], time.Time{}, store.Behind{PutOff: 2, DueAt: at(3 * time.Minute), FailedAt: at(8 * time.Second)})
		accept(t, s, at(time.Hour), event("a", "e4", "m"))
		page = backlog(t, s, all(at(time.Hour)))
		wantBehind(t, "behind these and a fresh one", page.Fresh[1], time.Time{}, store.Behind{Fresh: true, PutOff: 2, DueAt: at(3 * time.Minute), FailedAt: at(8 * time.Second)})
	})
	t.Run("since when it waits, after the clock was set back", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m"), event("a", "e2", "m"), event("a", "e3", "m"))
		now := time.Now().UTC().Truncate(time.Microsecond)
		fail := func(d *store.Delivery, end time.Time) store.Outcome {
			return store.Outcome{Delivery: d, State: store.Pending, Failures: 1, DueAt: now.Add(2 * time.Hour), Attempt: &store.Attempt{
				Number: 1, At: end, StatusCode: 500, Error: store.HTTPStatus,
			}}
		}
		must(t, s.Record(t.Context(), []store.Outcome{fail(&ds[0], now.Add(time.Hour))}, now))
		page := backlog(t, s, all(now))
		wantBehind(t, "behind one by the old clock", page.Fresh[0], time.Time{}, store.Behind{PutOff: 1, DueAt: now.Add(2 * time.Hour), FailedAt: now.Add(time.Hour)})
		must(t, s.Record(t.Context(), []store.Outcome{fail(&ds[1], now)}, now))
		two := store.Behind{PutOff: 2, DueAt: now.Add(2 * time.Hour), FailedAt: now}
		page = backlog(t, s, all(now))
		wantBehind(t, "behind one by the new clock as well", page.Fresh[0], time.Time{}, two)
		must(t, s.Record(t.Context(), []store.Outcome{done(&page.Fresh[0])}, now))
		l := &listener{}
		s.Listen(l)
		accept(t, s, now, event("a", "e4", "m"))
		wantBehind(t, "told as well", l.accepted[0].Delivery, time.Time{}, two)
	})
	t.Run("put off behind nothing is due now", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m"), event("a", "e2", "m"))
		must(t, s.Record(t.Context(), []store.Outcome{done(&ds[0]), behind(&ds[1])}, at(time.Second)))
		wantIDs(t, "due", backlog(t, s, all(at(time.Second))).Due, " e2")
	})
	t.Run("one that was put off itself releases at its first attempt", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m"), event("a", "e2", "m"), event("a", "e3", "m"))
		must(t, s.Record(t.Context(), []store.Outcome{again(&ds[0], at(5*time.Second)), behind(&ds[1])}, at(time.Second)))
		failed := store.Outcome{Delivery: &ds[0], State: store.Failed, Failures: 1}
		must(t, s.Record(t.Context(), []store.Outcome{failed, behind(&ds[2])}, at(2*time.Second)))
		page := backlog(t, s, all(at(2*time.Second)))
		wantIDs(t, "due", page.Due, " e2")
		must(t, s.Record(t.Context(), []store.Outcome{done(&page.Due[0])}, at(3*time.Second)))
		wantIDs(t, "due", backlog(t, s, all(at(3*time.Second))).Due, " e3")
	})
	t.Run("a retry's schedule is not shortened", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m"), event("a", "e2", "m"))
		must(t, s.Record(t.Context(), []store.Outcome{again(&ds[0], at(5*time.Second)), again(&ds[1], at(time.Hour))}, at(time.Second)))
		d := backlog(t, s, all(at(6*time.Second))).Due[0]
		must(t, s.Record(t.Context(), []store.Outcome{done(&d)}, at(7*time.Second)))
		wantIDs(t, "due", backlog(t, s, all(at(8*time.Second))).Due, "")
	})
}
