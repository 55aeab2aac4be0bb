package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

// counted is what a tally says.
type counted struct {
	Acknowledged, Failed, Skipped int64
	Kinds                         []store.KindCount
	Half, Most                    time.Duration
}

func countedBy(t *store.Tally) counted {
	c := counted{Acknowledged: t.Acknowledged(), Skipped: t.Skipped()}
	c.Failed, c.Kinds = t.Failed()
	c.Half, _ = t.AnswerTime(0.5)
	c.Most, _ = t.AnswerTime(0.99)
	return c
}

// vitals is what vitals say.
type vitals struct {
	Pending, InARow      int64
	Oldest, NextDue      time.Time
	Success              store.Mark
	Failure              *store.Attempt
	All, Hour, Day, Week counted
}

func seen(v *store.Vitals) vitals {
	if v.Hour == nil {
		return vitals{}
	}
	return vitals{
		Pending: v.Pending(), InARow: v.InARow, Oldest: v.OldestPending, NextDue: v.NextDue, Success: v.Success, Failure: v.LastFailure,
		All: countedBy(&v.Tally), Hour: countedBy(v.Hour), Day: countedBy(v.Day), Week: countedBy(v.Week),
	}
}

// minute is what was counted in one, and what waited at its end.
type minute struct {
	At      time.Duration // since t0
	Pending int64
	Counted counted
}

// byMinute leaves out the minutes in which nothing was counted.
func byMinute(all []store.MinuteTally) (out []minute) {
	for i, m := range all {
		seen := minute{time.Duration(m.Minute-store.Minute(t0)) * time.Minute, m.Pending(), counted{}}
		if i > 0 {
			seen.Counted = countedBy(m.Between(&all[i-1].Tally))
			if cmp.Equal(seen, minute{seen.At, all[i-1].Pending(), counted{}}) {
				continue
			}
		}
		out = append(out, seen)
	}
	return out
}

