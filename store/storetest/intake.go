package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

func testIntake(t *testing.T, open Opener) {
	t.Run("verdicts", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		account(t, s, "bare")
		accept(t, s, t0, event("a", "old", "m"))
		got, err := s.Accept(t.Context(), []store.Event{
			event("a", "e1", "m"), event("a", "e1", "m"), event("b", "e1", "m"), event("a", "old", "m"),
			event("bare", "e1", "m"), event("x", "e1", "m"), event("a", "e2", "m"),
		}, t0)
		must(t, err)
		want := []store.Verdict{
			store.Accepted, store.Duplicate, store.Accepted, store.Duplicate, store.NoWebhook, store.UnknownAccount, store.Accepted,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("verdicts (-want +got):\n%s", diff)
		}
		wantTotals(t, s, 4, 0, 0, 0)
	})
	t.Run("an ID that is used for another event is told from a repeat", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		say := func(accountID, id, receivedAt, status string) store.Event {
			e := event(accountID, id, "m")
			e.Payload = fmt.Appendf(nil, `{"id":"%s","text":",\"receivedAt\":\"%s","receivedAt":"%s","status":"%s"}`, id, status, receivedAt, status)
			return e
		}
		accept(t, s, t0, say("a", "old", "1", "SENT"))
		got, err := s.Accept(t.Context(), []store.Event{
			say("a", "old", "22", "SENT"), say("a", "old", "1", "READ"), say("b", "old", "1", "READ"),
			say("a", "new", "1", "SENT"), say("a", "new", "1", "READ"), say("a", "new", "2", "SENT"),
		}, at(time.Second))
		must(t, err)
		want := []store.Verdict{store.Duplicate, store.Reused, store.Accepted, store.Accepted, store.Reused, store.Duplicate}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("verdicts (-want +got):\n%s", diff)
		}
		d, _, err := s.Delivery(t.Context(), "a", "old")
		must(t, err)
		if want := string(store.Body(say("a", "old", "1", "SENT").Payload, 1)); string(d.Body) != want {
			t.Errorf("body: got %s, want the first event's, %s", d.Body, want)
		}
		must(t, s.Record(t.Context(), []store.Outcome{done(&d)}, t0))
		_, err = s.Sweep(t.Context(), at(time.Hour), 0, 10)
		must(t, err)
		accept(t, s, at(time.Hour), say("a", "old", "1", "READ")) // the ID is free again
	})
	t.Run("sequence counts per message, channel and part", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		part, rcs, other := event("a", "e3", "m"), event("a", "e4", "m"), event("b", "e5", "m")
		part.Part, rcs.Channel = 2, "RCS"
		ds := accept(t, s, t0, event("a", "e1", "m"), event("a", "e2", "m"), part, rcs, other, event("a", "e6", "n"), event("a", "e7", "m"))
		var got []string
		for _, d := range ds {
			got = append(got, string(d.Body))
		}
		want := []string{
			`{"id":"e1","sequence":1}`, `{"id":"e2","sequence":2}`, `{"id":"e3","sequence":1}`, `{"id":"e4","sequence":1}`,
			`{"id":"e5","sequence":1}`, `{"id":"e6","sequence":1}`, `{"id":"e7","sequence":3}`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("bodies (-want +got):\n%s", diff)
		}
	})
	t.Run("the listener is told before the call returns, with the webhook", func(t *testing.T) {
		s := open(t)
		l := &listener{}
		s.Listen(l)
		ready(t, s, "a")
		accept(t, s, t0, event("a", "e1", "m"), event("a", "e2", "m"), event("a", "e3", "n"))
		_, err := s.Accept(t.Context(), []store.Event{event("a", "e1", "m")}, t0) // a duplicate is not told
		must(t, err)
		var told []store.Delivery
		for _, a := range l.accepted {
			told = append(told, a.Delivery)
			if a.Webhook == nil || a.Webhook.CallbackURL != "https://a.example/" {
				t.Errorf("%s came with webhook %+v, want a's", a.Delivery.EventID, a.Webhook)
			}
		}
		wantIDs(t, "told", told, " e1 e2+ e3")
		page := backlog(t, s, all(t0))
		if diff := cmp.Diff(page.Fresh, told); diff != "" {
			t.Errorf("what was told is not what is read (-read +told):\n%s", diff)
		}
	})
	t.Run("the traceparent is kept, that of the first", func(t *testing.T) {
		s := open(t)
		l := &listener{}
		s.Listen(l)
		ready(t, s, "a")
		followed, repeat := event("a", "e1", "m"), event("a", "e1", "m")
		followed.Traceparent, repeat.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		ds := accept(t, s, t0, followed, event("a", "e2", "m"))
		if verdicts, err := s.Accept(t.Context(), []store.Event{repeat}, t0); err != nil || verdicts[0] != store.Duplicate {
			t.Errorf("the same with another traceparent: got %v (%v), want a duplicate", verdicts, err)
		}
		must(t, s.Record(t.Context(), []store.Outcome{again(&ds[0], t0)}, t0))
		page := backlog(t, s, all(at(time.Second)))
		for name, got := range map[string][]store.Delivery{"told": {l.accepted[0].Delivery, l.accepted[1].Delivery}, "read": append(page.Due, page.Fresh...)} {
			if len(got) != 2 || got[0].Traceparent != followed.Traceparent || got[1].Traceparent != "" {
				t.Errorf("%s: got %+v, want %s and none", name, got, followed.Traceparent)
			}
		}
	})
	t.Run("concurrent calls are told in the order of Seq", func(t *testing.T) {
		s := open(t)
		l := &listener{}
		s.Listen(l)
		ready(t, s, "a")
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				for j := range 10 {
					if _, err := s.Accept(t.Context(), []store.Event{event("a", fmt.Sprintf("e%d-%d", i, j), "m")}, t0); err != nil {
						t.Errorf("Accept: %v", err)
					}
				}
			})
		}
		wg.Wait()
		last := int64(0)
		for _, a := range l.accepted {
			if a.Delivery.Seq <= last {
				t.Fatalf("Seq %d was told after %d", a.Delivery.Seq, last)
			}
			last = a.Delivery.Seq
		}
		if len(l.accepted) != 200 {
			t.Errorf("%d were told, want 200", len(l.accepted))
		}
	})
	t.Run("duplicates in a large batch use up nothing", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		var events []store.Event
		for i := range 300 {
			events = append(events, event("a", fmt.Sprint("e", i%200), fmt.Sprint("m", i%7)))
		}
		verdicts, err := s.Accept(t.Context(), events, t0)
		must(t, err)
		counts := map[string]int{}
		for i, v := range verdicts {
			want := store.Accepted
			if i >= 200 {
				want = store.Duplicate
			}
			if v != want {
				t.Fatalf("event %d: verdict %d, want %d", i, v, want)
			}
		}
		for _, e := range events[:200] {
			d, _, err := s.Delivery(t.Context(), "a", e.ID)
			must(t, err)
			counts[e.MessageID]++
			if want := string(store.Body(e.Payload, int64(counts[e.MessageID]))); string(d.Body) != want {
				t.Errorf("%s: body %s, want %s", e.ID, d.Body, want)
			}
		}
	})
	t.Run("Seq is never given again", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		first := accept(t, s, t0, event("a", "e1", "m"))[0]
		must(t, s.Record(t.Context(), []store.Outcome{done(&first)}, t0))
		n, err := s.Sweep(t.Context(), at(time.Hour), 0, 10)
		must(t, err)
		second := accept(t, s, t0, event("a", "e1", "m"))[0] // the id is free again
		if n != 1 || second.Seq <= first.Seq {
			t.Errorf("swept %d, then Seq %d after %d; want a greater one", n, second.Seq, first.Seq)
		}
	})
}

