package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

func testAccounts(t *testing.T, open Opener) {
	t.Run("put is idempotent", func(t *testing.T) {
		s := open(t)
		a, created, err := s.PutAccount(t.Context(), "a", t0)
		must(t, err)
		if want := (store.Account{ID: "a", CreatedAt: t0}); !created || !cmp.Equal(a, want) {
			t.Errorf("first: %+v, created %v; want %+v, true", a, created, want)
		}
		b, created, err := s.PutAccount(t.Context(), "a", at(time.Hour))
		must(t, err)
		if created || !cmp.Equal(a, b) {
			t.Errorf("second: %+v, created %v; want %+v, false", b, created, a)
		}
		got, err := s.Account(t.Context(), "a")
		must(t, err)
		if !cmp.Equal(got, a) {
			t.Errorf("Account: %+v, want %+v", got, a)
		}
	})
	t.Run("listed in order, by prefix, in pages", func(t *testing.T) {
		s := open(t)
		account(t, s, "b", "a:2", "a", "a.1", "ab", "A", "~z", "a~", "c")
		for _, tt := range []struct{ prefix, want string }{
			{"", " A a a.1 a:2 ab a~ b c ~z"}, {"a", " a a.1 a:2 ab a~"}, {"a:", " a:2"}, {"a~", " a~"}, {"x", ""}, {"~", " ~z"}, {"b", " b"},
		} {
			for limit := 1; limit < 11; limit++ {
				got, q := "", store.AccountQuery{Prefix: tt.prefix, Limit: limit, Now: t0}
				for {
					page, err := s.Accounts(t.Context(), q)
					must(t, err)
					for _, a := range page.Accounts {
						if got += " " + a.ID; !a.CreatedAt.Equal(t0) {
							t.Errorf("%s was made at %v, want %v", a.ID, a.CreatedAt, t0)
						}
					}
					if len(page.Accounts) > limit {
						t.Errorf("prefix %q: a page of %d, want at most %d", tt.prefix, len(page.Accounts), limit)
					}
					if q.After = page.Next; page.Next == (store.AccountPlace{}) {
						break
					}
				}
				if got != tt.want {
					t.Errorf("prefix %q, limit %d: got%s, want%s", tt.prefix, limit, got, tt.want)
				}
			}
		}
		must(t, s.DeleteAccount(t.Context(), "a"))
		page, err := s.Accounts(t.Context(), store.AccountQuery{Prefix: "a", Limit: 1, Now: t0})
		must(t, err)
		if len(page.Accounts) != 1 || page.Accounts[0].ID != "a.1" || page.Next.ID != "a.1" {
			t.Errorf("after a was erased: got %+v, want a.1 and more", page)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		s := open(t)
		if _, err := s.Account(t.Context(), "x"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Account: %v, want ErrNotFound", err)
		}
		if err := s.DeleteAccount(t.Context(), "x"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("DeleteAccount: %v, want ErrNotFound", err)
		}
	})
	t.Run("delete erases all of it and nothing else", func(t *testing.T) {
		s := open(t)
		l := &listener{}
		s.Listen(l)
		ready(t, s, "a", "b")
		key := store.APIKey{AccountID: "a", ID: "key_1", Hash: store.HashKey("k"), CreatedAt: t0}
		must(t, s.AddAPIKey(t.Context(), key))
		var events []store.Event
		for i := range 1500 {
			events = append(events, event("a", fmt.Sprint("e", i), fmt.Sprint("m", i)))
		}
		accept(t, s, t0, append(events, event("b", "e1", "m"))...)
		must(t, s.DeleteAccount(t.Context(), "a"))
		_, keyErr := s.APIKeyByHash(t.Context(), key.Hash)
		_, hookErr := s.Webhook(t.Context(), "a")
		_, accountErr := s.Account(t.Context(), "a")
		_, _, deliveryErr := s.Delivery(t.Context(), "a", events[0].ID)
		for _, err := range []error{keyErr, hookErr, accountErr, deliveryErr} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("after the deletion: %v, want ErrNotFound", err)
			}
		}
		wantTotals(t, s, 1, 0, 0, 0)
		if n := len(l.changes); n == 0 || l.changes[n-1] != "a none" {
			t.Errorf("the listener was told %v, want the last to be that a has no webhook", l.changes)
		}
		account(t, s, "a")
		if _, err := s.Webhook(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("webhook of the account made anew: %v, want ErrNotFound", err)
		}
	})
	t.Run("an account is made anew when the old one is erased, whose caller has left", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		var events []store.Event
		for i := range 2500 {
			events = append(events, event("a", fmt.Sprint("e", i), fmt.Sprint("m", i)))
		}
		_, err := s.Accept(t.Context(), events, t0)
		must(t, err)
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		s.Listen(&leaving{leave: leave})
		if err := s.DeleteAccount(ctx, "a"); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := s.Account(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Account: %v, want ErrNotFound", err)
		}
		for deadline := time.Now().Add(time.Minute); ; {
			_, created, err := s.PutAccount(t.Context(), "a", t0)
			if err == nil && created {
				break
			}
			if !errors.Is(err, store.ErrErasing) || time.Now().After(deadline) {
				t.Fatalf("PutAccount: created %v, %v; want it made within a minute, ErrErasing before", created, err)
			}
		}
		ready(t, s, "a")
		accept(t, s, t0, event("a", "e1", "m"))
		wantTotals(t, s, 1, 0, 0, 0)
	})
}

