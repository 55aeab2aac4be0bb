// Package storetest is the conformance suite of package store: what every
// implementation must do, one file an interface.
//
// It promises that a store that passes can replace another. It leaves out what
// differs between them: durability, files, speed.
package storetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

// Opener returns an empty store and registers its own cleanup.
type Opener func(t *testing.T) store.Store

// Run runs the suite.
func Run(t *testing.T, open Opener) {
	t.Run("Accounts", func(t *testing.T) { testAccounts(t, open) })
	t.Run("AccountList", func(t *testing.T) { testAccountList(t, open) })
	t.Run("APIKeys", func(t *testing.T) { testAPIKeys(t, open) })
	t.Run("Webhooks", func(t *testing.T) { testWebhooks(t, open) })
	t.Run("Intake", func(t *testing.T) { testIntake(t, open) })
	t.Run("Queue", func(t *testing.T) { testQueue(t, open) })
	t.Run("Order", func(t *testing.T) { testOrder(t, open) })
	t.Run("Health", func(t *testing.T) { testHealth(t, open) })
	t.Run("Vitals", func(t *testing.T) { testVitals(t, open) })
	t.Run("History", func(t *testing.T) { testHistory(t, open) })
	t.Run("Feed", func(t *testing.T) { testFeed(t, open) })
	t.Run("Replays", func(t *testing.T) { testReplays(t, open) })
	t.Run("BulkReplays", func(t *testing.T) { testBulkReplays(t, open) })
	t.Run("ReplayGroups", func(t *testing.T) { testReplayGroups(t, open) })
	t.Run("Operations", func(t *testing.T) { testOperations(t, open) })
	t.Run("Rest", func(t *testing.T) { testRest(t, open) })
}

// t0 is when the tests begin; times are arguments.
var t0 = time.Date(2026, 11, 20, 10, 0, 0, 123456000, time.UTC)

func at(d time.Duration) time.Time { return t0.Add(d) }

// listener records what it is told.
type listener struct {
	mu       sync.Mutex
	accepted []store.Acceptance
	changes  []string
	health   []store.HealthChange
}

func (l *listener) Accepted(batch []store.Acceptance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted = append(l.accepted, batch...)
}

func (l *listener) WebhookChanged(accountID string, w *store.Webhook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w == nil {
		l.changes = append(l.changes, accountID+" none")
		return
	}
	l.changes = append(l.changes, fmt.Sprintf("%s %s %s %d", accountID, w.CallbackURL, w.Status, w.Version))
}

func (l *listener) Replayed(w *store.Webhook, seqs []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes = append(l.changes, fmt.Sprint(w.AccountID, " again ", seqs))
}

func (l *listener) ReplayStarted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes = append(l.changes, "a replay started")
}

func (l *listener) HealthChanged(changes []store.HealthChange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.health = append(l.health, changes...)
}

func (l *listener) Uncertain([]string) {}
func (l *listener) Gained()            {}
func (l *listener) Freed([]string)     {}

func (l *listener) Lost(func(string) bool) (<-chan struct{}, func() []string) {
	return nil, func() []string { return nil }
}

// must fails the test at once.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func account(t *testing.T, s store.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		_, _, err := s.PutAccount(t.Context(), id, t0)
		must(t, err)
	}
}

func hook(accountID string) store.Webhook {
	return store.Webhook{
		AccountID: accountID, ID: store.NewID("wh_"), CallbackURL: "https://" + accountID + ".example/", Status: store.Active,
		Secret: store.NewSecret(), CreatedAt: t0, UpdatedAt: t0,
	}
}

// ready makes accounts with a webhook each.
func ready(t *testing.T, s store.Store, ids ...string) {
	t.Helper()
	account(t, s, ids...)
	for _, id := range ids {
		_, err := s.CreateWebhook(t.Context(), hook(id))
		must(t, err)
	}
}

func event(accountID, id, message string) store.Event {
	return store.Event{AccountID: accountID, ID: id, MessageID: message, Channel: "SMS", Payload: []byte(`{"id":"` + id + `"}`)}
}

// accept hands in events of account "a", "id/message" each, and returns their
// deliveries in order.
func accept(t *testing.T, s store.Store, now time.Time, events ...store.Event) []store.Delivery {
	t.Helper()
	verdicts, err := s.Accept(t.Context(), events, now)
	must(t, err)
	out := make([]store.Delivery, len(events))
	for i, v := range verdicts {
		if v != store.Accepted {
			t.Fatalf("event %s: verdict %d, want Accepted", events[i].ID, v)
		}
		d, _, err := s.Delivery(t.Context(), events[i].AccountID, events[i].ID)
		must(t, err)
		out[i] = d
	}
	return out
}

func ids(ds []store.Delivery) string {
	var out strings.Builder
	for _, d := range ds {
		out.WriteString(" " + d.EventID)
		if d.Behind.Any() {
			out.WriteByte('+')
		}
		if d.Behind.PutOff > 0 {
			out.WriteByte('+')
		}
	}
	return out.String()
}

func wantIDs(t *testing.T, what string, ds []store.Delivery, want string) {
	t.Helper()
	if got := ids(ds); got != want {
		t.Errorf("%s: got%s, want%s (+ is behind, ++ behind one put off)", what, got, want)
	}
}

func wantBehind(t *testing.T, what string, d store.Delivery, failedAt time.Time, behind store.Behind) {
	t.Helper()
	type seen struct {
		FailedAt time.Time
		Behind   store.Behind
	}
	if diff := cmp.Diff(seen{failedAt, behind}, seen{d.FailedAt, d.Behind}); diff != "" {
		t.Errorf("%s: %s (-want +got):\n%s", what, d.EventID, diff)
	}
}

func backlog(t *testing.T, s store.Store, q store.BacklogQuery) store.Backlog {
	t.Helper()
	b, err := s.Backlog(t.Context(), q)
	must(t, err)
	return b
}

// all of account a's backlog at a time.
func all(now time.Time) store.BacklogQuery {
	return store.BacklogQuery{AccountID: "a", Now: now, Due: 100, Fresh: 100}
}

func wantTotals(t *testing.T, s store.Store, pending, delivered, failed, cancelled int64) {
	t.Helper()
	got := s.Stats().Deliveries
	if got[store.Pending] != pending || got[store.Delivered] != delivered || got[store.Failed] != failed || got[store.Cancelled] != cancelled {
		t.Errorf("totals %v, want %d PENDING, %d DELIVERED, %d FAILED, %d CANCELLED", got, pending, delivered, failed, cancelled)
	}
}
