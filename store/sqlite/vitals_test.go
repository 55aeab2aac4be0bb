package sqlite

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
)

// deliver accepts some events and records that they were acknowledged.
func deliver(t testing.TB, s *Store, h *handed, name string, n int, at time.Time) {
	t.Helper()
	var events []store.Event
	for i := range n {
		events = append(events, event(fmt.Sprint(name, "-", i)))
	}
	h.deliveries = nil
	if _, err := s.Accept(t.Context(), events, at); err != nil {
		t.Fatal(err)
	}
	var outcomes []store.Outcome
	for _, d := range h.deliveries {
		outcomes = append(outcomes, store.Outcome{Delivery: d, State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: at, Duration: 20 * time.Millisecond, StatusCode: 204}})
	}
	if err := s.Record(t.Context(), outcomes, at); err != nil {
		t.Fatal(err)
	}
}

func number(t *testing.T, s *Store, query string) (n int) {
	t.Helper()
	if err := s.read.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// What is kept of minutes is thinned out, and what was logged is removed. The sums stay
// what they are.
func TestTalliesAreThinnedOut(t *testing.T) {
	s := open(t, file(t))
	withWebhook(t, s)
	h := &handed{}
	s.Listen(h)
	const hours = 10 * 24
	for i := range hours {
		for j := range 3 {
			deliver(t, s, h, fmt.Sprint(i, "-", j), 1, now.Add(time.Duration(i)*time.Hour+time.Duration(j)*time.Minute))
		}
	}
	end := now.Add((hours-1)*time.Hour + 30*time.Minute)
	v, err := s.Vitals(t.Context(), "a", end)
	if err != nil {
		t.Fatal(err)
	}
	got := []int64{v.Acknowledged(), v.Hour.Acknowledged(), v.Day.Acknowledged(), v.Week.Acknowledged()}
	if want := []int64{3 * hours, 3, 3 * 24, 3 * 7 * 24}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("acknowledged in all, in an hour, a day, a week: got %v, want %v", got, want)
	}
	if rows, most := number(t, s, `SELECT count(*) FROM tallies`), 3*26+7*24+4; rows > most {
		t.Errorf("%d rows, want %d at most", rows, most)
	}
	if rows := number(t, s, `SELECT count(*) FROM tally_log`); rows > 4 {
		t.Errorf("%d rows are logged, want those of the present minute", rows)
	}
}

// What many accounts count is written and removed from the log with a single commit a
// minute, and over starts.
func TestTalliesOfManyAccountsAndFewCommits(t *testing.T) {
	const accounts, minutes = 5 * talliesAtOnce, 40
	s := open(t, file(t))
	name := func(i int) string { return fmt.Sprint("many-", i) }
	for i := range accounts {
		if _, _, err := s.PutAccount(t.Context(), name(i), now); err != nil {
			t.Fatal(err)
		}
	}
	want := make([]int64, accounts)
	// skip counts an event of each account: none has a webhook.
	skip := func(minute int, of ...int) {
		t.Helper()
		events := make([]store.Event, len(of))
		for i, a := range of {
			events[i] = event(fmt.Sprint(minute, "-", a))
			events[i].AccountID = name(a)
			want[a]++
		}
		if _, err := s.Accept(t.Context(), events, now.Add(time.Duration(minute)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	for minute := range minutes {
		skip(minute, rand.Perm(accounts)[rand.IntN(accounts):]...) // some count on, others have stopped
		if minute%10 == 9 {
			if err := (reopening{s}).Reopen(); err != nil {
				t.Fatal(err)
			}
		}
	}
	short := func(what string) {
		t.Helper()
		if rows := number(t, s, `SELECT count(*) FROM tally_log`); rows > 4 {
			t.Errorf("%d rows are logged %s, want those of the last minutes", rows, what)
		}
	}
	const quiet, busy = 3 + accounts/talliesAtOnce, 10
	end := minutes
	for range quiet {
		skip(end, 0)
		end++
	}
	short("after a quiet time")
	for range busy {
		skip(end, rand.Perm(accounts)...)
		end++
	}
	short("while all count")
	for i := range accounts {
		if v, err := s.Vitals(t.Context(), name(i), now.Add(time.Duration(end)*time.Minute)); err != nil || v.Skipped() != want[i] {
			t.Errorf("of account %d %d events were skipped (%v), want %d", i, v.Skipped(), err, want[i])
		}
	}
}

// Of an account of which nothing is counted any more, the last tally stays.
func TestTalliesOfAQuietAccountAreSwept(t *testing.T) {
	s := open(t, file(t))
	withWebhook(t, s)
	h := &handed{}
	s.Listen(h)
	for i := range 30 {
		deliver(t, s, h, fmt.Sprint(i), 1, now.Add(time.Duration(i)*time.Minute))
	}
	later := now.Add(30 * 24 * time.Hour)
	for range 2 {
		if _, err := s.Sweep(t.Context(), later, 1000*time.Hour, 10); err != nil {
			t.Fatal(err)
		}
	}
	if rows := number(t, s, `SELECT count(*) FROM tallies`); rows != 1 {
		t.Errorf("%d rows, want the last", rows)
	}
	if v, err := s.Vitals(t.Context(), "a", later); err != nil || v.Acknowledged() != 30 || v.Week.Acknowledged() != 0 {
		t.Errorf("acknowledged %d, in a week %d (%v); want 30 and none", v.Acknowledged(), v.Week.Acknowledged(), err)
	}
}

// What was counted since the last row outlives a crash.
func TestTalliesOutliveACrash(t *testing.T) {
	path := file(t)
	s := open(t, path)
	withWebhook(t, s)
	h := &handed{}
	s.Listen(h)
	for i := range 5 {
		deliver(t, s, h, fmt.Sprint(i), 10, now.Add(time.Duration(i)*20*time.Second))
	}
	if err := (reopening{s}).Reopen(); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, h, "after", 10, now.Add(2*time.Minute))
	if v, err := s.Vitals(t.Context(), "a", now.Add(3*time.Minute)); err != nil || v.Acknowledged() != 60 || v.Hour.Acknowledged() != 60 {
		t.Errorf("acknowledged %d, in an hour %d (%v); want 60", v.Acknowledged(), v.Hour.Acknowledged(), err)
	}
}

// What is asked of an account's health looks at single rows, whatever there is.
func TestHealthIsAnsweredBySingleRows(t *testing.T) {
	s := open(t, file(t))
	for query, index := range map[string]string{
		tallyUpTo:      "SEARCH tallies USING PRIMARY KEY (account_id=? AND minute<?)",
		talliesBetween: "SEARCH tallies USING PRIMARY KEY (account_id=? AND minute>? AND minute<?)",
		changesBefore:  "SEARCH health_changes USING PRIMARY KEY (account_id=? AND number<?)",
		`SELECT min(seq) FROM waiting INDEXED BY waiting_longest WHERE account_id = ? AND replayed_at = 0`: "SEARCH waiting USING COVERING INDEX waiting_longest (account_id=? AND replayed_at=?)",
		`SELECT min(due_at) FROM waiting WHERE account_id = ? AND due_at > ?`:                              "SEARCH waiting USING PRIMARY KEY (account_id=? AND due_at>?)",
	} {
		if p := plan(t, s.read, query); !strings.Contains(p, index) || strings.Contains(p, "TEMP B-TREE") {
			t.Errorf("%s\nis not answered by %q alone:\n%s", query, index, p)
		}
	}
}
