package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
)

// failedOnes are deliveries that were given up.
func failedOnes(t *testing.T, s *Store, n int) {
	t.Helper()
	h := &handed{}
	s.Listen(h)
	withWebhook(t, s)
	var events []store.Event
	for i := range n {
		events = append(events, event(fmt.Sprint("e", i)))
	}
	if _, err := s.Accept(t.Context(), events, now); err != nil {
		t.Fatal(err)
	}
	var outcomes []store.Outcome
	for _, d := range h.deliveries {
		outcomes = append(outcomes, store.Outcome{Delivery: d, State: store.Failed})
	}
	if err := s.Record(t.Context(), outcomes, now); err != nil {
		t.Fatal(err)
	}
}

func startBulk(t *testing.T, s *Store) {
	t.Helper()
	if err := s.StartReplay(t.Context(), store.BulkReplay{ID: "rpl_1", AccountID: "a", StartedAt: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
}

// again ends the replays that wait, as their attempts would.
func again(t *testing.T, s *Store) {
	t.Helper()
	b, err := s.Backlog(t.Context(), store.BacklogQuery{AccountID: "a", Now: now.Add(time.Hour), Replays: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var outcomes []store.Outcome
	for i := range b.Replays {
		d := &b.Replays[i]
		outcomes = append(outcomes, store.Outcome{Delivery: d, State: store.Delivered, Attempt: &store.Attempt{Number: d.Attempts + 1, At: now}})
	}
	if err := s.Record(t.Context(), outcomes, now.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
}

// wantAllOnce: each was sent again once, and the progress says so.
func wantAllOnce(t *testing.T, s *Store, n int64) {
	t.Helper()
	r, err := s.BulkReplay(t.Context(), "a", "rpl_1")
	if err != nil || r.State != store.ReplayDone || r.Matched != n || r.Replayed != n {
		t.Errorf("the bulk replay: %+v (%v), want it DONE with %d matched and replayed", r, err, n)
	}
	var attempts int64
	if err := s.read.QueryRowContext(t.Context(), `SELECT count(*) FROM outcomes WHERE number > 0`).Scan(&attempts); err != nil || attempts != n {
		t.Errorf("%d attempts (%v), want %d", attempts, err, n)
	}
}

// What becomes PENDING and how far the bulk replay has come are one commit, also if
// the caller leaves meanwhile, as a process that is killed does.
func TestStepOfABulkReplayIsWhole(t *testing.T) {
	const n = 300
	s := open(t, file(t))
	failedOnes(t, s, n)
	startBulk(t, s)
	for i := 0; ; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%40)*100*time.Microsecond)
		_, _ = s.ContinueReplay(ctx, "a", now.Add(time.Hour), 10)
		cancel()
		if i%40 == 39 {
			if _, err := s.ContinueReplay(t.Context(), "a", now.Add(time.Hour), 10); err != nil {
				t.Fatal(err)
			}
		}
		again(t, s)
		if accounts, err := s.RunningReplays(t.Context(), "", 9); err != nil {
			t.Fatal(err)
		} else if len(accounts) == 0 {
			break
		}
	}
	wantAllOnce(t, s, n)
}

// Of steps at the same time, one counts.
func TestStepsOfABulkReplayAtTheSameTime(t *testing.T) {
	const n = 200
	s := open(t, file(t))
	failedOnes(t, s, n)
	startBulk(t, s)
	for accounts := []string{"a"}; len(accounts) > 0; {
		var steps sync.WaitGroup
		for range 4 {
			steps.Go(func() {
				if _, err := s.ContinueReplay(t.Context(), "a", now.Add(time.Hour), 10); err != nil {
					t.Error(err)
				}
			})
		}
		steps.Wait()
		again(t, s)
		var err error
		if accounts, err = s.RunningReplays(t.Context(), "", 9); err != nil {
			t.Fatal(err)
		}
	}
	wantAllOnce(t, s, n)
}

// A payload that is damaged is left out, and counted.
func TestBulkReplayLeavesOutWhatIsDamaged(t *testing.T) {
	s := open(t, file(t))
	failedOnes(t, s, 20)
	if err := s.w.do(t.Context(), func(tx *txn) error {
		return tx.exec(`UPDATE deliveries SET payload = x'7b227d' WHERE seq = 7`)
	}); err != nil {
		t.Fatal(err)
	}
	startBulk(t, s)
	for range 4 {
		if _, err := s.ContinueReplay(t.Context(), "a", now.Add(time.Hour), 15); err != nil {
			t.Fatal(err)
		}
		again(t, s)
	}
	r, err := s.BulkReplay(t.Context(), "a", "rpl_1")
	if err != nil || r.Matched != 20 || r.Replayed != 19 || r.Damaged != 1 || r.Remaining() != 0 {
		t.Errorf("got %+v (%v), want 19 of 20 replayed, and one damaged", r, err)
	}
	if err := s.Replay(t.Context(), "a", "e6", now.Add(time.Hour)); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("the damaged one by itself: got %v, want ErrDamaged", err)
	}
}

// A filter that matches nothing reads a bounded number a step.
func TestBulkReplayLooksAtABoundedPart(t *testing.T) {
	s := open(t, file(t), func(c *Config) { c.scanRows = 50 })
	failedOnes(t, s, 200)
	if err := s.StartReplay(t.Context(), store.BulkReplay{ID: "rpl_1", AccountID: "a", StartedAt: now.Add(time.Hour), Query: store.DeliveryQuery{Channel: "RCS"}}); err != nil {
		t.Fatal(err)
	}
	steps := 0
	for state := store.ReplayCounting; state == store.ReplayCounting; steps++ {
		if _, err := s.ContinueReplay(t.Context(), "a", now.Add(time.Hour), 10); err != nil {
			t.Fatal(err)
		}
		r, err := s.BulkReplay(t.Context(), "a", "rpl_1")
		if err != nil {
			t.Fatal(err)
		}
		state = r.State
	}
	if steps < 4 {
		t.Errorf("it was counted in %d steps, want 200 deliveries to take 4 at least", steps)
	}
}
