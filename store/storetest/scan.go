package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
)

// RunScan is the part of the suite for stores that look at a bounded part of an account's
// history in one listing. Each open must give an empty one, which looks at so many rows.
func RunScan(t *testing.T, open func(t *testing.T, rows int) store.Store) {
	t.Run("deliveries", func(t *testing.T) { testScanOfDeliveries(t, open) })
	t.Run("attempts", func(t *testing.T) { testScanOfAttempts(t, open) })
}

const (
	scanned  = 1200 // events, one a second, a hundred in a batch
	scanRows = 100
)

func scan(t *testing.T, open func(*testing.T, int) store.Store, messageOf func(i int) string) (store.Store, []store.Delivery) {
	s := open(t, scanRows)
	ready(t, s, "a")
	var all []store.Delivery
	for i := 0; i < scanned; i += 100 {
		var events []store.Event
		for j := i; j < i+100; j++ {
			events = append(events, event("a", fmt.Sprint("e", j), messageOf(j)))
		}
		all = append(all, accept(t, s, at(time.Duration(i)*time.Second), events...)...)
	}
	return s, all
}

// A listing looks at no more than a part of what the account has, whatever is asked for.
func testScanOfDeliveries(t *testing.T, open func(*testing.T, int) store.Store) {
	s, all := scan(t, open, func(i int) string {
		if i == 7 {
			return "n"
		}
		return "m"
	})
	place, outcomes := map[int64]int{}, []store.Outcome{}
	for i := range all {
		d := &all[i]
		place[d.Seq] = i
		outcomes = append(outcomes, store.Outcome{Delivery: d, Attempt: &store.Attempt{Number: 1, At: t0}, State: store.Delivered})
	}
	must(t, s.Record(t.Context(), outcomes, t0))
	failed, pending, delivered := []store.State{store.Failed}, []store.State{store.Pending}, []store.State{store.Delivered}
	for _, tt := range []struct {
		q            store.DeliveryQuery
		found, pages int
	}{
		{store.DeliveryQuery{States: failed}, 0, scanned/scanRows + 1},
		{store.DeliveryQuery{States: failed, OldestFirst: true}, 0, scanned/scanRows + 1},
		{store.DeliveryQuery{States: pending, MessageID: "m"}, 0, scanned/scanRows + 1},
		{store.DeliveryQuery{States: failed, MessageID: "n"}, 0, 1}, // few: by the message's index
		{store.DeliveryQuery{MessageID: "n"}, 1, 1},
		{store.DeliveryQuery{States: failed, From: at(1000 * time.Second)}, 0, 3},                 // 200 of them
		{store.DeliveryQuery{States: failed, To: at(300 * time.Second)}, 0, 4},                    // 300
		{store.DeliveryQuery{States: failed, To: at(300 * time.Second), OldestFirst: true}, 0, 4}, // 300
		{store.DeliveryQuery{Error: store.Timeout, From: at(1000 * time.Second)}, 0, 3},           // 200
		{store.DeliveryQuery{StatusCode: 500, To: at(300 * time.Second)}, 0, 4},                   // 300
		{store.DeliveryQuery{Holding: []byte("x"), FinishedTo: at(-time.Second)}, 0, scanned/scanRows + 1},
		{store.DeliveryQuery{Channel: "RCS", FinishedFrom: at(time.Hour)}, 0, scanned/scanRows + 1},
		{store.DeliveryQuery{FailedSince: at(-time.Hour)}, 0, 1}, // few: none failed
		{store.DeliveryQuery{States: delivered}, scanned, scanned / 50},
		{store.DeliveryQuery{States: delivered, OldestFirst: true}, scanned, scanned / 50},
		{store.DeliveryQuery{}, scanned, scanned / 50},
	} {
		q, found, pages := tt.q, 0, 0
		q.AccountID, q.Limit = "a", 50
		for {
			before := q.After.Seq
			page, err := s.Deliveries(t.Context(), q)
			must(t, err)
			found, pages = found+len(page.Deliveries), pages+1
			if q.After = page.Next; q.After.Seq == 0 {
				break
			}
			from, to := place[before], place[q.After.Seq]
			if before > 0 && max(from-to, to-from) > scanRows {
				t.Errorf("%+v: page %d goes from event %d to %d, want at most %d further", tt.q, pages, from, to, scanRows)
			}
			if pages > 2*scanned/50 {
				t.Fatalf("%+v: no end after %d pages", tt.q, pages)
			}
		}
		if found != tt.found || pages != tt.pages {
			t.Errorf("%+v: %d found on %d pages, want %d on %d", tt.q, found, pages, tt.found, tt.pages)
		}
	}
}

// Attempts are looked for in a bounded part, whatever is asked for. Those of the
// probes of a dead endpoint are found beside what waits for them.
func testScanOfAttempts(t *testing.T, open func(*testing.T, int) store.Store) {
	s, all := scan(t, open, func(i int) string { return fmt.Sprint("e", i) })
	end := at(scanned * time.Second)
	probe := store.Attempt{Number: 1, At: end, StatusCode: 500, Error: store.HTTPStatus, Probe: true}
	must(t, s.Record(t.Context(), []store.Outcome{{Delivery: &all[0], Attempt: &probe, State: store.Pending, DueAt: end.Add(time.Hour)}}, end))
	for _, tt := range []struct {
		q            store.AttemptQuery
		first, pages int // attempts on the first page, and how many pages there are
	}{
		{store.AttemptQuery{}, 1, scanned/scanRows + 1},
		{store.AttemptQuery{Outcome: store.AttemptFailed}, 1, 1},
		{store.AttemptQuery{Status: 5}, 1, 1},
		{store.AttemptQuery{Status: 2}, 0, scanned/scanRows + 1},
		{store.AttemptQuery{MessageID: "e0"}, 1, 1},
		{store.AttemptQuery{To: at(300 * time.Second)}, 0, 4},
	} {
		q, first, found, pages := tt.q, 0, 0, 0
		for q.AccountID, q.Limit = "a", 50; ; {
			page, err := s.Attempts(t.Context(), q)
			must(t, err)
			if pages == 0 {
				first = len(page.Attempts)
			}
			found, pages = found+len(page.Attempts), pages+1
			if q.After = page.Next; page.Next == (store.AttemptPlace{}) {
				break
			}
			if pages > 2*scanned/scanRows {
				t.Fatalf("%+v: no end after %d pages", tt.q, pages)
			}
		}
		if first != tt.first || found != tt.first || pages != tt.pages {
			t.Errorf("%+v: %d on the first page, %d on %d; want %d, all on the first of %d", tt.q, first, found, pages, tt.first, tt.pages)
		}
	}
}
