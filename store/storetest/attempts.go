package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

// attempted is an outcome of an attempt that began so long after t0.
func attempted(d *store.Delivery, number int, after time.Duration, status int, kind store.ErrorKind) store.Outcome {
	o := store.Outcome{Delivery: d, State: store.Delivered, Attempt: &store.Attempt{Number: number, At: at(after), Duration: time.Millisecond, StatusCode: status, Error: kind}}
	if kind != "" {
		o.State, o.Failures, o.DueAt = store.Pending, number, at(time.Hour)
	}
	return o
}

func testAttempts(t *testing.T, open Opener) {
	s := open(t)
	ready(t, s, "a", "b")
	ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"), event("a", "e3", "m1"), event("a", "e4", "m4"), event("b", "other", "m1"))
	lost := attempted(&ds[1], 1, 2*time.Second, 0, store.Timeout)
	lost.Attempt.Detail, lost.Attempt.Probe = "NO_ANSWER", true
	refused := attempted(&ds[1], 2, 4*time.Second, 503, store.HTTPStatus)
	refused.Attempt.Response, refused.Attempt.Location = []byte("no"), "https://a.example/"
	must(t, s.Record(t.Context(), []store.Outcome{
		attempted(&ds[0], 1, time.Second, 200, ""), lost, attempted(&ds[2], 1, 3*time.Second, 204, ""), refused, attempted(&ds[4], 1, time.Second, 200, ""),
	}, at(5*time.Second)))
	must(t, s.Record(t.Context(), []store.Outcome{attempted(&ds[1], 3, 5*time.Second, 201, ""), {Delivery: &ds[3], State: store.Failed}}, at(5*time.Second)))
	for _, tt := range []struct {
		name string
		q    store.AttemptQuery
		want string
	}{
		{"all", store.AttemptQuery{}, " e2#3 e2#2 e3#1 e2#1 e1#1"},
		{"message", store.AttemptQuery{MessageID: "m1"}, " e3#1 e1#1"},
		{"another message", store.AttemptQuery{MessageID: "m2"}, " e2#3 e2#2 e2#1"},
		{"message without an attempt", store.AttemptQuery{MessageID: "m4"}, ""},
		{"from", store.AttemptQuery{From: at(3 * time.Second)}, " e2#3 e2#2 e3#1"},
		{"to is exclusive", store.AttemptQuery{To: at(3 * time.Second)}, " e2#1 e1#1"},
		{"window", store.AttemptQuery{From: at(2 * time.Second), To: at(4 * time.Second)}, " e3#1 e2#1"},
		{"failed", store.AttemptQuery{Outcome: store.AttemptFailed}, " e2#2 e2#1"},
		{"acknowledged", store.AttemptQuery{Outcome: store.AttemptAcknowledged}, " e2#3 e3#1 e1#1"},
		{"2xx", store.AttemptQuery{Status: 2}, " e2#3 e3#1 e1#1"},
		{"5xx", store.AttemptQuery{Status: 5}, " e2#2"},
		{"4xx", store.AttemptQuery{Status: 4}, ""},
		{"no answer", store.AttemptQuery{Status: store.NoAnswer}, " e2#1"},
		{"all together", store.AttemptQuery{MessageID: "m2", From: t0, To: at(time.Minute), Outcome: store.AttemptFailed, Status: 5}, " e2#2"},
	} {
		for limit := 1; limit < 7; limit++ {
			q := tt.q
			q.AccountID = "a"
			all, err := attemptPages(t.Context(), s, q, limit)
			must(t, err)
			var got strings.Builder
			for _, a := range all {
				fmt.Fprintf(&got, " %s#%d", a.EventID, a.Number)
			}
			if got.String() != tt.want {
				t.Errorf("%s, limit %d: got%s, want%s", tt.name, limit, got.String(), tt.want)
			}
		}
	}
	page, err := s.Attempts(t.Context(), store.AttemptQuery{AccountID: "a", Outcome: store.AttemptFailed, Limit: 10})
	must(t, err)
	want := store.AttemptPage{Attempts: []store.AttemptOf{
		{Attempt: *refused.Attempt, Seq: ds[1].Seq, EventID: "e2", MessageID: "m2"}, {Attempt: *lost.Attempt, Seq: ds[1].Seq, EventID: "e2", MessageID: "m2"},
	}}
	if diff := cmp.Diff(want, page); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
}

// testAttemptPages: some of a backlog are acknowledged at first, long after they
// were accepted, beside others that are repeated. The pages hold each once, and
// newest first.
func testAttemptPages(t *testing.T, open Opener) {
	s := open(t)
	ready(t, s, "a", "b")
	var events []store.Event
	for i := range 200 {
		events = append(events, event("a", fmt.Sprint("e", i), fmt.Sprint("m", i)), event("b", fmt.Sprint("e", i), fmt.Sprint("m", i)))
	}
	ds := accept(t, s, t0, events...)
	var want []string
	for i := range 400 {
		if ds[i].AccountID != "a" || i%7 == 0 { // and those that wait
			continue
		}
		o := attempted(&ds[i], 1, time.Hour+time.Duration(i)*time.Second, 204, "")
		if i%3 == 0 {
			o = attempted(&ds[i], 1, time.Hour+time.Duration(i)*time.Second, 500, store.HTTPStatus)
		}
		must(t, s.Record(t.Context(), []store.Outcome{o}, at(2*time.Hour)))
		want = append([]string{ds[i].EventID}, want...)
	}
	for _, limit := range []int{1, 10, 99, 1000} {
		q := store.AttemptQuery{AccountID: "a", Limit: limit}
		var got []string
		for {
			page, err := s.Attempts(t.Context(), q)
			must(t, err)
			for _, a := range page.Attempts {
				got = append(got, a.EventID)
			}
			if page.Next == (store.AttemptPlace{}) {
				break
			}
			if q.After = page.Next; len(got) > len(want) {
				t.Fatalf("limit %d: more than %d attempts", limit, len(want))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limit %d (-want +got):\n%s", limit, diff)
		}
	}
}