func attempt(number int) *store.Attempt {
	return &store.Attempt{
		Number: number, At: at(time.Second), Duration: 5 * time.Millisecond, StatusCode: 204,
		Phases: store.Phases{FirstByte: 4 * time.Millisecond}, Reused: true, Address: "203.0.113.7:443",
	}
}

// done is the outcome of a first attempt that was acknowledged.
func done(d *store.Delivery) store.Outcome {
	return store.Outcome{Delivery: d, Attempt: attempt(d.Attempts + 1), State: store.Delivered, Failures: d.Failures}
}

// again is the outcome of a failed attempt.
func again(d *store.Delivery, due time.Time) store.Outcome {
	a := attempt(d.Attempts + 1)
	a.StatusCode, a.Error, a.Response = 500, store.HTTPStatus, []byte("no")
	a.Detail, a.Location, a.Header = "NO_ANSWER", "https://example.com/", "HTTP/1.1 500 Oops\nServer: s"
	a.Phases, a.Reused = store.Phases{DNS: time.Microsecond, Connect: 2 * time.Millisecond, Proxy: 40 * time.Millisecond, TLS: 3 * time.Second, FirstByte: time.Hour}, false
	return store.Outcome{Delivery: d, Attempt: a, State: store.Pending, Failures: d.Failures + 1, DueAt: due}
}
