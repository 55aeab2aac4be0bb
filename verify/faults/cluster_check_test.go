package main

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/recapito/recapito/verify/rig"
)

// A record in which nothing is wrong, and what the checks say of one in which something is.
func TestTheCheckerFindsWhatIsWrong(t *testing.T) {
	begin := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	none := func(int) bool { return false }
	sound := func() *record {
		return &record{
			events:   []handed{{0, 7, at(10)}, {0, 7, at(20)}, {account: 1, message: 8}}, // the third was not accepted
			arrivals: []arrival{{0, 0, 0, at(11), true}, {1, 0, 1, at(40), true}},
			puts:     []put{{0, 1, at(25), at(30), true}},
		}
	}
	for name, tt := range map[string]struct {
		spoil func(r *record)
		check func(r *record) bool
	}{
		"an event that did not arrive": {
			func(r *record) { r.arrivals = r.arrivals[:1] },
			func(r *record) bool { return slices.Equal(r.missing(3, none), []int{1}) },
		},
		"an event that was refused": {
			func(r *record) { r.arrivals[1].acknowledged = false },
			func(r *record) bool { return slices.Equal(r.missing(3, none), []int{1}) },
		},
		"a repeat": {
			func(r *record) { r.arrive(arrival{0, 0, 1, at(50), true}) },
			func(r *record) bool { return len(r.repeats(mark{})) == 1 },
		},
		"an event that came twice after one fault": {
			func(r *record) { r.arrive(arrival{0, 0, 1, at(50), true}); r.arrive(arrival{0, 0, 1, at(60), true}) },
			func(r *record) bool { return oftener(r.repeats(mark{}), 1) != nil },
		},
		"an old URL": {
			func(r *record) { r.arrivals[1].version = 0 },
			func(r *record) bool {
				found := r.stales(mark{})
				return len(found) == 1 && found[0].late == 10*time.Millisecond
			},
		},
		"an event before an earlier one of its message": {
			func(r *record) { r.arrivals[0].at, r.arrivals[0].version = at(41), 1 },
			func(r *record) bool {
				err := r.disorder()
				return err != nil && strings.Contains(err.Error(), "1ms before event 0")
			},
		},
		"an event that waited": {
			func(r *record) { r.arrivals[1].at = at(9020) },
			func(r *record) bool { return r.longest(at(0), none) == 9*time.Second },
		},
		"an account without attempts": {
			func(r *record) { r.arrivals[1].at = at(9020) },
			func(r *record) bool { return r.idlest(at(0), none) == 9*time.Second },
		},
	} {
		if tt.check(sound()) {
			t.Errorf("%s: found where it is not", name)
		}
		r := sound()
		tt.spoil(r)
		if !tt.check(r) {
			t.Errorf("%s: not found", name)
		}
	}
}

func TestARegisterReadsWhatWasPut(t *testing.T) {
	put := func(url string, call, end int64) porcupine.Operation {
		return porcupine.Operation{Input: asked{"PUT", url}, Output: told{200, url}, Call: call, Return: end}
	}
	get := func(url string, call, end int64) porcupine.Operation {
		return porcupine.Operation{ClientId: 1, Input: asked{method: "GET"}, Output: told{200, url}, Call: call, Return: end}
	}
	made := porcupine.Operation{Input: asked{"POST", "a"}, Output: told{201, "a"}}
	without := func(method, url string) porcupine.Operation { // an answer
		return porcupine.Operation{Input: asked{method, url}, Output: told{}, Call: 1, Return: math.MaxInt64}
	}
	none := porcupine.Operation{ClientId: 1, Input: asked{method: "GET"}, Output: told{status: 404}, Call: 5, Return: 6}
	for name, tt := range map[string]struct {
		ops  []porcupine.Operation
		want bool
	}{
		"what was put":                            {[]porcupine.Operation{made, put("b", 1, 2), get("b", 3, 4)}, true},
		"what was before":                         {[]porcupine.Operation{made, put("b", 1, 2), get("a", 3, 4)}, false},
		"what was before, while it is put":        {[]porcupine.Operation{made, put("b", 1, 4), get("a", 2, 3)}, true},
		"what was before an unanswered PUT":       {[]porcupine.Operation{made, without("PUT", "b"), get("a", 3, 4)}, true},
		"what was before, once it was seen to be": {[]porcupine.Operation{made, without("PUT", "b"), get("b", 3, 4), get("a", 5, 6)}, false},
		"what was put without an answer":          {[]porcupine.Operation{made, without("PUT", "b"), get("a", 3, 4), get("b", 5, 6)}, true},
		"what nobody put":                         {[]porcupine.Operation{made, without("PUT", "b"), get("c", 3, 4)}, false},
		"nothing, after an unanswered PUT":        {[]porcupine.Operation{made, without("PUT", "b"), none}, false},
		"nothing, after an unanswered DELETE":     {[]porcupine.Operation{made, without("DELETE", ""), none}, true},
		"what was made again without an answer":   {[]porcupine.Operation{made, without("DELETE", ""), without("POST", "b"), none, get("b", 7, 8)}, true},
	} {
		for how, ops := range map[string][]porcupine.Operation{"as it is": tt.ops, "bounded": bounded(tt.ops)} {
			if got := porcupine.CheckOperations(webhookModel, ops); got != tt.want {
				t.Errorf("%s is read, %s: in order: got %t, want %t", name, how, got, tt.want)
			}
		}
	}
}

