package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

// shown names the operations of each transaction, as they were named in op.err.
func shown(t *turns) (out []string) {
	for !t.empty() {
		var names []string
		for _, op := range t.take() {
			names = append(names, op.err.Error())
		}
		out = append(out, strings.Join(names, " "))
	}
	return out
}

// Accounts take turns: what is small is stored together, what is great alone, and
// neither an account that hands in much nor the many that hand in little keep the others
// waiting. Each account's own are done in their order.
func TestAccountsTakeTurns(t *testing.T) {
	for name, tt := range map[string]struct {
		enter string // account, number and rows of each
		want  []string
	}{
		"one alone":         {"a1:128 a2:128 a3:128", []string{"a1", "a2", "a3"}},
		"single beside":     {"a1:128 a2:128 a3:128 b1:1", []string{"a1", "b1", "a2", "a3"}},
		"singles beside":    {"a1:128 b1:1 c1:1 a2:128 b2:1", []string{"a1", "b1 c1", "a2", "b2"}},
		"two great ones":    {"a1:128 a2:128 b1:128 b2:128", []string{"a1", "b1", "a2", "b2"}},
		"small ones":        {"a1:1 a2:100 b1:1 a3:1", []string{"a1 b1 a2 a3"}},
		"great after small": {"a1:1 a2:128 b1:1 a3:1", []string{"a1 b1", "a2", "a3"}},
		"bounded":           {"a1:100 b1:100 " + strings.Repeat("c1:100 ", 60), []string{"a1 b1" + strings.Repeat(" c1", 48), strings.TrimSpace(strings.Repeat("c1 ", 12))}},
	} {
		t.Run(name, func(t *testing.T) {
			turns := newTurns()
			for word := range strings.FieldsSeq(tt.enter) {
				op, rows := word[:2], 0
				if _, err := fmt.Sscan(word[3:], &rows); err != nil {
					t.Fatal(err)
				}
				turns.enter(&operation{account: op[:1], rows: rows, err: fmt.Errorf("%s", op)})
			}
			if diff := cmp.Diff(tt.want, shown(turns)); diff != "" {
				t.Errorf("transactions (-want +got):\n%s", diff)
			}
		})
	}
}

// One account's great batches come from four callers. Another's single event, that comes
// after all of them, waits for one part of one of them.
func TestSingleEventTakesItsTurnBesideGreatBatches(t *testing.T) {
	var commits []int // events of each
	s := open(t, file(t), func(c *Config) {
		c.OnCommit = func(c store.Commit) {
			if c.Events > 0 {
				commits = append(commits, c.Events)
			}
		}
	})
	withWebhook(t, s)
	other := store.Webhook{AccountID: "b", ID: "wh_2", CallbackURL: "https://b.example/", Status: store.Active, Secret: []byte("s"), CreatedAt: now, UpdatedAt: now}
	_, _, err := s.PutAccount(t.Context(), "b", now)
	if err == nil {
		_, err = s.CreateWebhook(t.Context(), other)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, held, release := t.Context(), make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.w.do(ctx, func(*txn) error { close(held); <-release; return store.ErrNotFound })
	})
	<-held
	hand := func(account, ids string, n int) {
		events := make([]store.Event, n)
		for i := range events {
			events[i] = event(fmt.Sprint(ids, i))
			events[i].AccountID, events[i].MessageID = account, events[i].ID
		}
		wg.Go(func() {
			if _, err := s.Accept(context.WithoutCancel(ctx), events, now); err != nil {
				t.Errorf("Accept of %s: got %v, want no error", account, err)
			}
		})
	}
	for caller := range 4 {
		hand("a", fmt.Sprint("a", caller), 1000)
	}
	waitFor(t, s, 4)
	hand("b", "b", 1)
	waitFor(t, s, 5)
	close(release)
	wg.Wait()
	if at := slices.Index(commits, 1); at != 1 {
		t.Errorf("events of the transactions: got %v, want the single event in the second", commits)
	}
	if got := s.Stats().Deliveries[store.Pending]; got != 4001 {
		t.Errorf("PENDING: got %d, want 4001", got)
	}
}

// waitFor returns when so many operations wait for the writer.
func waitFor(t *testing.T, s *Store, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); len(s.w.queue) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d operations wait, want %d", len(s.w.queue), n)
		}
	}
}
