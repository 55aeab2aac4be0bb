package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

func testHealth(t *testing.T, open Opener) {
	change := func(t *testing.T, s store.Store, to store.HealthState, at time.Time) store.HealthChange {
		t.Helper()
		w, err := s.Webhook(t.Context(), "a")
		must(t, err)
		c := store.HealthChange{AccountID: "a", WebhookID: w.ID, Version: w.Version, To: to, At: at, Error: store.HTTPStatus, StatusCode: 503}
		must(t, s.RecordHealth(t.Context(), []store.HealthChange{c}))
		return c
	}
	wantHealth := func(t *testing.T, s store.Store, want store.Health) {
		t.Helper()
		w, err := s.Webhook(t.Context(), "a")
		must(t, err)
		if diff := cmp.Diff(want, w.Health); diff != "" {
			t.Errorf("health (-want +got):\n%s", diff)
		}
	}
	changes := func(t *testing.T, s store.Store) []store.HealthChange {
		t.Helper()
		page, err := s.HealthChanges(t.Context(), store.HealthChangeQuery{AccountID: "a", Limit: 2 * store.MaxHealthChanges})
		must(t, err)
		return page.Changes
	}
	t.Run("a change is kept and told", func(t *testing.T) {
		s := open(t)
		l := &listener{}
		s.Listen(l)
		ready(t, s, "a", "b")
		want := change(t, s, store.HealthFailing, at(time.Minute))
		want.Number, want.From = 1, store.HealthHealthy
		wantHealth(t, s, store.Health{State: store.HealthFailing, Since: at(time.Minute), Version: 1})
		for what, got := range map[string][]store.HealthChange{"kept": changes(t, s), "told": l.health} {
			if diff := cmp.Diff([]store.HealthChange{want}, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		if n := len(l.changes); n != 2 {
			t.Errorf("the listener was told of %d changed webhooks, want the two that were made: a change of health is none of the webhook", n)
		}
		accept(t, s, at(time.Hour), event("a", "e1", "m1"))
		if got := l.accepted[0].Webhook.Health.State; got != store.HealthFailing {
			t.Errorf("a delivery was handed over with health %s, want FAILING", got)
		}
		if got := backlog(t, s, all(at(time.Hour))).Webhook.Health.State; got != store.HealthFailing {
			t.Errorf("a backlog was read with health %s, want FAILING", got)
		}
	})
	t.Run("what is so already is no change", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		change(t, s, store.HealthFailing, at(time.Minute))
		change(t, s, store.HealthFailing, at(time.Minute))
		wantHealth(t, s, store.Health{State: store.HealthFailing, Since: at(time.Minute), Version: 1})
		change(t, s, store.HealthFailing, at(time.Hour)) // it was left and has come back
		wantHealth(t, s, store.Health{State: store.HealthFailing, Since: at(time.Hour), Version: 1})
		if n := len(changes(t, s)); n != 1 {
			t.Errorf("%d changes, want 1", n)
		}
	})
	t.Run("a PUT begins anew", func(t *testing.T) {
		s := open(t)
		l := &listener{}
		ready(t, s, "a")
		c := change(t, s, store.HealthProbing, at(time.Minute))
		s.Listen(l)
		w, err := s.ReplaceCallbackURL(t.Context(), "a", "https://new.example/", at(time.Hour))
		must(t, err)
		wantHealth(t, s, store.Health{State: store.HealthHealthy, Since: at(time.Hour), Version: 2})
		c.To, c.At = store.HealthFailing, at(2*time.Hour)
		must(t, s.RecordHealth(t.Context(), []store.HealthChange{c})) // was seen before the PUT
		wantHealth(t, s, w.Health)
		want := []store.HealthChange{{AccountID: "a", WebhookID: w.ID, Version: 2, Number: 2, From: store.HealthProbing, To: store.HealthHealthy, At: at(time.Hour)}}
		if diff := cmp.Diff(want, l.health); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
	t.Run("a rotation does not", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		c := change(t, s, store.HealthSlowed, at(time.Minute))
		_, err := s.RotateSecret(t.Context(), "a", []byte("new"), at(24*time.Hour), at(time.Hour))
		must(t, err)
		wantHealth(t, s, store.Health{State: store.HealthSlowed, Since: at(time.Minute), Version: 1})
		c.To = store.HealthFailing
		must(t, s.RecordHealth(t.Context(), []store.HealthChange{c})) // was seen before the rotation
		wantHealth(t, s, store.Health{State: store.HealthFailing, Since: at(time.Minute), Version: 1})
	})
	t.Run("a suspension is a change", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		w, err := s.Webhook(t.Context(), "a")
		must(t, err)
		must(t, s.SuspendWebhook(t.Context(), w, at(time.Minute)))
		wantHealth(t, s, store.Health{State: store.HealthSuspended, Since: at(time.Minute), Version: 2})
		if got := changes(t, s); len(got) != 1 || got[0].To != store.HealthSuspended {
			t.Errorf("changes %+v, want that to SUSPENDED", got)
		}
	})
	t.Run("the next webhook has none of them", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		c := change(t, s, store.HealthFailing, at(time.Minute))
		must(t, s.DeleteWebhook(t.Context(), "a", at(time.Hour)))
		must(t, s.RecordHealth(t.Context(), []store.HealthChange{c}))
		_, err := s.CreateWebhook(t.Context(), hook("a"))
		must(t, err)
		must(t, s.RecordHealth(t.Context(), []store.HealthChange{c})) // was seen of the other
		wantHealth(t, s, store.Health{State: store.HealthHealthy, Since: t0, Version: 1})
		if n := len(changes(t, s)); n != 0 {
			t.Errorf("%d changes, want none", n)
		}
	})
	t.Run("an erasure removes them", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		change(t, s, store.HealthFailing, at(time.Minute))
		must(t, s.DeleteAccount(t.Context(), "a"))
		ready(t, s, "a")
		if n := len(changes(t, s)); n != 0 {
			t.Errorf("%d changes, want none", n)
		}
	})
	t.Run("the newest are kept, and listed by pages", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		const more = 5
		for i := range store.MaxHealthChanges + more {
			change(t, s, []store.HealthState{store.HealthFailing, store.HealthHealthy}[i%2], at(time.Duration(i)*time.Second))
		}
		if got := changes(t, s); len(got) != store.MaxHealthChanges || got[0].Number != store.MaxHealthChanges+more {
			t.Errorf("%d changes from number %d, want %d from %d", len(got), got[0].Number, store.MaxHealthChanges, store.MaxHealthChanges+more)
		}
		var numbers []int64
		q := store.HealthChangeQuery{AccountID: "a", Limit: 400}
		for pages := 0; pages == 0 || q.Before > 0; pages++ {
			page, err := s.HealthChanges(t.Context(), q)
			must(t, err)
			for _, c := range page.Changes {
				numbers = append(numbers, c.Number)
			}
			q.Before = page.Next
		}
		if n := len(numbers); n != store.MaxHealthChanges || numbers[n-1] != more+1 {
			t.Errorf("%d changes by pages to number %d, want %d to %d", n, numbers[n-1], store.MaxHealthChanges, more+1)
		}
	})
}
