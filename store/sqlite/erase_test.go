package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
)

// remains counts the texts that the store's files hold.
func remains(t *testing.T, path string, texts []string) (n int, first string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if bytes.Contains(content, []byte(text)) {
				n++
				first = text + " in the file" + suffix
			}
		}
	}
	return n, first
}

// mixed accepts events of two accounts, delivers some, fails some and sweeps
// some, so that rows and pages are moved and freed. It returns what "a" had.
func mixed(t *testing.T, s *Store, events int) (secrets, ids []string) {
	t.Helper()
	ctx := t.Context()
	withWebhook(t, s)
	others(t, s, "b")
	secrets = append(secrets, "a secret that is to be found", "token=to be found")
	for i := range events {
		var batch []store.Event
		for _, account := range []string{"a", "b"} {
			e := of(account, fmt.Sprintf("%s-event-%05d.", account, i))
			e.MessageID = fmt.Sprintf("%s-message-%05d.", account, i/3)
			e.Payload = fmt.Appendf(nil, `{"destination":"%s-number-%05d.","pad":"%s"}`, account, i, bytes.Repeat([]byte("x"), i%700))
			batch = append(batch, e)
		}
		secrets = append(secrets, fmt.Sprintf("a-number-%05d.", i), fmt.Sprintf("a-answer-%05d.", i))
		ids = append(ids, fmt.Sprintf("a-event-%05d.", i))
		if _, err := s.Accept(ctx, batch, now); err != nil {
			t.Fatal(err)
		}
		if i%20 != 19 {
			continue
		}
		for _, account := range []string{"a", "b"} {
			b, err := s.Backlog(ctx, store.BacklogQuery{AccountID: account, Now: now, Fresh: 20})
			if err != nil {
				t.Fatal(err)
			}
			var outcomes []store.Outcome
			for j := range b.Fresh {
				o := store.Outcome{Delivery: &b.Fresh[j], State: store.Failed, Attempt: &store.Attempt{Number: 1, At: now, Error: store.HTTPStatus, StatusCode: 500,
					Response: fmt.Appendf(nil, "%s-answer-%05d.", account, i-19+j)}}
				if j%3 == 0 {
					o.State = store.Pending
					o.DueAt = now.AddDate(0, 0, 1)
				}
				outcomes = append(outcomes, o)
			}
			if err := s.Record(ctx, outcomes, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	return secrets, ids
}

func TestErasedAccountLeavesNothing(t *testing.T) {
	path := file(t)
	s := open(t, path, smallLog, func(c *Config) { c.tailSize = 64 })
	secrets, ids := mixed(t, s, 600)
	if n, _ := remains(t, path, secrets); n < len(secrets)-20 {
		t.Fatalf("%d texts of %d are there before, want all", n, len(secrets))
	}
	if err := s.DeleteAccount(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if n, first := remains(t, path, secrets); n != 0 {
		t.Errorf("%d texts of %d remain, such as %s", n, len(secrets), first)
	}
	// SQLite leaves parts of index pages as they were when it divides them.
	if n, first := remains(t, path, ids); n > len(ids)/100 {
		t.Errorf("%d ids of %d remain, such as %s; want one in a hundred at most", n, len(ids), first)
	}
	if err := checkTables(s); err != nil {
		t.Error(err)
	}
	if got := s.Stats().Deliveries[store.Pending] + s.Stats().Deliveries[store.Failed]; got != 600 {
		t.Errorf("%d deliveries are held, want the 600 of the other account", got)
	}
}

// leaving is a caller that leaves once the erasure has begun.
type leaving struct {
	uncertain
	leave func()
}

func (l *leaving) WebhookChanged(string, *store.Webhook) { l.leave() }

// An erasure whose caller leaves goes on, and so does one whose process ended.
func TestErasureGoesOnWithoutItsCaller(t *testing.T) {
	gone := func(t *testing.T, s *Store) {
		t.Helper()
		await(t, "the end of the erasure", func() bool {
			var left int
			err := s.read.QueryRow(`SELECT (SELECT count(*) FROM erasing) + (SELECT count(*) FROM deliveries WHERE account_id = 'a') + (SELECT count(*) FROM accounts WHERE id = 'a')`).Scan(&left)
			return err == nil && left == 0
		})
		if got := s.Stats().Deliveries; got[store.Pending]+got[store.Failed] != eraseRows+20 {
			t.Errorf("held: %v, want the %d of the other account", got, eraseRows+20)
		}
	}
	t.Run("caller leaves", func(t *testing.T) {
		s := open(t, file(t))
		mixed(t, s, eraseRows+20)
		ctx, leave := context.WithCancel(t.Context())
		s.Listen(&leaving{leave: leave})
		if err := s.DeleteAccount(ctx, "a"); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		gone(t, s)
	})
	t.Run("process ends", func(t *testing.T) {
		path := file(t)
		s := open(t, path)
		mixed(t, s, eraseRows+20)
		begun := s.w.do(t.Context(), func(tx *txn) error { return tx.beginErasing("a") })
		if err := errors.Join(begun, s.Close()); err != nil {
			t.Fatal(err)
		}
		gone(t, open(t, path))
	})
	t.Run("commit fails and has happened", func(t *testing.T) {
		s := open(t, file(t))
		mixed(t, s, eraseRows+20)
		failed := s.w.do(t.Context(), func(tx *txn) error {
			return errors.Join(tx.beginErasing("a"), tx.exec(`COMMIT`)) // so that the writer's own fails
		})
		if failed == nil {
			t.Fatal("the commit did not fail")
		}
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		gone(t, s)
	})
}

// An account that is being erased does not exist, and is not made anew before its
// erasure has ended: what was made of it would be erased as well.
func TestAccountIsNotMadeAnewWhileItIsErased(t *testing.T) {
	path := file(t)
	s := open(t, path)
	withWebhook(t, s)
	acceptMore(t, s, "e", 1)
	ctx := t.Context()
	if err := s.w.do(ctx, func(tx *txn) error { return tx.beginErasing("a") }); err != nil { // and its caller leaves
		t.Fatal(err)
	}
	_, accountErr := s.Account(ctx, "a")
	_, keysErr := s.APIKeys(ctx, "a")
	_, hookErr := s.CreateWebhook(ctx, store.Webhook{AccountID: "a", ID: "wh_2"})
	_, _, putErr := s.PutAccount(ctx, "a", now)
	for _, c := range []struct {
		name      string
		got, want error
	}{
		{"Account", accountErr, store.ErrNotFound},
		{"APIKeys", keysErr, store.ErrNotFound},
		{"AddAPIKey", s.AddAPIKey(ctx, store.APIKey{AccountID: "a", ID: "key_2"}), store.ErrNotFound},
		{"CreateWebhook", hookErr, store.ErrNotFound},
		{"PutAccount", putErr, store.ErrErasing},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s while the account is erased: %v, want %v", c.name, c.got, c.want)
		}
	}
	if v, err := s.Accept(ctx, []store.Event{of("a", "e2")}, now); err != nil || v[0] != store.UnknownAccount {
		t.Errorf("an event while the account is erased: %v, %v; want UnknownAccount", v, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path) // the erasure goes on
	await(t, "the account to be made anew", func() bool {
		_, created, err := s.PutAccount(ctx, "a", now)
		if err == nil && !created || err != nil && !errors.Is(err, store.ErrErasing) {
			t.Fatalf("PutAccount: created %v, %v; want it made, or ErrErasing", created, err)
		}
		return created
	})
	withWebhook(t, s)
	acceptMore(t, s, "e", 1)
	if err := s.eraseAccount("a"); err != nil { // of a second caller, that comes late
		t.Fatal(err)
	}
	if _, err := s.Account(ctx, "a"); err != nil {
		t.Errorf("the new account: %v", err)
	}
	if n := s.Stats().Deliveries[store.Pending]; n != 1 {
		t.Errorf("%d deliveries are held, want that of the new account", n)
	}
}

// A reader that takes its time delays an erasure, and does not fail it.
func TestErasureWaitsForAReader(t *testing.T) {
	s := open(t, file(t))
	withWebhook(t, s)
	end := s.readers.begin()
	time.AfterFunc(4*readersWait, end)
	if err := s.DeleteAccount(t.Context(), "a"); err != nil {
		t.Errorf("DeleteAccount beside a reader: %v", err)
	}
}