// A PUT without an answer may happen at any time after it.
func TestAURLWhosePutIsUnknownIsNeverOld(t *testing.T) {
	begin := time.Now()
	r := &record{
		arrivals: []arrival{{account: 0, version: 1, at: begin.Add(time.Second)}},
		puts:     []put{{account: 0, version: 1}, {0, 2, begin, begin, true}},
	}
	if found := r.stales(mark{}); len(found) > 0 {
		t.Errorf("got %v, want none", found)
	}
}

func TestAnEventIsAcceptedOnce(t *testing.T) {
	op := func(call, end int64, got verdict) porcupine.Operation {
		return porcupine.Operation{Input: 7, Call: call, Return: end, Output: got}
	}
	accepted, duplicate := verdict{Accepted: 1}, verdict{Duplicates: 1}
	for name, tt := range map[string]struct {
		ops []porcupine.Operation
		ok  bool
	}{
		"once":                            {[]porcupine.Operation{op(1, 9, duplicate), op(2, 8, accepted)}, true},
		"twice":                           {[]porcupine.Operation{op(1, 9, accepted), op(2, 8, accepted)}, false},
		"a duplicate of a later one":      {[]porcupine.Operation{op(1, 2, duplicate), op(3, 4, accepted)}, false},
		"a duplicate of none":             {[]porcupine.Operation{op(1, 2, duplicate)}, false},
		"a duplicate of one without word": {[]porcupine.Operation{op(1, math.MaxInt64, verdict{}), op(3, 4, duplicate)}, true},
	} {
		if err := acceptedOnce([][]porcupine.Operation{tt.ops}); (err == nil) != tt.ok {
			t.Errorf("%s: got %v, want that it is in order: %t", name, err, tt.ok)
		}
	}
}

// What a service logs of an attempt that had no answer in time explains a repeat of that event.
func TestAnAttemptThatTimedOutIsFoundInTheLog(t *testing.T) {
	const log = `time=2026-12-01T17:21:00.757Z level=INFO msg=attempt outcome=TIMEOUT account=acc4 event=evt_15164_1796138459854752151 attempt=1 host=127.1.0.5:44303 took=3s next=2026-12-01T15:21:00.778Z
time=2026-12-01T17:21:00.757Z level=INFO msg=attempt outcome=HTTP_STATUS account=acc5 event=evt_7 attempt=1 host=127.1.0.5:44303 took=3ms status=503 next=2026-12-01T15:21:00.778Z
`
	at := time.Date(2026, 12, 1, 17, 21, 0, 757_400_000, time.UTC)
	around := rig.Repeat{Before: at, Then: at.Add(time.Second)}
	later := rig.Repeat{Before: at.Add(time.Millisecond), Then: at.Add(time.Second)}
	for _, c := range []struct {
		event string
		r     rig.Repeat
		want  bool
	}{{"evt_15164_", around, true}, {"evt_15164_", later, false}, {"evt_1516_", around, false}, {"evt_7 ", around, false}} {
		if got := timedOut(log, c.event, c.r); got != c.want {
			t.Errorf("of %q, %v: got %v, want %v", c.event, c.r, got, c.want)
		}
	}
}
