package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

// givenUp is the outcome of a last attempt.
func givenUp(d *store.Delivery) store.Outcome {
	o := again(d, time.Time{})
	o.State = store.Failed
	return o
}

func replay(t *testing.T, s store.Store, id string, now time.Time) {
	t.Helper()
	must(t, s.Replay(t.Context(), "a", id, now))
}

// replays are the account's that are due.
func replays(t *testing.T, s store.Store, now time.Time) []store.Delivery {
	t.Helper()
	return backlog(t, s, store.BacklogQuery{AccountID: "a", Now: now, Replays: 100}).Replays
}

func testReplays(t *testing.T, open Opener) {
	t.Run("what has ended is pending again", func(t *testing.T) {
		s := open(t)
		l := &listener{}
		s.Listen(l)
		ready(t, s, "a")
		d := accept(t, s, t0, event("a", "e1", "m1"))[0]
		must(t, s.Record(t.Context(), []store.Outcome{again(&d, at(time.Second))}, t0))
		d = backlog(t, s, all(at(time.Second))).Due[0]
		must(t, s.Record(t.Context(), []store.Outcome{givenUp(&d)}, at(time.Minute)))
		before, history, err := s.Delivery(t.Context(), "a", "e1")
		must(t, err)
		w, err := s.Webhook(t.Context(), "a")
		must(t, err)

		replay(t, s, "e1", at(time.Hour))
		wantTotals(t, s, 1, 0, 0, 0)
		got, attempts, err := s.Delivery(t.Context(), "a", "e1")
		must(t, err)
		want := before
		want.State, want.FinishedAt, want.Failures, want.DueAt = store.Pending, time.Time{}, 0, at(time.Hour)
		want.Replay = store.Replay{At: at(time.Hour), WebhookID: w.ID, Attempts: 2}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the delivery (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(history, attempts); diff != "" {
			t.Errorf("its attempts (-want +got):\n%s", diff)
		}
		page := backlog(t, s, store.BacklogQuery{AccountID: "a", Now: at(time.Hour), Due: 9, Fresh: 9, Replays: 9})
		wantIDs(t, "due in its first run", page.Due, "")
		wantIDs(t, "fresh", page.Fresh, "")
		wantIDs(t, "replays", page.Replays, " e1")
		if diff := cmp.Diff([]string{"a https://a.example/ ACTIVE 1", fmt.Sprintf("a again [%d]", d.Seq)}, l.changes); diff != "" {
			t.Errorf("the listener was told (-want +got):\n%s", diff)
		}
		must(t, s.Record(t.Context(), []store.Outcome{done(&page.Replays[0])}, at(2*time.Hour)))
		got, attempts, err = s.Delivery(t.Context(), "a", "e1")
		must(t, err)
		if got.State != store.Delivered || got.Replay != (store.Replay{}) || len(attempts) != 3 || attempts[2].Number != 3 {
			t.Errorf("got %+v with %d attempts, want it DELIVERED by its third", got, len(attempts))
		}
		wantTotals(t, s, 0, 1, 0, 0)
		if n, err := s.Sweep(t.Context(), at(2*time.Hour+59*time.Minute), time.Hour, 9); n != 0 || err != nil {
			t.Errorf("swept %d (%v) an hour after its first end, want none", n, err)
		}
	})
	t.Run("what cannot be replayed", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		accept(t, s, t0, event("a", "e1", "m1"))
		for id, want := range map[string]error{"e1": store.ErrConflict, "e2": store.ErrNotFound} {
			if err := s.Replay(t.Context(), "a", id, t0); !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", id, err, want)
			}
		}
		if err := s.Replay(t.Context(), "b", "e1", t0); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("another account's: got %v, want ErrNotFound", err)
		}
		must(t, s.DeleteWebhook(t.Context(), "a", t0))
		if err := s.Replay(t.Context(), "a", "e1", t0); !errors.Is(err, store.ErrNoWebhook) {
			t.Errorf("without a webhook: got %v, want ErrNoWebhook", err)
		}
		wantTotals(t, s, 0, 0, 0, 1)
	})
	t.Run("an outcome of before does not end it", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"), event("a", "e3", "m3"))
		behind := store.Outcome{Delivery: &ds[2], State: store.Pending, DueAt: at(24 * time.Hour), Behind: true}
		outcomes := []store.Outcome{done(&ds[0]), {Delivery: &ds[1], State: store.Failed}, {Delivery: &ds[2], State: store.Failed}}
		must(t, s.Record(t.Context(), outcomes, t0))
		for _, id := range []string{"e1", "e2", "e3"} {
			replay(t, s, id, t0) // by the same clock
		}
		must(t, s.Record(t.Context(), append(outcomes, behind), at(time.Minute)))
		wantIDs(t, "replays", replays(t, s, at(time.Minute)), " e1 e2 e3")
		wantTotals(t, s, 3, 0, 0, 0)
		again := replays(t, s, at(time.Minute))
		must(t, s.Record(t.Context(), []store.Outcome{done(&again[0]), done(&again[0])}, at(time.Hour)))
		replay(t, s, "e1", at(time.Hour))
		must(t, s.Record(t.Context(), []store.Outcome{done(&again[0])}, at(time.Hour)))
		wantTotals(t, s, 3, 0, 0, 0)
	})
	t.Run("an attempt of before, recorded since, is none of its own", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		before := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"))
		must(t, s.DeleteWebhook(t.Context(), "a", t0)) // while they are attempted
		_, err := s.CreateWebhook(t.Context(), hook("a"))
		must(t, err)
		replay(t, s, "e1", at(time.Second))
		replay(t, s, "e2", at(time.Second))
		must(t, s.Record(t.Context(), []store.Outcome{again(&before[0], at(time.Hour)), done(&before[1])}, at(time.Second)))
		got := replays(t, s, at(time.Minute))
		wantIDs(t, "replays", got, " e1 e2")
		for i := range got {
			if d := &got[i]; d.Attempts != 1 || d.Replay.Attempts != 1 || d.Begun() || d.Failures != 0 || !d.FailedAt.IsZero() {
				t.Errorf("%s: %d attempts, %d of them before it was replayed, %d failures since %v; want 1, 1 and none", d.EventID, d.Attempts, d.Replay.Attempts, d.Failures, d.FailedAt)
			}
		}
		must(t, s.Record(t.Context(), []store.Outcome{again(&got[0], at(time.Hour))}, at(time.Minute)))
		if d := replays(t, s, at(time.Hour))[1]; !d.Begun() || d.Attempts != 2 || d.Replay.Attempts != 1 {
			t.Errorf("after an attempt of its own: %+v, want 2 attempts, 1 of them before", d)
		}
	})
	t.Run("a webhook that was made since gets what is old", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"))
		must(t, s.DeleteWebhook(t.Context(), "a", t0))
		_, err := s.CreateWebhook(t.Context(), hook("a"))
		must(t, err)
		replay(t, s, "e1", at(time.Hour))
		if n, err := s.Cancel(t.Context(), "a", at(time.Hour), 9); n != 0 || err != nil {
			t.Errorf("cancelled %d (%v), want none", n, err)
		}
		wantIDs(t, "replays", replays(t, s, at(time.Hour)), " e1")
		must(t, s.DeleteWebhook(t.Context(), "a", at(time.Hour)))
		wantTotals(t, s, 0, 0, 0, 2)
	})
	t.Run("an order of its own", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m1"), event("a", "e3", "m1"))
		must(t, s.Record(t.Context(), []store.Outcome{done(&ds[0]), done(&ds[1])}, t0))
		replay(t, s, "e1", t0)
		replay(t, s, "e2", t0)
		e4 := accept(t, s, t0, event("a", "e4", "m1"))
		wantBehind(t, "a new one", backlog(t, s, all(t0)).Fresh[1], time.Time{}, store.Behind{Fresh: true})
		if e4[0].Behind.EventID != "e3" {
			t.Errorf("the new one is behind %q, want e3", e4[0].Behind.EventID)
		}
		wantIDs(t, "replays", replays(t, s, t0), " e1 e2++")
		two := replays(t, s, t0)
		must(t, s.Record(t.Context(), []store.Outcome{
			{Delivery: &two[1], State: store.Pending, DueAt: at(time.Minute), Behind: true}, done(&ds[2]),
		}, t0))
		wantIDs(t, "replays, when a new one has ended", replays(t, s, t0), " e1")
		must(t, s.Record(t.Context(), []store.Outcome{done(&two[0])}, t0))
		wantIDs(t, "replays, when the earlier one has ended", replays(t, s, t0), " e2")
	})
	t.Run("a horizon of its own", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"))
		must(t, s.Record(t.Context(), []store.Outcome{givenUp(&ds[0])}, at(time.Hour)))
		replay(t, s, "e1", at(2*time.Hour))
		b, err := s.Oldest(t.Context(), "a")
		must(t, err)
		wantIDs(t, "the oldest", b.Fresh, " e2")
		wantIDs(t, "the first replay", b.Replays, " e1")
		for _, tt := range []struct {
			before time.Time
			want   int
		}{{at(2 * time.Hour), 1}, {at(2*time.Hour + 1), 1}} {
			if n, err := s.Expire(t.Context(), "a", tt.before, at(3*time.Hour), 9); n != tt.want || err != nil {
				t.Errorf("given up before %v: %d (%v), want %d", tt.before, n, err, tt.want)
			}
		}
		wantTotals(t, s, 0, 0, 2, 0)
		replay(t, s, "e1", at(4*time.Hour)) // which has ended without an attempt
		wantTotals(t, s, 1, 0, 1, 0)
		must(t, s.DeleteAccount(t.Context(), "a"))
		wantTotals(t, s, 0, 0, 0, 0)
	})
}