func testVitals(t *testing.T, open Opener) {
	read := func(t *testing.T, s store.Store, now time.Time) vitals {
		t.Helper()
		v, err := s.Vitals(t.Context(), "a", now)
		must(t, err)
		return seen(&v)
	}
	want := func(t *testing.T, what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	attempt := func(d *store.Delivery, number int, begun time.Time, took time.Duration, state store.State, kind store.ErrorKind, status int) store.Outcome {
		o := store.Outcome{Delivery: d, State: state, Attempt: &store.Attempt{Number: number, At: begun, Duration: took, Error: kind, StatusCode: status}}
		if kind != "" {
			o.Failures, o.Attempt.Response, o.Attempt.Detail = 1, []byte("no"), "X"
		}
		if state == store.Pending {
			o.DueAt = begun.Add(time.Hour)
		}
		return o
	}
	t.Run("what waits", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		want(t, "nothing", read(t, s, t0), vitals{})
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"), event("a", "e3", "m3"))
		accept(t, s, at(time.Minute), event("a", "e4", "m4"), event("b", "e5", "m5"))
		got := read(t, s, at(time.Minute))
		want(t, "pending", got.Pending, int64(4))
		want(t, "oldest", got.Oldest, t0)
		must(t, s.Record(t.Context(), []store.Outcome{done(&ds[0]), again(&ds[1], at(time.Hour)), done(&ds[2])}, at(2*time.Minute)))
		got = read(t, s, at(2*time.Minute))
		want(t, "pending after some have ended", got.Pending, int64(2))
		want(t, "oldest, which was put off", got.Oldest, t0)
		want(t, "next due", got.NextDue, at(time.Hour))
		must(t, s.Replay(t.Context(), "a", "e1", at(3*time.Minute)))
		want(t, "pending with one that is sent again", read(t, s, at(3*time.Minute)).Pending, int64(3))
		_, err := s.Expire(t.Context(), "a", at(30*time.Second), at(4*time.Minute), 100)
		must(t, err)
		got = read(t, s, at(4*time.Minute))
		want(t, "pending after one was given up", got.Pending, int64(2))
		want(t, "the oldest that is left", got.Oldest, at(time.Minute))
		must(t, s.DeleteWebhook(t.Context(), "a", at(5*time.Minute)))
		want(t, "pending without a webhook", read(t, s, at(5*time.Minute)).Pending, int64(0))
	})
	t.Run("attempts by time", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		one := func(id string, now time.Time, kind store.ErrorKind, status int) {
			d := accept(t, s, now, event("a", id, id))[0]
			state := store.Delivered
			if kind != "" {
				state = store.Failed
			}
			must(t, s.Record(t.Context(), []store.Outcome{attempt(&d, 1, now, 100*time.Millisecond, state, kind, status)}, now))
		}
		one("e1", t0, "", 200)
		one("e2", at(3*24*time.Hour), store.HTTPStatus, 500)
		one("e3", at(7*24*time.Hour-2*time.Hour), store.Timeout, 0)
		one("e4", at(7*24*time.Hour-time.Minute), "", 204)
		one("e5", at(7*24*time.Hour), store.Timeout, 0)
		now := at(7*24*time.Hour + 10*time.Minute)
		got := read(t, s, now)
		answers := func(c counted) counted { c.Half, c.Most = 0, 0; return c }
		want(t, "hour", answers(got.Hour), counted{Acknowledged: 1, Failed: 1, Kinds: []store.KindCount{{Kind: store.Timeout, N: 1}}})
		want(t, "day", answers(got.Day), counted{Acknowledged: 1, Failed: 2, Kinds: []store.KindCount{{Kind: store.Timeout, N: 2}}})
		want(t, "week", answers(got.Week), counted{Acknowledged: 1, Failed: 3, Kinds: []store.KindCount{{Kind: store.Timeout, N: 2}, {Kind: store.HTTPStatus, N: 1}}})
		if h := got.Week.Half; h < 88*time.Millisecond || h > 112*time.Millisecond {
			t.Errorf("half of the answers came in %v, want 100 ms to an eighth", h)
		}
		want(t, "failures in a row", got.InARow, int64(1))
		want(t, "last success", got.Success.At, at(7*24*time.Hour-time.Minute))
		want(t, "last failure", got.Failure, &store.Attempt{
			Number: 1, At: at(7 * 24 * time.Hour), Duration: 100 * time.Millisecond, Error: store.Timeout, Detail: "X", Response: []byte("no"),
		})
		_, err := s.ReplaceCallbackURL(t.Context(), "a", "https://new.example/", now)
		must(t, err)
		want(t, "failures in a row after a PUT", read(t, s, now).InARow, int64(0))
	})
	t.Run("an attempt is counted once", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"), event("a", "e3", "m3"))
		outcomes := []store.Outcome{
			attempt(&ds[0], 1, t0, time.Second, store.Delivered, "", 200), attempt(&ds[1], 1, t0, time.Second, store.Pending, store.HTTPStatus, 500),
			attempt(&ds[2], 1, t0, time.Second, store.Failed, store.HTTPStatus, 500),
		}
		for range 3 {
			must(t, s.Record(t.Context(), outcomes, at(time.Second)))
		}
		got := read(t, s, at(time.Second))
		if got.Pending != 1 || got.InARow != 2 || got.Hour.Acknowledged != 1 || got.Hour.Failed != 2 {
			t.Errorf("%+v; want one pending, one acknowledged and two failed, in a row", got)
		}
	})
	t.Run("minute by minute", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		minutes := func(first, last time.Duration) []minute {
			t.Helper()
			all, err := s.Minutes(t.Context(), "a", store.Minute(at(first)), store.Minute(at(last)))
			must(t, err)
			return byMinute(all)
		}
		want(t, "nothing", minutes(0, time.Minute), []minute{{At: -time.Minute}})
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"), event("a", "e3", "m3"), event("b", "e4", "m4"))
		end := func(d *store.Delivery, after time.Duration, state store.State, kind store.ErrorKind) {
			must(t, s.Record(t.Context(), []store.Outcome{attempt(d, 1, at(after), time.Second, state, kind, 0)}, at(after)))
		}
		end(&ds[0], time.Minute, store.Delivered, "")
		end(&ds[1], time.Minute, store.Failed, store.Timeout)
		end(&ds[2], 5*time.Minute, store.Delivered, "")
		end(&ds[3], 6*time.Minute, store.Delivered, "")
		first, second := minute{0, 3, counted{}}, minute{time.Minute, 1, counted{Acknowledged: 1, Failed: 1, Kinds: []store.KindCount{{Kind: store.Timeout, N: 1}}}}
		third := minute{5 * time.Minute, 0, counted{Acknowledged: 1}}
		want(t, "all", minutes(0, 9*time.Minute), []minute{{At: -time.Minute}, first, second, third})
		want(t, "from the second minute to the fourth", minutes(time.Minute, 4*time.Minute), []minute{{0, 3, counted{}}, second})
		want(t, "of a time without any", minutes(2*time.Minute, 4*time.Minute), []minute{{time.Minute, 1, counted{}}})
	})
	t.Run("skipped for want of a webhook", func(t *testing.T) {
		s := open(t)
		account(t, s, "a")
		_, err := s.Accept(t.Context(), []store.Event{event("a", "e1", "m"), event("a", "e2", "m"), event("x", "e3", "m")}, t0)
		must(t, err)
		got := read(t, s, at(time.Hour))
		want(t, "in a day", got.Day.Skipped, int64(2))
		want(t, "two days later", read(t, s, at(48*time.Hour)).Day.Skipped, int64(0))
	})
	t.Run("what is known of a failure without its delivery", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		d := accept(t, s, t0, event("a", "e1", "m"))[0]
		must(t, s.Record(t.Context(), []store.Outcome{attempt(&d, 1, t0, time.Second, store.Failed, store.HTTPStatus, 503)}, t0))
		_, err := s.Sweep(t.Context(), at(time.Hour), time.Minute, 10)
		must(t, err)
		want(t, "failure", read(t, s, at(time.Hour)).Failure, &store.Attempt{Number: 1, At: t0, Error: store.HTTPStatus, StatusCode: 503})
	})
	t.Run("an erasure removes all", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		accept(t, s, t0, event("a", "e1", "m"), event("a", "e2", "m"), event("b", "e3", "m"))
		must(t, s.DeleteAccount(t.Context(), "a"))
		ready(t, s, "a")
		want(t, "of the next account", read(t, s, at(time.Second)), vitals{})
		v, err := s.Vitals(t.Context(), "b", at(time.Second))
		must(t, err)
		want(t, "of another account", v.Pending(), int64(1))
	})
}
