package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

// Sealed opens one store again and again, each time with these secret keys, the
// present one first; beside: while it is open already, as a command does.
type Sealed func(t *testing.T, beside bool, keys ...[]byte) (store.Store, error)

// RunRekey tests that a store that encrypts changes its secret key while it is open.
// make makes an empty store.
func RunRekey(t *testing.T, make func(t *testing.T) Sealed) {
	old, another, third := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{3}, 32)
	t.Run("the whole change", func(t *testing.T) { testKeyChange(t, make(t), old, another) })
	t.Run("not before the service has the new key", func(t *testing.T) { testRekeyTooEarly(t, make(t), old, another) })
	t.Run("interrupted", func(t *testing.T) { testRekeyInterrupted(t, make(t), old, another) })
	t.Run("keys that do not read everything", func(t *testing.T) { testKeysRefused(t, make(t), old, another, third) })
	t.Run("what was in clear", func(t *testing.T) { testRekeyOfClear(t, make(t), old) })
}

// secretsOf are what the store keeps encrypted of n accounts.
func secretsOf(t *testing.T, s store.Store, n int) (all []store.Webhook) {
	t.Helper()
	for i := range n {
		w, err := s.Webhook(t.Context(), fmt.Sprintf("acc_%03d", i))
		must(t, err)
		all = append(all, w)
	}
	return all
}

// sealedAccounts makes n accounts, of which each third has rotated its secret.
func sealedAccounts(t *testing.T, s store.Store, n int) {
	t.Helper()
	for i := range n {
		id := fmt.Sprintf("acc_%03d", i)
		ready(t, s, id)
		if i%3 == 0 {
			_, err := s.RotateSecret(t.Context(), id, store.NewSecret(), at(time.Hour), t0)
			must(t, err)
		}
	}
}

func opened(t *testing.T, open Sealed, beside bool, keys ...[]byte) store.Store {
	t.Helper()
	s, err := open(t, beside, keys...)
	must(t, err)
	return s
}

func rekey(t *testing.T, s store.Store) store.Rekeyed {
	t.Helper()
	var so store.Rekeyed
	must(t, s.(store.Encrypting).Rekey(t.Context(), func(now store.Rekeyed) { so = now }))
	return so
}

func testKeyChange(t *testing.T, open Sealed, old, another []byte) {
	const n = 250 // more than two pages
	s := opened(t, open, false, old)
	sealedAccounts(t, s, n)
	want := secretsOf(t, s, n)
	must(t, s.(store.Encrypting).SetSecretKeys(t.Context(), [][]byte{another, old}))
	ready(t, s, "new") // with the new key

	beside := opened(t, open, true, another, old)
	if diff := cmp.Diff(store.Rekeyed{Webhooks: n + 1, Looked: n + 1, Changed: n}, rekey(t, beside)); diff != "" {
		t.Errorf("Rekey (-want +got):\n%s", diff)
	}
	if got := rekey(t, beside); got.Changed != 0 {
		t.Errorf("Rekey again changes %d, want 0", got.Changed)
	}
	must(t, beside.Close())
	must(t, s.(store.Encrypting).SetSecretKeys(t.Context(), [][]byte{another}))
	if diff := cmp.Diff(want, secretsOf(t, s, n)); diff != "" {
		t.Errorf("webhooks afterwards, in the open store (-want +got):\n%s", diff)
	}
	must(t, s.Close())

	if _, err := open(t, false, old); !errors.Is(err, store.ErrSealed) {
		t.Errorf("with the old key: got %v, want ErrSealed", err)
	}
	s = opened(t, open, false, another)
	if diff := cmp.Diff(want, secretsOf(t, s, n)); diff != "" {
		t.Errorf("webhooks afterwards, with the new key alone (-want +got):\n%s", diff)
	}
	must(t, s.Close())
}

func testRekeyTooEarly(t *testing.T, open Sealed, old, another []byte) {
	s := opened(t, open, false, old)
	ready(t, s, "a")
	beside := opened(t, open, true, another, old)
	if err := beside.(store.Encrypting).Rekey(t.Context(), func(store.Rekeyed) {}); err == nil {
		t.Error("Rekey while the service encrypts with the old key: got no error")
	}
	must(t, s.(store.Encrypting).SetSecretKeys(t.Context(), [][]byte{another, old}))
	// The key is changed back and forth while Rekey runs.
	ready(t, s, "b")
	err := beside.(store.Encrypting).Rekey(t.Context(), func(store.Rekeyed) {
		must(t, s.(store.Encrypting).SetSecretKeys(t.Context(), [][]byte{old, another}))
		must(t, s.(store.Encrypting).SetSecretKeys(t.Context(), [][]byte{another, old}))
	})
	if err == nil {
		t.Error("Rekey while the service's key changes: got no error")
	}
	if err := s.(store.Encrypting).SetSecretKeys(t.Context(), [][]byte{another}); !errors.Is(err, store.ErrSealed) {
		t.Errorf("the new key alone, before Rekey has ended: got %v, want ErrSealed", err)
	}
	must(t, beside.Close())
	must(t, s.Close())
}

