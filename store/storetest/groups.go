package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

func testReplayGroups(t *testing.T, open Opener) {
	group := func(id string, accounts ...string) store.ReplayGroup {
		return store.ReplayGroup{ID: id, Accounts: accounts, Query: allFailed, Asked: []byte(`{}`), StartedAt: at(time.Hour)}
	}
	step := func(t *testing.T, s store.Store, limit int, wantRunning, wantWorked bool) {
		t.Helper()
		running, worked, err := s.ContinueReplayGroup(t.Context(), at(2*time.Hour), limit)
		must(t, err)
		if running != wantRunning || worked != wantWorked {
			t.Errorf("a step: running %t, worked %t; want %t, %t", running, worked, wantRunning, wantWorked)
		}
	}
	want := func(t *testing.T, s store.Store, id string, state store.ReplayState, skipped int64, sum store.ReplaySum) {
		t.Helper()
		g, err := s.ReplayGroup(t.Context(), id)
		must(t, err)
		if g.State != state || g.Skipped != skipped || g.Sum != sum {
			t.Errorf("%s: %s, %d skipped, %+v; want %s, %d, %+v", id, g.State, g.Skipped, g.Sum, state, skipped, sum)
		}
	}
	t.Run("all accounts, some at a time", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "c", "d")
		account(t, s, "b") // without a webhook
		failing(t, s, 3)
		must(t, s.StartReplayGroup(t.Context(), group("rpg_1")))
		if err := s.StartReplayGroup(t.Context(), group("rpg_2")); !errors.Is(err, store.ErrConflict) {
			t.Errorf("a second one: got %v, want ErrConflict", err)
		}
		step(t, s, 2, true, true)
		want(t, s, "rpg_1", store.ReplayRunning, 1, store.ReplaySum{Begun: 1, Running: 1})
		must(t, s.StartReplay(t.Context(), store.BulkReplay{ID: "rpl_d", AccountID: "d", StartedAt: at(time.Hour)}))
		step(t, s, 9, true, true)
		step(t, s, 9, true, false)
		want(t, s, "rpg_1", store.ReplayRunning, 2, store.ReplaySum{Begun: 2, Running: 2})
		if running, err := s.RunningReplays(t.Context(), "", 9); err != nil || fmt.Sprint(running) != "[a c d]" {
			t.Errorf("running: %v (%v), want a, c and d", running, err)
		}
		for _, id := range []string{"a", "c"} {
			for range 3 {
				_, err := s.ContinueReplay(t.Context(), id, at(2*time.Hour), 9)
				must(t, err)
				deliverReplays(t, s)
			}
		}
		want(t, s, "rpg_1", store.ReplayRunning, 2, store.ReplaySum{Begun: 2, Matched: 3, SentAgain: 3})
		step(t, s, 9, false, true)
		step(t, s, 9, false, false)
		got, err := s.ReplayGroup(t.Context(), "rpg_1")
		must(t, err)
		done := group("rpg_1")
		done.Accounts, done.State, done.EndedAt, done.Skipped, done.Sum = nil, store.ReplayDone, at(2*time.Hour), 2, store.ReplaySum{Begun: 2, Matched: 3, SentAgain: 3}
		if diff := cmp.Diff(done, got); diff != "" {
			t.Errorf("in the end (-want +got):\n%s", diff)
		}
		must(t, s.StartReplayGroup(t.Context(), group("rpg_2")))
		all, err := s.ReplayGroups(t.Context(), 9)
		if err != nil || len(all) != 2 || all[0].ID != "rpg_2" {
			t.Errorf("the list: %+v (%v), want rpg_2 and rpg_1", all, err)
		}
	})
	t.Run("some accounts, until it is stopped", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b", "c")
		must(t, s.StartReplayGroup(t.Context(), group("rpg_1", "a", "c", "unknown")))
		step(t, s, 1, true, true)
		step(t, s, 9, true, true)
		want(t, s, "rpg_1", store.ReplayRunning, 1, store.ReplaySum{Begun: 2, Running: 2})
		must(t, s.StopReplayGroup(t.Context(), "rpg_1", at(3*time.Hour)))
		must(t, s.StopReplayGroup(t.Context(), "rpg_1", at(4*time.Hour)))
		want(t, s, "rpg_1", store.ReplayStopped, 1, store.ReplaySum{Begun: 2})
		step(t, s, 9, false, false)
		if running, err := s.RunningReplays(t.Context(), "", 9); err != nil || len(running) != 0 {
			t.Errorf("running: %v (%v), want none", running, err)
		}
		_, missing := s.ReplayGroup(t.Context(), "rpg_2")
		for what, err := range map[string]error{"to stop one": s.StopReplayGroup(t.Context(), "rpg_2", t0), "to read one": missing} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s that there is not: got %v, want ErrNotFound", what, err)
			}
		}
		_, err := s.Sweep(t.Context(), at(10*time.Hour), time.Hour, 9)
		must(t, err)
		if all, err := s.ReplayGroups(t.Context(), 9); len(all) != 0 || err != nil {
			t.Errorf("after its retention: %v (%v), want none", all, err)
		}
	})
}
