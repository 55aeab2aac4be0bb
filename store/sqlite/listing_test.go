package sqlite

import (
	"fmt"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
)

// Attempts are looked for in a bounded part, whatever is asked for. Those of the
// probes of a dead endpoint are found beside what waits for them.
func TestAttemptsAreLookedForInABoundedPart(t *testing.T) {
	const total, scan = 1200, 100
	s := open(t, file(t), func(c *Config) { c.scanRows = scan; c.tailSize = 300 })
	withWebhook(t, s)
	h := &handed{}
	s.Listen(h)
	for i := 0; i < total; i += 100 {
		var events []store.Event
		for j := range 100 {
			e := event(fmt.Sprint("e", i+j))
			e.MessageID = e.ID
			events = append(events, e)
		}
		if _, err := s.Accept(t.Context(), events, now.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	end := now.Add(total * time.Second)
	probe := store.Attempt{Number: 1, At: end, StatusCode: 500, Error: store.HTTPStatus, Probe: true}
	if err := s.Record(t.Context(), []store.Outcome{{Delivery: h.deliveries[0], Attempt: &probe, State: store.Pending, DueAt: end.Add(time.Hour)}}, end); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		q            store.AttemptQuery
		first, pages int // attempts on the first page, and how many pages there are
	}{
		{store.AttemptQuery{}, 1, total/scan + 1},
		{store.AttemptQuery{Outcome: store.AttemptFailed}, 1, 1},
		{store.AttemptQuery{Status: 5}, 1, 1},
		{store.AttemptQuery{Status: 2}, 0, total/scan + 1},
		{store.AttemptQuery{MessageID: "e0"}, 1, 1},
		{store.AttemptQuery{To: now.Add(300 * time.Second)}, 0, 4},
	} {
		q, first, found, pages := tt.q, 0, 0, 0
		for q.AccountID, q.Limit = "a", 50; ; {
			page, err := s.Attempts(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if pages == 0 {
				first = len(page.Attempts)
			}
			found, pages = found+len(page.Attempts), pages+1
			if q.After = page.Next; page.Next == (store.AttemptPlace{}) {
				break
			}
			if pages > 2*total/scan {
				t.Fatalf("%+v: no end after %d pages", tt.q, pages)
			}
		}
		if first != tt.first || found != tt.first || pages != tt.pages {
			t.Errorf("%+v: %d on the first page, %d on %d; want %d, all on the first of %d", tt.q, first, found, pages, tt.first, tt.pages)
		}
	}
}

// A listing looks at no more than a part of what the account has, whatever is
// asked for and wherever it is.
func TestListingLooksAtABoundedPart(t *testing.T) {
	const total, scan = 1200, 100 // more than messageRows
	failed, pending, delivered := []store.State{store.Failed}, []store.State{store.Pending}, []store.State{store.Delivered}
	for name, tail := range map[string]int{"in the tail": 2 * total, "in the table": 10, "in both": 900} {
		t.Run(name, func(t *testing.T) {
			s := open(t, file(t), func(c *Config) { c.scanRows, c.tailSize = scan, tail })
			withWebhook(t, s)
			h := &handed{}
			s.Listen(h)
			var events []store.Event
			for i := range total {
				e := event(fmt.Sprint("e", i))
				e.MessageID = "m"
				if i == 7 {
					e.MessageID = "n"
				}
				events = append(events, e)
			}
			for i := 0; i < total; i += 100 {
				if _, err := s.Accept(t.Context(), events[i:i+100], now.Add(time.Duration(i)*time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			var outcomes []store.Outcome
			for _, d := range h.deliveries {
				outcomes = append(outcomes, store.Outcome{Delivery: d, Attempt: &store.Attempt{Number: 1, At: now}, State: store.Delivered})
			}
			if err := s.Record(t.Context(), outcomes, now); err != nil {
				t.Fatal(err)
			}
			for _, tt := range []struct {
				q            store.DeliveryQuery
				found, pages int
			}{
				{store.DeliveryQuery{States: failed}, 0, total/scan + 1},
				{store.DeliveryQuery{States: failed, OldestFirst: true}, 0, total/scan + 1},
				{store.DeliveryQuery{States: pending, MessageID: "m"}, 0, total/scan + 1},
				{store.DeliveryQuery{States: failed, MessageID: "n"}, 0, 1}, // few: by the message's index
				{store.DeliveryQuery{MessageID: "n"}, 1, 1},
				{store.DeliveryQuery{States: failed, From: now.Add(1000 * time.Second)}, 0, 3},                 // 200 of them
				{store.DeliveryQuery{States: failed, To: now.Add(300 * time.Second)}, 0, 4},                    // 300
				{store.DeliveryQuery{States: failed, To: now.Add(300 * time.Second), OldestFirst: true}, 0, 4}, // 300
				{store.DeliveryQuery{Error: store.Timeout, From: now.Add(1000 * time.Second)}, 0, 3},           // 200
				{store.DeliveryQuery{StatusCode: 500, To: now.Add(300 * time.Second)}, 0, 4},                   // 300
				{store.DeliveryQuery{Holding: []byte("x"), FinishedTo: now.Add(-time.Second)}, 0, total/scan + 1},
				{store.DeliveryQuery{Channel: "RCS", FinishedFrom: now.Add(time.Hour)}, 0, total/scan + 1},
				{store.DeliveryQuery{FailedSince: now.Add(-time.Hour)}, 0, 1}, // few: none failed
				{store.DeliveryQuery{States: delivered}, total, total / 50},
				{store.DeliveryQuery{States: delivered, OldestFirst: true}, total, total / 50},
				{store.DeliveryQuery{}, total, total / 50},
			} {
				q, found, pages := tt.q, 0, 0
				q.AccountID, q.Limit = "a", 50
				for {
					before := q.After.Seq
					page, err := s.Deliveries(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					found, pages = found+len(page.Deliveries), pages+1
					if q.After = page.Next; q.After.Seq == 0 {
						break
					}
					if before > 0 && max(before-q.After.Seq, q.After.Seq-before) > scan {
						t.Errorf("%+v: page %d goes from Seq %d to %d, want at most %d further", tt.q, pages, before, q.After.Seq, scan)
					}
					if pages > 2*total/50 {
						t.Fatalf("%+v: no end after %d pages", tt.q, pages)
					}
				}
				if found != tt.found || pages != tt.pages {
					t.Errorf("%+v: %d found on %d pages, want %d on %d", tt.q, found, pages, tt.found, tt.pages)
				}
			}
		})
	}
}
