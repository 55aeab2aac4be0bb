package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

func testHistory(t *testing.T, open Opener) {
	t.Run("filters, newest first", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		var ds []store.Delivery
		for i := range 6 {
			ds = append(ds, accept(t, s, at(time.Duration(i/2)*time.Minute), event("a", fmt.Sprint("e", i), fmt.Sprint("m", i%3)))...)
		}
		accept(t, s, t0, event("b", "other", "m0"))
		must(t, s.Record(t.Context(), []store.Outcome{done(&ds[1]), done(&ds[4])}, at(time.Hour)))
		ordered := store.DeliveryQuery{OldestFirst: true}
		after := func(q store.DeliveryQuery, d store.Delivery) store.DeliveryQuery {
			q.After = store.Place{AcceptedAt: d.AcceptedAt, Seq: d.Seq}
			return q
		}
		for _, tt := range []struct {
			name string
			q    store.DeliveryQuery
			want string
		}{
			{"all", store.DeliveryQuery{}, " e5+ e4 e3+ e2 e1 e0"},
			{"limit", store.DeliveryQuery{Limit: 2}, " e5+ e4"},
			{"state", store.DeliveryQuery{States: []store.State{store.Delivered}}, " e4 e1"},
			{"states", store.DeliveryQuery{States: []store.State{store.Delivered, store.Pending}}, " e5+ e4 e3+ e2 e1 e0"},
			{"message", store.DeliveryQuery{MessageID: "m0"}, " e3+ e0"},
			{"from", store.DeliveryQuery{From: at(time.Minute)}, " e5+ e4 e3+ e2"},
			{"to is exclusive", store.DeliveryQuery{To: at(time.Minute)}, " e1 e0"},
			{"window", store.DeliveryQuery{From: at(time.Minute), To: at(2 * time.Minute)}, " e3+ e2"},
			{"continued", after(store.DeliveryQuery{}, ds[3]), " e2 e1 e0"},
			{"continued with filters", after(store.DeliveryQuery{States: []store.State{store.Pending}, Limit: 1}, ds[3]), " e2"},
			{"oldest first", ordered, " e0 e1 e2 e3+ e4 e5+"},
			{"oldest first, continued", after(ordered, ds[3]), " e4 e5+"},
			{"oldest first, window", store.DeliveryQuery{OldestFirst: true, From: at(time.Minute), To: at(2 * time.Minute)}, " e2 e3+"},
			{"oldest first, message", store.DeliveryQuery{OldestFirst: true, MessageID: "m0"}, " e0 e3+"},
			{"nothing", store.DeliveryQuery{States: []store.State{store.Failed}}, ""},
		} {
			tt.q.AccountID = "a"
			if tt.q.Limit == 0 {
				tt.q.Limit = 100
			}
			got, err := s.Deliveries(t.Context(), tt.q)
			must(t, err)
			wantIDs(t, tt.name, got.Deliveries, tt.want)
		}
	})
	t.Run("pages follow each other until there is no more", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		for i := range 7 { // the clock stands, and is set back
			accept(t, s, at(time.Duration(-i/4)*time.Minute), event("a", fmt.Sprint("e", i), "m"), event("b", fmt.Sprint("e", i), "m"))
		}
		for _, limit := range []int{1, 3, 7, 8} {
			for oldestFirst, want := range map[bool]string{false: " e3+ e2+ e1+ e0 e6+ e5+ e4+", true: " e4+ e5+ e6+ e0 e1+ e2+ e3+"} {
				q := store.DeliveryQuery{AccountID: "a", Limit: limit, OldestFirst: oldestFirst}
				var got []store.Delivery
				for pages := 1; ; pages++ {
					page, err := s.Deliveries(t.Context(), q)
					must(t, err)
					got = append(got, page.Deliveries...)
					if page.Next == (store.Place{}) {
						if n := (7 + limit - 1) / limit; pages != n {
							t.Errorf("limit %d: %d pages, want %d", limit, pages, n)
						}
						break
					}
					if len(page.Deliveries) != limit || pages > 7 {
						t.Fatalf("limit %d: page %d has %d deliveries and another after it, want %d", limit, pages, len(page.Deliveries), limit)
					}
					q.After = page.Next
				}
				wantIDs(t, fmt.Sprint("limit ", limit), got, want)
			}
		}
	})
	t.Run("filters by what became of it", func(t *testing.T) { testOutcomeFilters(t, open) })
	t.Run("attempts", func(t *testing.T) { testAttempts(t, open) })
	t.Run("attempts of many pages", func(t *testing.T) { testAttemptPages(t, open) })
	t.Run("what a PENDING one is behind", func(t *testing.T) { testPendingHistory(t, open) })
	t.Run("one with its attempts", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		d := accept(t, s, t0, event("a", "e1", "m"))[0]
		first := again(&d, at(5*time.Second))
		first.Attempt.Probe = true
		must(t, s.Record(t.Context(), []store.Outcome{first}, at(time.Second)))
		d, _, err := s.Delivery(t.Context(), "a", "e1")
		must(t, err)
		second := done(&d)
		must(t, s.Record(t.Context(), []store.Outcome{second}, at(6*time.Second)))
		d, attempts, err := s.Delivery(t.Context(), "a", "e1")
		must(t, err)
		if diff := cmp.Diff([]store.Attempt{*first.Attempt, *second.Attempt}, attempts); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		if d.Attempts != 2 || d.Failures != 1 {
			t.Errorf("%d attempts and %d failures, want 2 and 1", d.Attempts, d.Failures)
		}
		for _, q := range [][2]string{{"b", "e1"}, {"a", "e2"}, {"x", "e1"}} {
			if _, _, err := s.Delivery(t.Context(), q[0], q[1]); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Delivery(%s, %s): %v, want ErrNotFound", q[0], q[1], err)
			}
		}
	})
}

