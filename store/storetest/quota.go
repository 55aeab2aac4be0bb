package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

// RunQuota is the part of the suite for stores with a quota. Each open must give an
// empty one.
func RunQuota(t *testing.T, open func(*testing.T, store.Quota) store.Store) {
	const yes, no, known = store.Accepted, store.OverQuota, store.Duplicate
	accept := func(t *testing.T, s store.Store, want []store.Verdict, ids ...string) {
		t.Helper()
		var events []store.Event
		for _, id := range ids {
			events = append(events, event(id[:1], id, "m"))
		}
		got, err := s.Accept(t.Context(), events, t0)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("verdicts of %v (-want +got):\n%s", ids, diff)
		}
	}
	of := func(t *testing.T, s store.Store, id string) *store.Delivery {
		t.Helper()
		d, _, err := s.Delivery(t.Context(), id[:1], id)
		must(t, err)
		return &d
	}
	t.Run("events", func(t *testing.T) {
		s := open(t, store.Quota{Events: 2})
		ready(t, s, "a", "b")
		accept(t, s, []store.Verdict{yes, yes, yes, no, yes, no}, "a1", "b1", "a2", "a3", "b2", "b3")
		accept(t, s, []store.Verdict{no, no}, "a3", "a3")
		wantTotals(t, s, 4, 0, 0, 0)
	})
	t.Run("bytes", func(t *testing.T) {
		s := open(t, store.Quota{Bytes: 2*int64(len(event("a", "a1", "m").Payload)) + 1})
		ready(t, s, "a")
		accept(t, s, []store.Verdict{yes, yes, no}, "a1", "a2", "a3")
		must(t, s.Record(t.Context(), []store.Outcome{done(of(t, s, "a2"))}, t0))
		accept(t, s, []store.Verdict{no, yes, no}, "a4 is long", "a5", "a6")
	})
	t.Run("a repeat is told as such and takes no room", func(t *testing.T) {
		s := open(t, store.Quota{Events: 3})
		ready(t, s, "a")
		accept(t, s, []store.Verdict{yes, yes}, "a1", "a2")
		accept(t, s, []store.Verdict{known, known, yes, known, no, no, known}, "a1", "a2", "a3", "a3", "a4", "a4", "a1")
	})
	t.Run("what does not wait any more makes room", func(t *testing.T) {
		s := open(t, store.Quota{Events: 1})
		ready(t, s, "a")
		accept(t, s, []store.Verdict{yes, no}, "a1", "a2")
		must(t, s.Record(t.Context(), []store.Outcome{again(of(t, s, "a1"), at(time.Minute))}, t0))
		accept(t, s, []store.Verdict{no}, "a2") // it has been put off
		must(t, s.Record(t.Context(), []store.Outcome{done(of(t, s, "a1"))}, t0))
		accept(t, s, []store.Verdict{yes, no}, "a2", "a3")
		if n, err := s.Expire(t.Context(), "a", at(time.Hour), at(time.Hour), 10); n != 1 || err != nil {
			t.Errorf("expired %d, %v, want 1", n, err)
		}
		accept(t, s, []store.Verdict{yes, no}, "a3", "a4")
		must(t, s.DeleteWebhook(t.Context(), "a", at(time.Hour)))
		ready(t, s, "a")
		accept(t, s, []store.Verdict{yes, no}, "a4", "a5")
		must(t, s.DeleteAccount(t.Context(), "a"))
		ready(t, s, "a")
		accept(t, s, []store.Verdict{yes, no}, "a1", "a2")
	})
	t.Run("what is sent again counts, and is not refused", func(t *testing.T) {
		s := open(t, store.Quota{Events: 1})
		ready(t, s, "a")
		accept(t, s, []store.Verdict{yes}, "a1")
		must(t, s.Record(t.Context(), []store.Outcome{done(of(t, s, "a1"))}, t0))
		accept(t, s, []store.Verdict{yes}, "a2")
		must(t, s.Replay(t.Context(), "a", "a1", t0))
		must(t, s.Record(t.Context(), []store.Outcome{done(of(t, s, "a2"))}, t0))
		accept(t, s, []store.Verdict{no}, "a3")
		must(t, s.Record(t.Context(), []store.Outcome{done(of(t, s, "a1"))}, t0))
		accept(t, s, []store.Verdict{yes}, "a3")
	})
	t.Run("the platform's own webhook has none", func(t *testing.T) {
		s := open(t, store.Quota{Events: 1})
		must(t, func() error { _, err := s.CreateWebhook(t.Context(), hook(store.Operations)); return err }())
		ready(t, s, "a", "b")
		wantTotals(t, s, 2, 0, 0, 0)
	})
}
