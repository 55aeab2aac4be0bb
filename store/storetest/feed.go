package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

func testFeed(t *testing.T, open Opener) {
	t.Run("each event once, in order of acceptance", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		var want []store.FeedEvent
		for i := range 7 { // the clock stands, and is set back
			for _, d := range accept(t, s, at(time.Duration(-i/4)*time.Minute), event("a", fmt.Sprint("e", i), "m"), event("b", fmt.Sprint("e", i), "m")) {
				if d.AccountID == "a" {
					want = append(want, store.FeedEvent{Seq: d.Seq, EventID: d.EventID, AcceptedAt: d.AcceptedAt, Body: d.Body})
				}
			}
		}
		for _, limit := range []int{1, 3, 7, 8} {
			q := store.FeedQuery{AccountID: "a", Limit: limit}
			var got []store.FeedEvent
			for {
				page, err := s.Events(t.Context(), q)
				must(t, err)
				got = append(got, page.Events...)
				if q.After = page.Next; len(page.Events) < limit {
					break
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("limit %d (-want +got):\n%s", limit, diff)
			}
			if page, err := s.Events(t.Context(), q); err != nil || len(page.Events) > 0 || page.Next != q.After {
				t.Errorf("at the end: got %+v (%v), want nothing and the same place", page, err)
			}
		}
	})
	t.Run("from now on", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		accept(t, s, t0, event("a", "e1", "m"), event("b", "e1", "m"))
		now, err := s.Events(t.Context(), store.FeedQuery{AccountID: "a", Latest: true, Limit: 10})
		must(t, err)
		accept(t, s, t0, event("b", "e2", "m"), event("a", "e2", "m"))
		page, err := s.Events(t.Context(), store.FeedQuery{AccountID: "a", After: now.Next, Limit: 10})
		must(t, err)
		if len(now.Events) > 0 || len(page.Events) != 1 || page.Events[0].EventID != "e2" {
			t.Errorf("got %+v and then %+v, want none and then e2", now, page)
		}
	})
	t.Run("whatever became of it, while it is held", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"), event("a", "e3", "m3"))
		must(t, s.Record(t.Context(), []store.Outcome{done(&ds[0])}, t0))
		must(t, s.DeleteWebhook(t.Context(), "a", at(time.Hour)))
		page, err := s.Events(t.Context(), store.FeedQuery{AccountID: "a", Limit: 10})
		must(t, err)
		if len(page.Events) != 3 {
			t.Errorf("got %+v, want all three", page)
		}
		_, err = s.Sweep(t.Context(), at(2*time.Hour), 90*time.Minute, 10)
		must(t, err)
		page, err = s.Events(t.Context(), store.FeedQuery{AccountID: "a", Limit: 10})
		must(t, err)
		if len(page.Events) != 2 || page.Events[0].EventID != "e2" {
			t.Errorf("after e1 was swept: got %+v, want e2 and e3", page)
		}
	})
	t.Run("beside concurrent commits", func(t *testing.T) { testFeedBesideCommits(t, open) })
}

// testFeedBesideCommits reads while many hand in: what a reader has passed never
// has another event put before it.
func testFeedBesideCommits(t *testing.T, open Opener) {
	const feeders, each, readers = 8, 50, 4
	s := open(t)
	ready(t, s, "a", "b")
	var all sync.WaitGroup
	for f := range feeders {
		all.Go(func() {
			for i := range each {
				name := fmt.Sprint("e", f, "_", i)
				if _, err := s.Accept(t.Context(), []store.Event{event("b", name, name), event("a", name, name)}, at(time.Duration(-i)*time.Second)); err != nil {
					t.Errorf("Accept: %v", err)
				}
			}
		})
	}
	read := make([][]string, readers)
	for n := range readers {
		all.Go(func() {
			for q := (store.FeedQuery{AccountID: "a", Limit: 1 + 7*n}); len(read[n]) < feeders*each && !t.Failed(); {
				page, err := s.Events(t.Context(), q)
				if err != nil {
					t.Errorf("Events: %v", err)
				}
				for _, e := range page.Events {
					read[n] = append(read[n], e.EventID)
				}
				q.After = page.Next
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, id := range read[0] {
		seen[id] = true
	}
	if len(seen) != feeders*each {
		t.Errorf("%d events were read, %d different ones; want %d", len(read[0]), len(seen), feeders*each)
	}
	for n := range readers {
		if diff := cmp.Diff(read[0], read[n]); diff != "" {
			t.Errorf("reader %d (-first +this):\n%s", n, diff)
		}
	}
}