func testPendingHistory(t *testing.T, open Opener) {
	s := open(t)
	ready(t, s, "a", "b")
	ds := accept(t, s, t0, event("a", "e1", "m"), event("a", "e2", "m"), event("a", "e3", "m"), event("a", "e4", "m"), event("a", "o1", "o"), event("a", "d1", "d"))
	accept(t, s, t0, event("b", "e5", "m"))
	failed := again(&ds[0], at(5*time.Second))
	behind := store.Outcome{Delivery: &ds[1], State: store.Pending, DueAt: at(time.Minute), Behind: true}
	must(t, s.Record(t.Context(), []store.Outcome{failed, behind, done(&ds[5])}, at(time.Second)))
	failedAt := failed.Attempt.At.Add(failed.Attempt.Duration)
	for _, tt := range []struct {
		account, event string
		failedAt       time.Time
		want           store.Behind
	}{
		{"a", "e1", failedAt, store.Behind{}},
		{"a", "e2", time.Time{}, store.Behind{PutOff: 1, DueAt: at(5 * time.Second), FailedAt: failedAt, EventID: "e1"}},
		{"a", "e3", time.Time{}, store.Behind{PutOff: 2, DueAt: at(5 * time.Second), EventID: "e2"}},
		{"a", "e4", time.Time{}, store.Behind{Fresh: true, PutOff: 2, DueAt: at(5 * time.Second), EventID: "e3"}},
		{"a", "o1", time.Time{}, store.Behind{}},
		{"a", "d1", time.Time{}, store.Behind{}}, // not PENDING
		{"b", "e5", time.Time{}, store.Behind{}},
	} {
		one, _, err := s.Delivery(t.Context(), tt.account, tt.event)
		must(t, err)
		page, err := s.Deliveries(t.Context(), store.DeliveryQuery{AccountID: tt.account, Limit: 100})
		must(t, err)
		i := slices.IndexFunc(page.Deliveries, func(d store.Delivery) bool { return d.EventID == tt.event })
		for where, d := range map[string]store.Delivery{"alone": one, "in the listing": page.Deliveries[i]} {
			if diff := cmp.Diff(tt.want, d.Behind); diff != "" || !d.FailedAt.Equal(tt.failedAt) {
				t.Errorf("%s %s: failed at %v, want %v; behind (-want +got):\n%s", tt.event, where, d.FailedAt, tt.failedAt, diff)
			}
		}
	}
}