// leaving is a caller that leaves once its account has lost its webhook.
type leaving struct {
	listener
	leave func()
}

func (l *leaving) WebhookChanged(_ string, w *store.Webhook) {
	if w == nil {
		l.leave()
	}
}

func testAPIKeys(t *testing.T, open Opener) {
	key := func(account, id, text string) store.APIKey {
		return store.APIKey{AccountID: account, ID: id, Hash: store.HashKey(text), Hint: "abcd", CreatedAt: t0}
	}
	t.Run("those that have expired go when one is added", func(t *testing.T) {
		s := open(t)
		account(t, s, "a", "b")
		for i, until := range []time.Time{{}, at(time.Minute), at(time.Hour)} {
			for _, id := range []string{"a", "b"} {
				k := key(id, fmt.Sprint("key_", i), fmt.Sprint(id, i))
				k.ExpiresAt = until
				must(t, s.AddAPIKey(t.Context(), k))
				_, err := s.APIKeyByHash(t.Context(), k.Hash) // one may remember it
				must(t, err)
			}
		}
		last := key("a", "key_9", "last")
		last.CreatedAt = at(time.Minute)
		must(t, s.AddAPIKey(t.Context(), last))
		for id, want := range map[string]string{"a": "key_0 key_2 key_9", "b": "key_0 key_1 key_2"} {
			all, err := s.APIKeys(t.Context(), id)
			must(t, err)
			var ids []string
			for _, k := range all {
				ids = append(ids, k.ID)
			}
			if got := strings.Join(ids, " "); got != want {
				t.Errorf("the keys of %s are %s, want %s", id, got, want)
			}
		}
	})
	t.Run("add, find, list, revoke", func(t *testing.T) {
		s := open(t)
		account(t, s, "a", "b")
		one, two := key("a", "key_1", "one"), key("a", "key_2", "two")
		two.CreatedAt, two.ExpiresAt = at(time.Second), at(time.Minute)
		must(t, s.AddAPIKey(t.Context(), one))
		must(t, s.AddAPIKey(t.Context(), two))
		got, err := s.APIKeyByHash(t.Context(), one.Hash)
		must(t, err)
		if diff := cmp.Diff(one, got); diff != "" {
			t.Errorf("APIKeyByHash (-want +got):\n%s", diff)
		}
		list, err := s.APIKeys(t.Context(), "a")
		must(t, err)
		if diff := cmp.Diff([]store.APIKey{one, two}, list); diff != "" {
			t.Errorf("APIKeys (-want +got):\n%s", diff)
		}
		if err := s.RevokeAPIKey(t.Context(), "b", "key_1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("revoking another account's key: %v, want ErrNotFound", err)
		}
		must(t, s.RevokeAPIKey(t.Context(), "a", "key_1"))
		if _, err := s.APIKeyByHash(t.Context(), one.Hash); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a revoked key: %v, want ErrNotFound", err)
		}
		if err := s.RevokeAPIKey(t.Context(), "a", "key_1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("revoking again: %v, want ErrNotFound", err)
		}
	})
	for _, tt := range []struct {
		name string
		add  store.APIKey
		want error
	}{
		{"known digest of the same account", key("a", "key_2", "one"), store.ErrConflict},
		{"known digest of another account", key("b", "key_2", "one"), store.ErrConflict},
		{"unknown account", key("x", "key_2", "two"), store.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			account(t, s, "a", "b")
			must(t, s.AddAPIKey(t.Context(), key("a", "key_1", "one")))
			if err := s.AddAPIKey(t.Context(), tt.add); !errors.Is(err, tt.want) {
				t.Errorf("AddAPIKey: %v, want %v", err, tt.want)
			}
		})
	}
	t.Run("list of an unknown account", func(t *testing.T) {
		if _, err := open(t).APIKeys(t.Context(), "x"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("APIKeys: %v, want ErrNotFound", err)
		}
	})
}
