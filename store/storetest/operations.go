package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

// notices are what the platform has been told, the oldest first: of each the members
// that differ.
func notices(t *testing.T, s store.Store) (all []string) {
	t.Helper()
	page, err := s.Deliveries(t.Context(), store.DeliveryQuery{AccountID: store.Operations, OldestFirst: true, Limit: 100})
	must(t, err)
	for _, d := range page.Deliveries {
		var n struct {
			EventID, EventType, AccountID, Timestamp, CallbackHost string
			Deliveries, Sequence                                   int
			FailingSince, Error                                    string
			StatusCode                                             int
		}
		must(t, json.Unmarshal(d.Body, &n))
		if n.EventID != d.EventID || n.AccountID != d.MessageID {
			t.Errorf("event %s of message %s: its body has %s and %s", d.EventID, d.MessageID, n.EventID, n.AccountID)
		}
		text := fmt.Sprint(n.Sequence, " ", n.EventType, " ", n.AccountID, " ", n.Timestamp, " ", n.CallbackHost, " ", n.Deliveries)
		if more := fmt.Sprint(n.FailingSince, n.Error, n.StatusCode); more != "0" {
			text += " " + more
		}
		all = append(all, text)
	}
	return all
}

func wantNotices(t *testing.T, s store.Store, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, notices(t, s)); diff != "" {
		t.Errorf("the platform is told (-want +got):\n%s", diff)
	}
}

func registerPlatform(t *testing.T, s store.Store) {
	t.Helper()
	_, err := s.CreateWebhook(t.Context(), hook(store.Operations))
	must(t, err)
}