// testOutcomeFilters lists deliveries each of which is one thing that the others
// are not.
func testOutcomeFilters(t *testing.T, open Opener) {
	s := open(t)
	ready(t, s, "a")
	rcs := event("a", "rcs", "m1")
	rcs.Channel = "RCS"
	order := event("a", "order", "m2")
	order.Payload = []byte(`{"customerMessageId":"order-1","channel":"SMS"}`)
	ds := accept(t, s, t0, rcs, order, event("a", "timeout", "m3"), event("a", "refused", "m4"), event("a", "repaired", "m5"), event("a", "given up", "m6"))
	failed := func(d *store.Delivery, number, status int, kind store.ErrorKind, after time.Duration) store.Outcome {
		return store.Outcome{Delivery: d, State: store.Pending, Failures: number, DueAt: at(time.Hour),
			Attempt: &store.Attempt{Number: number, At: at(after), StatusCode: status, Error: kind}}
	}
	silent := failed(&ds[2], 1, 0, store.Timeout, time.Second)
	silent.Attempt.Detail = "NO_ANSWER"
	must(t, s.Record(t.Context(), []store.Outcome{
		silent,
		failed(&ds[3], 1, 503, store.HTTPStatus, 2*time.Second),
		failed(&ds[4], 1, 0, store.Timeout, 3*time.Second),
		failed(&ds[4], 2, 500, store.HTTPStatus, 4*time.Second),
	}, at(4*time.Second)))
	repaired := done(&ds[4])
	repaired.Attempt.Number, repaired.Attempt.At = 3, at(5*time.Second)
	must(t, s.Record(t.Context(), []store.Outcome{repaired}, at(5*time.Second)))
	must(t, s.Record(t.Context(), []store.Outcome{{Delivery: &ds[5], State: store.Failed}, done(&ds[1])}, at(6*time.Second)))
	for _, tt := range []struct {
		name string
		q    store.DeliveryQuery
		want string
	}{
		{"channel", store.DeliveryQuery{Channel: "RCS"}, " rcs"},
		{"what the payload holds", store.DeliveryQuery{Holding: []byte(`"customerMessageId":"order-1"`)}, " order"},
		{"what else the payload holds", store.DeliveryQuery{HoldingToo: []byte(`"customerMessageId":"order-1"`)}, " order"},
		{"one of two that the payload holds", store.DeliveryQuery{Holding: []byte(`"customerMessageId":"order-1"`), HoldingToo: []byte("no such")}, ""},
		{"error of the last attempt", store.DeliveryQuery{Error: store.Timeout}, " timeout"},
		{"another error", store.DeliveryQuery{Error: store.HTTPStatus}, " refused"},
		{"status of the last attempt", store.DeliveryQuery{StatusCode: 503}, " refused"},
		{"status of a success", store.DeliveryQuery{StatusCode: repaired.Attempt.StatusCode}, " repaired order"},
		{"status of an earlier attempt", store.DeliveryQuery{StatusCode: 500}, ""},
		{"failed since", store.DeliveryQuery{FailedSince: at(2 * time.Second)}, " repaired refused"},
		{"failed since the beginning", store.DeliveryQuery{FailedSince: t0}, " repaired refused timeout"},
		{"failed since, oldest first", store.DeliveryQuery{FailedSince: t0, OldestFirst: true, Limit: 2}, " timeout refused"},
		{"failed since a success", store.DeliveryQuery{FailedSince: at(5 * time.Second)}, ""},
		{"finished from", store.DeliveryQuery{FinishedFrom: at(6 * time.Second)}, " given up order"},
		{"finished to", store.DeliveryQuery{FinishedTo: at(6 * time.Second)}, " repaired"},
		{"finished between", store.DeliveryQuery{FinishedFrom: at(5 * time.Second), FinishedTo: at(6 * time.Second)}, " repaired"},
		{"all together", store.DeliveryQuery{States: []store.State{store.Pending}, Channel: "SMS", MessageID: "m4", Error: store.HTTPStatus, StatusCode: 503,
			From: t0, To: at(time.Second), FailedSince: at(2 * time.Second), Holding: []byte(`"id":"refused"`)}, " refused"},
		{"none of all", store.DeliveryQuery{States: []store.State{store.Delivered}, Channel: "SMS", Error: store.HTTPStatus}, ""},
	} {
		tt.q.AccountID = "a"
		if tt.q.Limit == 0 {
			tt.q.Limit = 100
		}
		got, err := s.Deliveries(t.Context(), tt.q)
		must(t, err)
		wantIDs(t, tt.name, got.Deliveries, tt.want)
		for _, d := range got.Deliveries {
			one, _, err := s.Delivery(t.Context(), "a", d.EventID)
			must(t, err)
			if diff := cmp.Diff(one, d); diff != "" {
				t.Errorf("%s: %s (-alone +listed):\n%s", tt.name, d.EventID, diff)
			}
		}
	}
	for id, want := range map[string]store.Delivery{
		"timeout": {LastError: store.Timeout, LastDetail: "NO_ANSWER"}, "refused": {LastError: store.HTTPStatus, LastStatusCode: 503},
		"repaired": {LastStatusCode: repaired.Attempt.StatusCode}, "given up": {}, "rcs": {},
	} {
		got, _, err := s.Delivery(t.Context(), "a", id)
		must(t, err)
		if got.LastError != want.LastError || got.LastDetail != want.LastDetail || got.LastStatusCode != want.LastStatusCode {
			t.Errorf("%s: last %q, %q, %d; want %q, %q, %d", id, got.LastError, got.LastDetail, got.LastStatusCode, want.LastError, want.LastDetail, want.LastStatusCode)
		}
	}
}