func testRekeyInterrupted(t *testing.T, open Sealed, old, another []byte) {
	const n = 250
	s := opened(t, open, false, old)
	sealedAccounts(t, s, n)
	want := secretsOf(t, s, n)
	must(t, s.(store.Encrypting).SetSecretKeys(t.Context(), [][]byte{another, old}))
	ctx, interrupt := context.WithCancel(t.Context())
	var so store.Rekeyed
	err := s.(store.Encrypting).Rekey(ctx, func(now store.Rekeyed) {
		so = now
		interrupt()
	})
	if err == nil || so.Changed == 0 || so.Changed == n {
		t.Fatalf("Rekey: got %v after %d of %d, want it interrupted between", err, so.Changed, n)
	}
	must(t, s.Close())
	if _, err := open(t, false, another); !errors.Is(err, store.ErrSealed) {
		t.Errorf("with the new key alone: got %v, want ErrSealed", err)
	}
	s = opened(t, open, false, another, old)
	if got := rekey(t, s).Changed; got != n-so.Changed {
		t.Errorf("Rekey again changes %d, want the other %d", got, n-so.Changed)
	}
	must(t, s.Close())
	s = opened(t, open, false, another)
	if diff := cmp.Diff(want, secretsOf(t, s, n)); diff != "" {
		t.Errorf("webhooks afterwards (-want +got):\n%s", diff)
	}
	must(t, s.Close())
}

// testKeysRefused: what is refused changes nothing.
func testKeysRefused(t *testing.T, open Sealed, old, another, third []byte) {
	s := opened(t, open, false, old)
	ready(t, s, "a")
	must(t, s.(store.Encrypting).SetSecretKeys(t.Context(), [][]byte{another, old}))
	for name, keys := range map[string][][]byte{"none": nil, "the old one": {old}, "the new one": {another}, "the old one is missing": {third, another}, "the new one is missing": {third, old}} {
		if err := s.(store.Encrypting).SetSecretKeys(t.Context(), keys); !errors.Is(err, store.ErrSealed) {
			t.Errorf("keys: %s: got %v, want ErrSealed", name, err)
		}
	}
	ready(t, s, "b")
	want := []store.Webhook{}
	for _, id := range []string{"a", "b"} {
		w, err := s.Webhook(t.Context(), id)
		must(t, err)
		want = append(want, w)
	}
	must(t, s.Close())
	s = opened(t, open, false, old, another) // the other way round: back to the old one
	if got := rekey(t, s); got.Changed != 1 {
		t.Errorf("Rekey back to the old key changes %d, want 1", got.Changed)
	}
	must(t, s.Close())
	s = opened(t, open, false, old)
	for i, id := range []string{"a", "b"} {
		w, err := s.Webhook(t.Context(), id)
		must(t, err)
		if diff := cmp.Diff(want[i], w); diff != "" {
			t.Errorf("webhook of %s (-want +got):\n%s", id, diff)
		}
	}
	must(t, s.Close())
}

func testRekeyOfClear(t *testing.T, open Sealed, key []byte) {
	const n = 4
	s := opened(t, open, false)
	sealedAccounts(t, s, n)
	want := secretsOf(t, s, n)
	if err := s.(store.Encrypting).Rekey(t.Context(), func(store.Rekeyed) {}); err == nil {
		t.Error("Rekey without a key: got no error")
	}
	must(t, s.(store.Encrypting).SetSecretKeys(t.Context(), [][]byte{key}))
	if got := rekey(t, s); got.Changed != n {
		t.Errorf("Rekey changes %d, want %d", got.Changed, n)
	}
	must(t, s.Close())
	s = opened(t, open, false, key)
	if diff := cmp.Diff(want, secretsOf(t, s, n)); diff != "" {
		t.Errorf("webhooks afterwards (-want +got):\n%s", diff)
	}
	must(t, s.Close())
}
