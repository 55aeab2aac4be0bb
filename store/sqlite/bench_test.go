//go:build unix

package sqlite

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
)

// benchAccounts is many, as each account's index entries are elsewhere.
const benchAccounts = 100

// benchStore is a store with accounts and a webhook each.
func benchStore(b *testing.B) *Store {
	b.Helper()
	s, err := Open(b.Context(), Config{Path: filepath.Join(b.TempDir(), "recapito.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	for i := range benchAccounts {
		id := fmt.Sprintf("account-%03d", i)
		if _, _, err := s.PutAccount(b.Context(), id, now); err != nil {
			b.Fatal(err)
		}
		w := store.Webhook{AccountID: id, ID: "wh_" + id, CallbackURL: "https://a.example/", Status: store.Active, Secret: store.NewSecret(), CreatedAt: now, UpdatedAt: now}
		if _, err := s.CreateWebhook(b.Context(), w); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// benchEvents are events as they come: each message has three, ids grow with
// time, and accounts take turns.
func benchEvents(from, n int) []store.Event {
	padding := strings.Repeat("x", 250)
	events := make([]store.Event, n)
	for i := range events {
		at := from + i
		events[i] = store.Event{
			AccountID: fmt.Sprintf("account-%03d", at%benchAccounts), ID: fmt.Sprintf("evt_%020d", at),
			MessageID: fmt.Sprintf("msg_%020d", at%benchAccounts+at/benchAccounts/3*benchAccounts), Channel: "SMS",
			Payload: fmt.Appendf(nil, `{"id":"evt_%020d","text":"%s"}`, at, padding),
		}
	}
	return events
}

func batches(b *testing.B, run func(b *testing.B, batch int)) {
	for _, batch := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) { run(b, batch) })
	}
}

// meter measures what one event costs: elapsed time, the fsync of its batch
// included, and processor time, which other work on the machine disturbs less.
type meter struct {
	cpu     time.Duration
	started time.Duration
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (m *meter) start(b *testing.B) { b.StartTimer(); m.started = processorTime(b) }

func (m *meter) stop(b *testing.B) { m.cpu += processorTime(b) - m.started; b.StopTimer() }

func (m *meter) report(b *testing.B, batch int) {
	events := float64(b.N * batch)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1e3/events, "µs/event")
	b.ReportMetric(float64(m.cpu.Nanoseconds())/1e3/events, "cpu-µs/event")
}

func BenchmarkAccept(b *testing.B) {
	batches(b, func(b *testing.B, batch int) {
		s := benchStore(b)
		var m meter
		at := 0
		for b.Loop() {
			b.StopTimer()
			events := benchEvents(at, batch)
			at += batch
			m.start(b)
			if _, err := s.Accept(b.Context(), events, now.Add(time.Duration(at)*time.Microsecond)); err != nil {
				b.Fatal(err)
			}
			m.stop(b)
			b.StartTimer()
		}
		m.report(b, batch)
	})
}

// Outcomes as the dispatcher has them: nearly all deliveries are acknowledged
// at first; of those that are not, others of the message are put off, and
// released when they end.
func BenchmarkRecord(b *testing.B) {
	attempt := func(d *store.Delivery) *store.Attempt {
		return &store.Attempt{
			Number: d.Attempts + 1, At: now, Duration: 20 * time.Millisecond, StatusCode: 204,
			Phases: store.Phases{FirstByte: 19 * time.Millisecond}, Reused: true, Address: "203.0.113.7:443",
		}
	}
	for _, kind := range []struct {
		name    string
		outcome func(*store.Delivery) store.Outcome
	}{
		{"delivered", func(d *store.Delivery) store.Outcome {
			return store.Outcome{Delivery: d, Attempt: attempt(d), State: store.Delivered}
		}},
		{"refused", func(d *store.Delivery) store.Outcome {
			return store.Outcome{Delivery: d, Attempt: attempt(d), State: store.Pending, Failures: 1, DueAt: now.Add(time.Minute)}
		}},
		{"put off", func(d *store.Delivery) store.Outcome {
			return store.Outcome{Delivery: d, State: store.Pending, DueAt: now.Add(time.Minute), Behind: true}
		}},
		{"failed", func(d *store.Delivery) store.Outcome {
			return store.Outcome{Delivery: d, Attempt: attempt(d), State: store.Failed, Failures: 1}
		}},
	} {
		b.Run(kind.name, func(b *testing.B) {
			batches(b, func(b *testing.B, batch int) { benchRecord(b, batch, kind.outcome) })
		})
	}
}

func benchRecord(b *testing.B, batch int, outcome func(*store.Delivery) store.Outcome) {
	s := benchStore(b)
	h := &handed{}
	s.Listen(h)
	var m meter
	at := 0
	for b.Loop() {
		b.StopTimer()
		for len(h.deliveries) < batch {
			n := max(batch, 1000)
			if _, err := s.Accept(b.Context(), benchEvents(at, n), now); err != nil {
				b.Fatal(err)
			}
			at += n
		}
		outcomes := make([]store.Outcome, batch)
		for i, d := range h.deliveries[:batch] {
			outcomes[i] = outcome(d)
		}
		h.deliveries = h.deliveries[batch:]
		m.start(b)
		if err := s.Record(b.Context(), outcomes, now); err != nil {
			b.Fatal(err)
		}
		m.stop(b)
		b.StartTimer()
	}
	m.report(b, batch)
}

// A reader of the feed, a page of 100 at a time, from the beginning.
func BenchmarkFeed(b *testing.B) {
	s := benchStore(b)
	const events = 40_000
	for at := 0; at < events; at += 1000 {
		if _, err := s.Accept(b.Context(), benchEvents(at, 1000), now.Add(time.Duration(at)*time.Microsecond)); err != nil {
			b.Fatal(err)
		}
	}
	q := store.FeedQuery{AccountID: "account-001", Limit: 100}
	for b.Loop() {
		page, err := s.Events(b.Context(), q)
		if err != nil {
			b.Fatal(err)
		}
		if q.After = page.Next; len(page.Events) < 100 {
			q.After = 0
		}
	}
}

// One account's health, whatever it has: the deliveries have ended, but for one in a
// hundred, which waits for its retry.
func BenchmarkVitals(b *testing.B) {
	for _, deliveries := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint("deliveries=", deliveries), func(b *testing.B) {
			s := benchStore(b)
			h := &handed{}
			s.Listen(h)
			at := now
			for n := 0; n < deliveries; n += 1000 {
				at = at.Add(time.Minute)
				events := benchEvents(n, 1000)
				for i := range events {
					events[i].AccountID = "account-000"
				}
				h.deliveries = nil
				if _, err := s.Accept(b.Context(), events, at); err != nil {
					b.Fatal(err)
				}
				outcomes := make([]store.Outcome, len(h.deliveries))
				for i, d := range h.deliveries {
					outcomes[i] = store.Outcome{Delivery: d, State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: at, Duration: 20 * time.Millisecond, StatusCode: 204}}
					if i%100 == 0 {
						outcomes[i].State, outcomes[i].Failures, outcomes[i].DueAt = store.Pending, 1, at.Add(1000*time.Hour)
						outcomes[i].Attempt.StatusCode, outcomes[i].Attempt.Error = 503, store.HTTPStatus
					}
				}
				if err := s.Record(b.Context(), outcomes, at); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				v, err := s.Vitals(b.Context(), "account-000", at)
				if err != nil || v.Pending() != int64(deliveries/100) {
					b.Fatalf("%d PENDING, %v", v.Pending(), err)
				}
			}
		})
	}
}
