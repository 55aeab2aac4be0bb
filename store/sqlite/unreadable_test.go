package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

// others makes accounts "b", "c" … with a webhook each beside "a".
func others(t *testing.T, s *Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, _, err := s.PutAccount(t.Context(), id, now); err != nil {
			t.Fatal(err)
		}
		w := store.Webhook{AccountID: id, ID: "wh_" + id, CallbackURL: "https://b.example/", Status: store.Active, Secret: []byte("s"), CreatedAt: now, UpdatedAt: now}
		if _, err := s.CreateWebhook(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
}

func of(account, id string) store.Event {
	e := event(id)
	e.AccountID = account
	return e
}

// damage makes the secret of account "a" unreadable.
func damage(t *testing.T, s *Store) {
	t.Helper()
	err := s.w.do(t.Context(), func(tx *txn) error {
		return tx.exec(`UPDATE webhooks SET secret = x'07' WHERE account_id = 'a'`)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.cache.clear()
}

func TestRowThatCannotBeReadStopsNobodyElsesEvents(t *testing.T) {
	var log bytes.Buffer
	s := open(t, file(t), func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	withWebhook(t, s)
	others(t, s, "b")
	accept := func(want ...store.Verdict) {
		t.Helper()
		n := s.Stats().Deliveries[store.Pending]
		got, err := s.Accept(t.Context(), []store.Event{of("b", fmt.Sprint("e", n)), of("a", fmt.Sprint("e", n)), of("b", fmt.Sprint("f", n))}, now)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("verdicts (-want +got):\n%s", diff)
		}
	}
	accept(store.Accepted, store.Accepted, store.Accepted)
	damage(t, s)
	for range 3 {
		accept(store.Accepted, store.Unreadable, store.Accepted)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "account=a") {
		t.Errorf("the operator was told %d times, want once, with the account:\n%s", n, log.String())
	}

	// What others read goes on, too.
	ctx := t.Context()
	pending, err := s.PendingAccounts(ctx, "", 10)
	if diff := cmp.Diff([]string{"a", "b"}, pending); diff != "" || err != nil {
		t.Errorf("PendingAccounts: %v (-want +got):\n%s", err, diff)
	}
	b, err := s.Backlog(ctx, store.BacklogQuery{AccountID: "b", Now: now, Fresh: 100})
	if err != nil || len(b.Fresh) != 8 {
		t.Errorf("Backlog of b: %d, %v; want 8", len(b.Fresh), err)
	}
	if _, err := s.Backlog(ctx, store.BacklogQuery{AccountID: "a", Now: now, Fresh: 100}); !errors.Is(err, errUnreadable) {
		t.Errorf("Backlog of a: %v, want that it cannot be read", err)
	}
	if list, err := s.Deliveries(ctx, store.DeliveryQuery{AccountID: "a", Limit: 10}); err != nil || len(list.Deliveries) != 1 {
		t.Errorf("the history of a: %d deliveries, %v; want 1", len(list.Deliveries), err)
	}

	// The account itself gets out of it.
	if err := s.DeleteWebhook(ctx, "a", now); err != nil {
		t.Errorf("DeleteWebhook: %v", err)
	}
	w := store.Webhook{AccountID: "a", ID: "wh_2", CallbackURL: "https://a.example/", Status: store.Active, Secret: []byte("s"), CreatedAt: now, UpdatedAt: now}
	if _, err := s.CreateWebhook(ctx, w); err != nil {
		t.Errorf("CreateWebhook: %v", err)
	}
	accept(store.Accepted, store.Accepted, store.Accepted)
}

func TestAccountWithARowThatCannotBeReadIsErased(t *testing.T) {
	s := open(t, file(t))
	withWebhook(t, s)
	damage(t, s)
	if err := s.DeleteAccount(t.Context(), "a"); err != nil {
		t.Errorf("DeleteAccount: %v", err)
	}
	if _, err := s.Webhook(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Webhook: %v, want ErrNotFound", err)
	}
}

// What is done together in one commit does not fail together.
func TestOperationThatFailsUndoesOnlyItself(t *testing.T) {
	commits, failures := 0, 0
	s := open(t, file(t), func(c *Config) {
		c.OnCommit = func(c store.Commit) {
			commits++
			if c.Err != nil {
				failures++
			}
		}
	})
	withWebhook(t, s)
	others(t, s, "b", "c")
	damage(t, s)
	h := &handed{}
	s.Listen(h)

	var wg sync.WaitGroup
	blocked, release := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		_ = s.w.do(context.Background(), func(*txn) error { close(blocked); <-release; return nil })
	})
	<-blocked
	ctx := t.Context()
	fails := map[string]func() error{
		"ReplaceCallbackURL": func() error { _, err := s.ReplaceCallbackURL(ctx, "a", "https://a.example/", now); return err },
		"RotateSecret": func() error {
			_, err := s.RotateSecret(ctx, "a", []byte("s"), now, now)
			return err
		},
		"one that has written": func() error {
			return s.w.do(ctx, func(tx *txn) error {
				tx.totals.lastSeq += 1000
				return errors.Join(tx.exec(`DELETE FROM accounts`), tx.exec(`INSERT INTO accounts VALUES ('x', 'not a time')`))
			})
		},
	}
	goes := map[string]func() error{
		"Accept": func() error { _, err := s.Accept(ctx, []store.Event{of("b", "e1"), of("c", "e2")}, now); return err },
		"another Accept": func() error {
			v, err := s.Accept(ctx, []store.Event{of("c", "e3"), of("a", "e4")}, now)
			if diff := cmp.Diff([]store.Verdict{store.Accepted, store.Unreadable}, v); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			return err
		},
		"PutAccount":         func() error { _, _, err := s.PutAccount(ctx, "d", now); return err },
		"ReplaceCallbackURL": func() error { _, err := s.ReplaceCallbackURL(ctx, "b", "https://new.example/", now); return err },
	}
	before := commits
	for name, do := range fails {
		wg.Go(func() {
			if err := do(); err == nil || strings.Contains(err.Error(), "unknown") {
				t.Errorf("%s: %v, want an error that says that nothing was written", name, err)
			}
		})
	}
	for name, do := range goes {
		wg.Go(func() {
			if err := do(); err != nil {
				t.Errorf("%s: %v, want none", name, err)
			}
		})
	}
	for deadline := time.Now().Add(time.Minute); len(s.w.queue) < len(fails)+len(goes); {
		if time.Now().After(deadline) {
			t.Fatal("the operations do not wait for the writer")
		}
		time.Sleep(time.Millisecond)
	}
	close(release)
	wg.Wait()
	if failures > 0 || commits > before+2 {
		t.Errorf("%d commits, of which %d failed; want one for all and none failed", commits-before-1, failures)
	}
	if n := s.Stats().Deliveries[store.Pending]; n != 3 || len(h.deliveries) != 3 || h.n.Load() != 0 {
		t.Errorf("%d PENDING, %d told, %d times uncertain; want 3, 3 and never", n, len(h.deliveries), h.n.Load())
	}
	for _, d := range h.deliveries {
		if d.Seq > 3 {
			t.Errorf("%s has Seq %d, want none beyond 3", d.EventID, d.Seq)
		}
	}
	if _, err := s.Account(ctx, "b"); err != nil {
		t.Errorf("account b: %v, want it to be there", err)
	}
}

// Damage of a delivery's row is told to those who read it, and is no panic.
func TestDeliveryThatCannotBeRead(t *testing.T) {
	s := open(t, file(t))
	withWebhook(t, s)
	ctx := t.Context()
	h := &handed{}
	s.Listen(h)
	if _, err := s.Accept(ctx, []store.Event{event("e1"), event("e2")}, now); err != nil {
		t.Fatal(err)
	}
	done := store.Outcome{Delivery: h.deliveries[0], Attempt: &store.Attempt{Number: 1, At: now}, State: store.Delivered}
	err := errors.Join(s.Record(ctx, []store.Outcome{done}, now), s.w.do(ctx, func(tx *txn) error {
		return errors.Join(tx.exec(`UPDATE outcomes SET state = 77`), tx.exec(`UPDATE deliveries SET payload = x'' WHERE event_id = 'e2'`))
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"e1", "e2"} {
		if d, _, err := s.Delivery(ctx, "a", id); err == nil && !d.Damaged {
			t.Errorf("Delivery(%s): no error, want that it is damaged", id)
		}
	}
	if n, err := s.Sweep(ctx, now.Add(time.Hour), 0, 10); n != 1 || err != nil {
		t.Errorf("Sweep: %d, %v; want 1", n, err)
	}
}
