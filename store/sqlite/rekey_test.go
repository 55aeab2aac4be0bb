package sqlite

import (
	"bytes"
	"testing"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/storetest"
)

func TestRekey(t *testing.T) {
	storetest.RunRekey(t, func(t *testing.T) storetest.Sealed {
		path := file(t)
		return func(t *testing.T, beside bool, keys ...[]byte) (store.Store, error) {
			s, err := Open(t.Context(), Config{Path: path, SecretKeys: keys, Shared: beside})
			if err != nil {
				return nil, err // not a nil *Store
			}
			return s, nil
		}
	})
}

// What was in clear is nowhere in the files after it has been encrypted.
func TestRekeyLeavesNothingInClear(t *testing.T) {
	path := file(t)
	s := open(t, path)
	withWebhook(t, s)
	if err := s.SetSecretKeys(t.Context(), [][]byte{bytes.Repeat([]byte{1}, 32)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Rekey(t.Context(), func(store.Rekeyed) {}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantNothingToBeFound(t, path)
}
