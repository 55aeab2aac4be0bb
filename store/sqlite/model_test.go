package sqlite

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/storetest"
)

// reopening is a store whose writer can be made to read everything anew, as
// after a commit whose outcome is unknown.
type reopening struct{ *Store }

func (s reopening) Reopen() error {
	ctx := context.Background()
	if err := s.w.do(ctx, func(tx *txn) error { tx.w.damaged = true; return nil }); err != nil {
		return err
	}
	return s.w.do(ctx, func(*txn) error { return nil })
}

// Damage puts what no secret is kept as in the place of the account's.
func (s reopening) Damage(account string) (repair func() error, err error) {
	var kept []byte
	put := func(secret []byte) error {
		defer s.cache.clear()
		return s.w.do(context.Background(), func(tx *txn) error {
			return tx.exec(`UPDATE webhooks SET secret = ? WHERE account_id = ?`, secret, account)
		})
	}
	err = s.read.QueryRowContext(context.Background(), `SELECT secret FROM webhooks WHERE account_id = ?`, account).Scan(&kept)
	return func() error { return put(kept) }, errors.Join(err, put([]byte{7}))
}

// Each run makes a database file, so there are fewer than rapid's 100 unless
// -rapid.checks asks for more. The tail is small, that the table be used, too.
func TestModel(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("10"); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int{5, 100} {
		t.Run(fmt.Sprint("tail of ", size), func(t *testing.T) {
			storetest.RunModel(t, func(t *testing.T, q store.Quota) store.Store {
				return reopening{open(t, file(t), func(c *Config) { c.tailSize, c.Quota = size, q })}
			})
		})
	}
}
