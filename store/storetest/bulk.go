package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

// bulk is a bulk replay of account a.
func bulk(id string, q store.DeliveryQuery) store.BulkReplay {
	return store.BulkReplay{ID: id, AccountID: "a", Query: q, Asked: []byte(`{"state":["FAILED"]}`), StartedAt: at(time.Hour)}
}

var allFailed = store.DeliveryQuery{States: []store.State{store.Failed}}

// failing accepts events of account a and gives them up.
func failing(t *testing.T, s store.Store, n int) []store.Delivery {
	t.Helper()
	var events []store.Event
	for i := range n {
		events = append(events, event("a", fmt.Sprintf("e%03d", i), fmt.Sprint("m", i)))
	}
	ds := accept(t, s, t0, events...)
	var outcomes []store.Outcome
	for i := range ds {
		outcomes = append(outcomes, givenUp(&ds[i]))
	}
	must(t, s.Record(t.Context(), outcomes, at(time.Minute)))
	return ds
}

func goOn(t *testing.T, s store.Store, limit int, want bool) {
	t.Helper()
	worked, err := s.ContinueReplay(t.Context(), "a", at(2*time.Hour), limit)
	must(t, err)
	if worked != want {
		t.Errorf("a step worked: %t, want %t", worked, want)
	}
}

func wantBulk(t *testing.T, s store.Store, id string, state store.ReplayState, matched, replayed, waiting int64) store.BulkReplay {
	t.Helper()
	r, err := s.BulkReplay(t.Context(), "a", id)
	must(t, err)
	if r.State != state || r.Matched != matched || r.Replayed != replayed || r.Waiting != waiting {
		t.Errorf("%s: %s, %d matched, %d replayed, %d waiting; want %s, %d, %d, %d", id, r.State, r.Matched, r.Replayed, r.Waiting, state, matched, replayed, waiting)
	}
	return r
}

func deliverReplays(t *testing.T, s store.Store) {
	t.Helper()
	var outcomes []store.Outcome
	due := replays(t, s, at(2*time.Hour))
	for i := range due {
		outcomes = append(outcomes, done(&due[i]))
	}
	must(t, s.Record(t.Context(), outcomes, at(2*time.Hour)))
}