func testOperations(t *testing.T, open Opener) {
	giveUp := func(t *testing.T, s store.Store, now time.Time, ds ...store.Delivery) {
		t.Helper()
		for i := range ds {
			must(t, s.Record(t.Context(), []store.Outcome{{Delivery: &ds[i], State: store.Failed}}, now))
		}
	}
	notify := func(t *testing.T, s store.Store, now time.Time, want int) {
		t.Helper()
		if n, err := s.Notify(t.Context(), now, 10); err != nil || n != want {
			t.Errorf("Notify at %v: got %d, %v, want %d", now.Sub(t0), n, err, want)
		}
	}

	t.Run("changes of webhooks are told in their commit", func(t *testing.T) {
		s := open(t)
		heard := &listener{}
		s.Listen(heard)
		ready(t, s, "before")
		registerPlatform(t, s)
		ready(t, s, "a")
		_, err := s.ReplaceCallbackURL(t.Context(), "a", "https://x.example:8443/status?token=1", at(time.Second))
		must(t, err)
		_, err = s.RotateSecret(t.Context(), "a", store.NewSecret(), at(time.Hour), at(time.Second))
		must(t, err)
		w, err := s.Webhook(t.Context(), "a")
		must(t, err)
		must(t, s.SuspendWebhook(t.Context(), w, at(time.Second)))
		must(t, s.DeleteWebhook(t.Context(), "a", at(2*time.Second)))
		again := hook("a")
		again.CreatedAt = at(3 * time.Second)
		_, err = s.CreateWebhook(t.Context(), again)
		must(t, err)
		wantNotices(t, s,
			"1 WEBHOOK_REGISTERED a 2026-11-20T10:00:00.123Z a.example 0",
			"2 WEBHOOK_REPLACED a 2026-11-20T10:00:01.123Z x.example:8443 0",
			"3 ENDPOINT_SUSPENDED a 2026-11-20T10:00:01.123Z  0",
			"4 WEBHOOK_REMOVED a 2026-11-20T10:00:02.123Z  0",
			"5 WEBHOOK_REGISTERED a 2026-11-20T10:00:03.123Z a.example 0")
		if n := len(heard.accepted); n != 5 {
			t.Errorf("%d were handed over to the listener, want 5", n)
		}
	})

	t.Run("the platform's webhook is no account's", func(t *testing.T) {
		s := open(t)
		account(t, s, "a")
		registerPlatform(t, s)
		_, err := s.CreateWebhook(t.Context(), hook(store.Operations))
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("a second one: %v, want ErrConflict", err)
		}
		_, accountErr := s.Account(t.Context(), store.Operations)
		keyErr := s.AddAPIKey(t.Context(), store.APIKey{AccountID: store.Operations, ID: "key_1"})
		for what, err := range map[string]error{"Account": accountErr, "AddAPIKey": keyErr, "DeleteAccount": s.DeleteAccount(t.Context(), store.Operations)} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v, want ErrNotFound", what, err)
			}
		}
		page, err := s.Accounts(t.Context(), store.AccountQuery{Limit: 10, Now: at(time.Hour)})
		if err != nil || len(page.Accounts) != 1 {
			t.Errorf("Accounts: %v, %v, want a alone", page.Accounts, err)
		}
	})

	t.Run("deliveries given up are summed", func(t *testing.T) {
		s := open(t)
		registerPlatform(t, s)
		ready(t, s, "a", "b")
		told := notices(t, s)
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"), event("a", "e3", "m3"), event("b", "e4", "m4"))
		giveUp(t, s, at(time.Second), ds[:2]...)
		giveUp(t, s, at(40*time.Second), ds[3])
		_, err := s.Expire(t.Context(), "a", at(time.Second), at(2*time.Second), 10)
		must(t, err)
		notify(t, s, at(60*time.Second), 0)
		notify(t, s, at(61*time.Second), 1)
		notify(t, s, at(61*time.Second), 0)
		notify(t, s, at(100*time.Second), 1)
		wantNotices(t, s, append(told,
			"2 DELIVERY_GIVEN_UP a 2026-11-20T10:00:01.123Z  3",
			"2 DELIVERY_GIVEN_UP b 2026-11-20T10:00:40.123Z  1")...)
	})

	t.Run("an endpoint that fails for a minute is told of, and its end", func(t *testing.T) {
		s := open(t)
		registerPlatform(t, s)
		ready(t, s, "a", "b", "c")
		told := notices(t, s)
		change := func(account string, to store.HealthState, after time.Duration) {
			t.Helper()
			w, err := s.Webhook(t.Context(), account)
			must(t, err)
			c := store.HealthChange{AccountID: account, WebhookID: w.ID, Version: w.Version, To: to, At: at(after)}
			if to.Fails() {
				c.Error, c.StatusCode = store.HTTPStatus, 503
			}
			must(t, s.RecordHealth(t.Context(), []store.HealthChange{c}))
		}
		change("a", store.HealthSlowed, time.Second)
		change("a", store.HealthFailing, 2*time.Second)
		change("a", store.HealthProbing, 30*time.Second)
		change("b", store.HealthFailing, 2*time.Second)
		change("b", store.HealthHealthy, 61*time.Second) // a short one
		change("c", store.HealthFailing, 2*time.Second)
		notify(t, s, at(61*time.Second), 0)
		notify(t, s, at(62*time.Second), 2)
		notify(t, s, at(2*time.Hour), 0)
		change("a", store.HealthHealthy, 5*time.Minute)
		_, err := s.ReplaceCallbackURL(t.Context(), "c", "https://c.example/", at(6*time.Minute)) // begins anew
		must(t, err)
		change("c", store.HealthFailing, 7*time.Minute)
		change("c", store.HealthHealthy, 7*time.Minute+time.Second)
		notify(t, s, at(2*time.Hour), 0)
		wantNotices(t, s, append(told,
			"2 ENDPOINT_FAILING a 2026-11-20T10:00:02.123Z  0 HTTP_STATUS503",
			"2 ENDPOINT_FAILING c 2026-11-20T10:00:02.123Z  0 HTTP_STATUS503",
			"3 ENDPOINT_RECOVERED a 2026-11-20T10:05:00.123Z  0 2026-11-20T10:00:02.123Z0",
			"3 WEBHOOK_REPLACED c 2026-11-20T10:06:00.123Z c.example 0")...)
	})

	t.Run("nothing is told of the platform's webhook", func(t *testing.T) {
		s := open(t)
		registerPlatform(t, s)
		ready(t, s, "a")
		told := notices(t, s)
		d, _, err := s.Delivery(t.Context(), store.Operations, firstEvent(t, s))
		must(t, err)
		giveUp(t, s, at(time.Second), d)
		_, err = s.ReplaceCallbackURL(t.Context(), store.Operations, "https://y.example/", at(time.Second))
		must(t, err)
		notify(t, s, at(time.Hour), 0)
		wantNotices(t, s, told...)
	})

	t.Run("what was not told ends with whom it is for, and of", func(t *testing.T) {
		s := open(t)
		registerPlatform(t, s)
		ready(t, s, "a", "b")
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("b", "e2", "m2"), event("b", "e3", "m3"))
		giveUp(t, s, t0, ds[:2]...)
		must(t, s.DeleteAccount(t.Context(), "a"))
		notify(t, s, at(time.Hour), 1)
		giveUp(t, s, t0, ds[2])
		must(t, s.DeleteWebhook(t.Context(), store.Operations, t0))
		registerPlatform(t, s)
		notify(t, s, at(time.Hour), 0)
	})
}

func firstEvent(t *testing.T, s store.Store) string {
	t.Helper()
	page, err := s.Deliveries(t.Context(), store.DeliveryQuery{AccountID: store.Operations, OldestFirst: true, Limit: 1})
	must(t, err)
	return page.Deliveries[0].EventID
}
