package postgres

import (
	"context"
	"testing"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/postgres/pgtest"
	"github.com/recapito/recapito/store/storetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// open opens a store, which is closed at the end of the test.
func open(t *testing.T, url string, with ...func(*Config)) *Store {
	t.Helper()
	cfg := Config{URL: url}
	for _, set := range with {
		set(&cfg)
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.deaf {
		s.Listen(&listener{})
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, pgtest.Database(t)) })
	storetest.RunQuota(t, func(t *testing.T, q store.Quota) store.Store {
		return open(t, pgtest.Database(t), func(c *Config) { c.Quota = q })
	})
	storetest.RunScan(t, func(t *testing.T, rows int) store.Store {
		return open(t, pgtest.Database(t), func(c *Config) { c.scanRows = rows })
	})
}

func TestRekey(t *testing.T) {
	storetest.RunRekey(t, func(t *testing.T) storetest.Sealed {
		url := pgtest.Database(t)
		return func(t *testing.T, beside bool, keys ...[]byte) (store.Store, error) {
			s, err := Open(t.Context(), Config{URL: url, SecretKeys: keys, Shared: beside})
			if err != nil {
				return nil, err // not a nil *Store
			}
			return s, nil
		}
	})
}
