package sqlite

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/store"
)

func addKey(t *testing.T, s *Store, id string) store.KeyHash {
	t.Helper()
	hash := store.HashKey(id)
	if err := s.AddAPIKey(t.Context(), store.APIKey{Hash: hash, ID: id, AccountID: "a", Hint: "x", CreatedAt: now}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.APIKeyByHash(t.Context(), hash); err != nil { // now it is cached
		t.Fatal(err)
	}
	return hash
}

func TestRevokedKeyEndsAtOnce(t *testing.T) {
	s := open(t, file(t))
	withWebhook(t, s)
	one, two := addKey(t, s, "one"), addKey(t, s, "two")
	if err := s.RevokeAPIKey(t.Context(), "a", "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.APIKeyByHash(t.Context(), one); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a revoked key: %v, want ErrNotFound", err)
	}
	if err := s.DeleteAccount(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.APIKeyByHash(t.Context(), two); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a key of an erased account: %v, want ErrNotFound", err)
	}
}

// What was read before a change must not be cached after it.
func TestReadOvertakenByAChangeIsNotCached(t *testing.T) {
	c := newCache()
	w := &store.Webhook{AccountID: "a", Version: 1}
	_, changes := c.webhook("a")
	tx := &txn{webhooks: map[string]*store.Webhook{"a": {AccountID: "a", Version: 2}}}
	c.apply(tx)
	c.keepWebhook(w, changes)
	if got, _ := c.webhook("a"); got == nil || got.Version != 2 {
		t.Errorf("cached %+v, want version 2", got)
	}
	_, _, changes = c.key(store.KeyHash{1})
	c.apply(&txn{keysChanged: true})
	c.keepKey(store.APIKey{Hash: store.KeyHash{1}}, changes)
	if _, ok, _ := c.key(store.KeyHash{1}); ok {
		t.Error("a key read before a revocation is cached after it")
	}
}

// A key that was revoked beside an idle service is valid for OthersGap at most, as the
// command says.
func TestKeyRevokedBesideTheServiceEnds(t *testing.T) {
	path := file(t)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path)
		withWebhook(t, s)
		hash := addKey(t, s, "one")
		beside := open(t, path, func(c *Config) { c.Shared = true })
		if err := beside.RevokeAPIKey(t.Context(), "a", "one"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.APIKeyByHash(t.Context(), hash); err != nil {
			t.Errorf("at once: %v, want that it is kept", err)
		}
		time.Sleep(OthersGap)
		synctest.Wait()
		if _, err := s.APIKeyByHash(t.Context(), hash); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("after %v: %v, want ErrNotFound", OthersGap, err)
		}
	})
}
