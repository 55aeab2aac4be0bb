package postgres

import (
	"context"
	"errors"
	"flag"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/postgres/pgtest"
	"github.com/recapito/recapito/store/storetest"
)

// reopening is a store whose writer can be made to connect anew, as after a commit
// whose outcome is unknown.
type reopening struct{ *Store }

func (s reopening) Reopen() error {
	ctx := context.Background()
	if err := s.w.do(ctx, func(tx *txn) error { return tx.w.conn.Close(ctx) }); err == nil {
		return errors.New("a commit without a connection: got no error")
	}
	s.caughtUp()
	return s.w.do(ctx, (*txn).enterAll)
}

// caughtUp returns when the listener is told again of what the node accepts at once.
func (s *Store) caughtUp() {
	for behind := true; behind; time.Sleep(time.Millisecond) {
		s.telling.Lock()
		behind = s.streams.behind
		s.telling.Unlock()
	}
}

// enterAll enters all that is fresh, as time does.
func (tx *txn) enterAll() error { return tx.enter(tx.w.pos) }

// Damage puts what no secret is kept as in the place of the account's.
func (s reopening) Damage(account string) (repair func() error, err error) {
	var kept []byte
	put := func(secret []byte) error {
		defer s.cache.clear()
		return s.w.do(context.Background(), func(tx *txn) error {
			_, err := tx.exec(`UPDATE webhooks SET secret = $2 WHERE account = `+numberOf, account, secret)
			return err
		})
	}
	err = s.one(context.Background(), `SELECT secret FROM webhooks WHERE account = `+numberOf, []any{account}, &kept)
	return func() error { return put(kept) }, errors.Join(err, put([]byte{7}))
}

func TestModel(t *testing.T) {
	fewChecks(t, "10")
	storetest.RunModel(t, func(t *testing.T, q store.Quota) store.Store {
		return reopening{open(t, pgtest.Database(t), func(c *Config) { c.Quota = q })}
	})
}

// Two nodes answer as one does.
func TestModelOfTwoNodes(t *testing.T) {
	fewChecks(t, "4")
	storetest.RunModel(t, func(t *testing.T, q store.Quota) store.Store { return newPair(t, pgtest.Database(t), q) })
}

// fewChecks: each run makes a database, so there are fewer than rapid's 100 unless
// -rapid.checks asks for more.
func fewChecks(t *testing.T, n string) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	if f.Value.String() != f.DefValue {
		return
	}
	if err := f.Value.Set(n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(f.DefValue) }) // it was that
}
