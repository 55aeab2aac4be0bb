package storetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

// listAll reads the pages of a listing of accounts.
func listAll(t *testing.T, s store.Store, q store.AccountQuery) (all []store.AccountHealth) {
	t.Helper()
	for {
		page, err := s.Accounts(t.Context(), q)
		must(t, err)
		if len(page.Accounts) > q.Limit {
			t.Fatalf("a page of %d accounts, want at most %d", len(page.Accounts), q.Limit)
		}
		all = append(all, page.Accounts...)
		if q.After = page.Next; page.Next == (store.AccountPlace{}) {
			return all
		}
	}
}

func idsOf(all []store.AccountHealth) string {
	var ids []string
	for i := range all {
		ids = append(ids, all[i].ID)
	}
	return strings.Join(ids, " ")
}

func testAccountList(t *testing.T, open Opener) {
	record := func(t *testing.T, s store.Store, id string, to store.HealthState, now time.Time) {
		t.Helper()
		w, err := s.Webhook(t.Context(), id)
		must(t, err)
		must(t, s.RecordHealth(t.Context(), []store.HealthChange{{AccountID: id, WebhookID: w.ID, Version: w.Version, To: to, At: now, Error: store.Timeout}}))
	}
	t.Run("the worst first", func(t *testing.T) {
		s := open(t)
		registerPlatform(t, s)
		account(t, s, "zz")
		ready(t, s, "a", "b", "c", "d", "e")
		many := func(id string, n int) (events []store.Event) {
			for i := range n {
				events = append(events, event(id, id+string(rune('0'+i)), id+string(rune('0'+i))))
			}
			return events
		}
		accept(t, s, at(time.Second), many("d", 2)...)    // 2 × 19 min
		accept(t, s, at(10*time.Minute), many("b", 9)...) // 9 × 10 min
		accept(t, s, at(15*time.Minute), many("c", 4)...) // 4 × 5 min
		ended := accept(t, s, at(time.Second), many("a", 1)...)
		must(t, s.Record(t.Context(), []store.Outcome{done(&ended[0])}, at(2*time.Second)))
		must(t, s.Replay(t.Context(), "a", "a0", at(19*time.Minute))) // 1 × 1 min
		now := at(21*time.Minute + 10*time.Second)
		accept(t, s, now, many("e", 5)...) // nothing by the end of the last minute
		for limit := 1; limit <= 8; limit++ {
			if got, want := idsOf(listAll(t, s, store.AccountQuery{Limit: limit, Now: now})), "b d c a e zz"; got != want {
				t.Errorf("limit %d: %s, want %s", limit, got, want)
			}
			if got, want := idsOf(listAll(t, s, store.AccountQuery{Prefix: "b", Limit: limit, Now: now})), "b"; got != want {
				t.Errorf("prefix b, limit %d: %s, want %s", limit, got, want)
			}
		}
	})
	t.Run("what is known of each", func(t *testing.T) {
		s := open(t)
		account(t, s, "none")
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"))
		failed := again(&ds[0], at(time.Hour))
		must(t, s.Record(t.Context(), []store.Outcome{failed}, at(time.Second)))
		record(t, s, "a", store.HealthFailing, at(time.Minute))
		w, err := s.Webhook(t.Context(), "a")
		must(t, err)
		want := []store.AccountHealth{
			{Account: store.Account{ID: "a", CreatedAt: t0}, State: store.HealthFailing, Since: at(time.Minute), Pending: 2, OldestPending: t0, InARow: 1, LastFailure: failed.Attempt, CallbackURL: w.CallbackURL},
			{Account: store.Account{ID: "none", CreatedAt: t0}},
		}
		if diff := cmp.Diff(want, listAll(t, s, store.AccountQuery{Limit: 10, Now: at(time.Hour)})); diff != "" {
			t.Errorf("accounts (-want +got):\n%s", diff)
		}
	})
	t.Run("by state", func(t *testing.T) {
		s := open(t)
		registerPlatform(t, s)
		account(t, s, "none")
		ready(t, s, "failing", "gone", "healthy", "idle", "new", "probing", "rested", "slowed", "suspended")
		attempted := func(id string, now time.Time) {
			d := accept(t, s, now, event(id, "e-"+id, id))[0]
			must(t, s.Record(t.Context(), []store.Outcome{{Delivery: &d, State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: now, StatusCode: 200}}}, now))
		}
		now := at(48 * time.Hour)
		attempted("idle", t0)
		attempted("rested", t0)
		for _, id := range []string{"failing", "healthy", "slowed"} {
			attempted(id, now.Add(-time.Hour))
		}
		accept(t, s, now.Add(-time.Hour), event("probing", "e1", "m1"), event("suspended", "e1", "m1"))
		for id, state := range map[string]store.HealthState{
			"failing": store.HealthFailing, "probing": store.HealthProbing, "slowed": store.HealthSlowed, "rested": store.HealthFailing, "gone": store.HealthProbing,
		} {
			record(t, s, id, state, at(time.Minute))
		}
		must(t, s.DeleteWebhook(t.Context(), "gone", at(time.Hour)))
		w, err := s.Webhook(t.Context(), "suspended")
		must(t, err)
		must(t, s.SuspendWebhook(t.Context(), w, at(time.Minute)))
		for _, tt := range []struct {
			states []store.HealthState
			prefix string
			want   string
		}{
			{nil, "", "probing suspended failing gone healthy idle new none rested slowed"},
			{[]store.HealthState{store.HealthFailing}, "", "failing"},
			{[]store.HealthState{store.HealthProbing}, "", "probing"},
			{[]store.HealthState{store.HealthSlowed}, "", "slowed"},
			{[]store.HealthState{store.HealthSuspended}, "", "suspended"},
			{[]store.HealthState{store.HealthHealthy}, "", "healthy"},
			{[]store.HealthState{store.HealthIdle}, "", "idle new rested"},
			{[]store.HealthState{store.HealthIdle}, "re", "rested"},
			{[]store.HealthState{store.HealthIdle, store.HealthSuspended}, "", "suspended idle new rested"},
			{[]store.HealthState{store.HealthHealthy, store.HealthFailing, store.HealthProbing, store.HealthSlowed}, "", "probing failing healthy slowed"},
			{[]store.HealthState{store.HealthFailing, store.HealthSlowed}, "s", "slowed"},
		} {
			for _, limit := range []int{1, 2, 20} {
				got := listAll(t, s, store.AccountQuery{States: tt.states, Prefix: tt.prefix, Limit: limit, Now: now})
				if ids := idsOf(got); ids != tt.want {
					t.Errorf("states %v, prefix %q, limit %d: %s, want %s", tt.states, tt.prefix, limit, ids, tt.want)
				}
			}
		}
	})
	t.Run("none is left out for being moved", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b", "c", "d", "e")
		ds := accept(t, s, t0, event("a", "a1", "a1"), event("a", "a2", "a2"), event("b", "b1", "b1"), event("b", "b2", "b2"), event("c", "c1", "c1"))
		q := store.AccountQuery{Limit: 1, Now: at(time.Hour)}
		page, err := s.Accounts(t.Context(), q)
		must(t, err)
		ids := strings.Fields(idsOf(page.Accounts))
		accept(t, s, at(time.Hour), event("c", "c2", "c2"), event("c", "c3", "c3"), event("c", "c4", "c4"), event("d", "d1", "d1")) // those get worse
		must(t, s.Record(t.Context(), []store.Outcome{done(&ds[2]), done(&ds[3])}, at(time.Hour+time.Minute)))                      // b does not wait any more
		account(t, s, "new")
		for q.After = page.Next; q.After != (store.AccountPlace{}); q.After = page.Next {
			q.Now = q.Now.Add(time.Hour)
			page, err = s.Accounts(t.Context(), q)
			must(t, err)
			ids = append(ids, strings.Fields(idsOf(page.Accounts))...)
		}
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			if !slices.Contains(ids, id) {
				t.Errorf("listed: %s; %s is missing", ids, id)
			}
		}
		if got := strings.Fields(idsOf(listAll(t, s, store.AccountQuery{Limit: 2, Now: q.Now})))[0]; got != "c" {
			t.Errorf("a new listing begins with %s, want c", got)
		}
	})
}