func testBulkReplays(t *testing.T, open Opener) {
	t.Run("from its beginning to its end", func(t *testing.T) {
		s := open(t)
		l := &listener{}
		s.Listen(l)
		ready(t, s, "a", "b")
		ds := failing(t, s, 25)
		accept(t, s, t0, event("a", "new", "m1"), event("b", "e000", "m1"))
		must(t, s.StartReplay(t.Context(), bulk("rpl_1", allFailed)))
		wantBulk(t, s, "rpl_1", store.ReplayCounting, 0, 0, 0)
		goOn(t, s, 10, true)
		wantBulk(t, s, "rpl_1", store.ReplayRunning, 25, 0, 0)
		goOn(t, s, 10, true)
		wantBulk(t, s, "rpl_1", store.ReplayRunning, 25, 10, 10)
		wantIDs(t, "those before", replays(t, s, at(2*time.Hour)), " e000 e001 e002 e003 e004 e005 e006 e007 e008 e009")
		goOn(t, s, 10, false) // so many wait
		for range 3 {
			deliverReplays(t, s)
			goOn(t, s, 10, true)
		}
		got := wantBulk(t, s, "rpl_1", store.ReplayDone, 25, 25, 0)
		want := bulk("rpl_1", allFailed)
		want.State, want.Matched, want.Replayed, want.EndedAt = store.ReplayDone, 25, 25, at(2*time.Hour)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in the end (-want +got):\n%s", diff)
		}
		if got.SentAgain() != 25 || got.Remaining() != 0 || got.Changed() != 0 {
			t.Errorf("sent again %d, remaining %d, changed %d; want 25, 0, 0", got.SentAgain(), got.Remaining(), got.Changed())
		}
		goOn(t, s, 10, false)
		wantTotals(t, s, 2, 25, 0, 0)
		if _, attempts, err := s.Delivery(t.Context(), "a", ds[0].EventID); err != nil || len(attempts) != 2 {
			t.Errorf("%d attempts of the first (%v), want 2", len(attempts), err)
		}
		if n := len(l.changes); l.changes[2] != "a replay started" || n != 6 {
			t.Errorf("the listener was told %v, want of the start and of three steps", l.changes)
		}
	})
	t.Run("what has ended by its beginning", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := failing(t, s, 3)
		replay(t, s, "e001", at(time.Minute))
		must(t, s.StartReplay(t.Context(), bulk("rpl_1", store.DeliveryQuery{})))
		again := replays(t, s, at(time.Hour))
		must(t, s.Record(t.Context(), []store.Outcome{done(&again[0])}, at(time.Hour+1000)))
		goOn(t, s, 10, true)
		wantBulk(t, s, "rpl_1", store.ReplayRunning, 2, 0, 0)
		replay(t, s, ds[2].EventID, at(time.Hour+1000))
		deliverReplays(t, s)
		goOn(t, s, 10, true)
		deliverReplays(t, s)
		goOn(t, s, 10, true)
		if r := wantBulk(t, s, "rpl_1", store.ReplayDone, 2, 1, 0); r.Changed() != 1 || r.Remaining() != 0 {
			t.Errorf("changed %d, remaining %d; want 1 that was sent again by itself, and 0", r.Changed(), r.Remaining())
		}
	})
	t.Run("one at a time", func(t *testing.T) {
		s := open(t)
		account(t, s, "a")
		if err := s.StartReplay(t.Context(), bulk("rpl_1", allFailed)); !errors.Is(err, store.ErrNoWebhook) {
			t.Errorf("without a webhook: got %v, want ErrNoWebhook", err)
		}
		_, err := s.CreateWebhook(t.Context(), hook("a"))
		must(t, err)
		must(t, s.StartReplay(t.Context(), bulk("rpl_1", allFailed)))
		if err := s.StartReplay(t.Context(), bulk("rpl_2", allFailed)); !errors.Is(err, store.ErrConflict) {
			t.Errorf("a second one: got %v, want ErrConflict", err)
		}
		if err := s.StopReplay(t.Context(), "b", "rpl_1", t0); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("to stop another account's: got %v, want ErrNotFound", err)
		}
		if _, err := s.BulkReplay(t.Context(), "b", "rpl_1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("to read another account's: got %v, want ErrNotFound", err)
		}
		must(t, s.StopReplay(t.Context(), "a", "rpl_1", at(time.Hour)))
		must(t, s.StopReplay(t.Context(), "a", "rpl_1", at(2*time.Hour)))
		if r := wantBulk(t, s, "rpl_1", store.ReplayStopped, 0, 0, 0); !r.EndedAt.Equal(at(time.Hour)) {
			t.Errorf("stopped at %v, want %v: a second time changes nothing", r.EndedAt, at(time.Hour))
		}
		goOn(t, s, 10, false)
		must(t, s.StartReplay(t.Context(), bulk("rpl_2", allFailed)))
		if running, err := s.RunningReplays(t.Context(), "", 9); err != nil || fmt.Sprint(running) != "[a]" {
			t.Errorf("running: %v (%v), want a", running, err)
		}
		list, err := s.BulkReplays(t.Context(), "a", 1)
		if err != nil || len(list) != 1 || list[0].ID != "rpl_2" {
			t.Errorf("the newest: %+v (%v), want rpl_2", list, err)
		}
	})
	t.Run("ends with its webhook and its account", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		failing(t, s, 3)
		must(t, s.StartReplay(t.Context(), bulk("rpl_1", allFailed)))
		goOn(t, s, 2, true)
		goOn(t, s, 2, true)
		must(t, s.DeleteWebhook(t.Context(), "a", at(3*time.Hour)))
		wantBulk(t, s, "rpl_1", store.ReplayCancelled, 3, 2, 0)
		wantTotals(t, s, 0, 0, 1, 2)
		if n, err := s.Sweep(t.Context(), at(10*time.Hour), time.Hour, 100); n != 3 || err != nil {
			t.Errorf("swept %d (%v), want 3", n, err)
		}
		if list, err := s.BulkReplays(t.Context(), "a", 9); len(list) != 0 || err != nil {
			t.Errorf("after its retention: %v (%v), want none", list, err)
		}
		_, err := s.CreateWebhook(t.Context(), hook("a"))
		must(t, err)
		must(t, s.StartReplay(t.Context(), bulk("rpl_1", allFailed)))
		must(t, s.DeleteAccount(t.Context(), "a"))
		account(t, s, "a")
		if list, err := s.BulkReplays(t.Context(), "a", 9); len(list) != 0 || err != nil {
			t.Errorf("of the next account of that name: %v (%v), want none", list, err)
		}
	})
}
