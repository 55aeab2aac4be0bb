package sqlite

import (
	"fmt"
	"sync"
	"testing"

	"github.com/recapito/recapito/store"
)

// A page that is not full says that there is no more. Here there always is, while
// what is at the beginning ends.
func TestPageIsFullWhileOutcomesAreRecorded(t *testing.T) {
	const all, left, page = 150, 10, 2
	s := open(t, file(t))
	withWebhook(t, s)
	events := make([]store.Event, all)
	for i := range events {
		events[i] = event(fmt.Sprint(i))
	}
	if _, err := s.Accept(t.Context(), events, now); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var reading sync.WaitGroup
	for range 2 {
		reading.Go(func() {
			for {
				b, err := s.Backlog(t.Context(), store.BacklogQuery{AccountID: "a", Now: now, Fresh: page})
				if err != nil || len(b.Fresh) != page {
					t.Errorf("Backlog: %d fresh, %v, want %d of those left", len(b.Fresh), err, page)
					return
				}
				o, err := s.Oldest(t.Context(), "a")
				if err != nil || len(o.Fresh) != 1 {
					t.Errorf("Oldest: %d, %v, want 1 of those left", len(o.Fresh), err)
					return
				}
				select {
				case <-ended:
					return
				default:
				}
			}
		})
	}
	for seq := int64(1); seq <= all-left; seq++ {
		d := &store.Delivery{Seq: seq, AccountID: "a", MessageID: "m"}
		o := store.Outcome{Delivery: d, State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: now}}
		if err := s.Record(t.Context(), []store.Outcome{o}, now); err != nil {
			t.Fatal(err)
		}
	}
	close(ended)
	reading.Wait()
}

// Whoever ends a part after the other goes on while there may be more.
func TestCancelSaysThatThereMayBeMore(t *testing.T) {
	s := open(t, file(t))
	withWebhook(t, s)
	if _, err := s.Accept(t.Context(), []store.Event{event("1"), event("2"), event("3")}, now); err != nil {
		t.Fatal(err)
	}
	d := &store.Delivery{Seq: 1, AccountID: "a", MessageID: "m"}
	found := []int64{1, 2}
	o := store.Outcome{Delivery: d, State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: now}}
	if err := s.Record(t.Context(), []store.Outcome{o}, now); err != nil { // since they were found
		t.Fatal(err)
	}
	if n, err := s.finishFound(t.Context(), "a", cancelled, now, found, 2, func(*txn) (those, error) { return whatever, nil }); err != nil || n != 2 {
		t.Errorf("finishFound: %d, %v, want the limit, 2, as many were found", n, err)
	}
}