func testRest(t *testing.T, open Opener) {
	t.Run("settings", func(t *testing.T) {
		s := open(t)
		if _, err := s.Setting(t.Context(), "name"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("unset: %v, want ErrNotFound", err)
		}
		must(t, s.PutSetting(t.Context(), "name", []byte("one")))
		must(t, s.PutSetting(t.Context(), "name", []byte("two")))
		got, err := s.Setting(t.Context(), "name")
		must(t, err)
		if string(got) != "two" {
			t.Errorf("got %q, want %q", got, "two")
		}
		must(t, s.PutSetting(t.Context(), "empty", nil))
		if got, err := s.Setting(t.Context(), "empty"); err != nil || len(got) != 0 {
			t.Errorf("empty: %q, %v; want nothing and no error", got, err)
		}
	})
	t.Run("ready", func(t *testing.T) { must(t, open(t).Ready(t.Context())) })
	t.Run("closed", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				_, err := s.Accept(t.Context(), []store.Event{event("a", fmt.Sprint("e", i), "m")}, t0)
				if err != nil && !errors.Is(err, store.ErrClosed) {
					t.Errorf("Accept while closing: %v, want nil or ErrClosed", err)
				}
			})
		}
		must(t, s.Close())
		wg.Wait()
		_, read := s.Webhook(t.Context(), "a")
		_, write := s.Accept(t.Context(), []store.Event{event("a", "late", "m")}, t0)
		_, page := s.Backlog(t.Context(), all(t0))
		for name, err := range map[string]error{"Webhook": read, "Accept": write, "Backlog": page, "Ready": s.Ready(t.Context())} {
			if !errors.Is(err, store.ErrClosed) {
				t.Errorf("%s after Close: %v, want ErrClosed", name, err)
			}
		}
	})
}
