package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// This file holds a record to what several nodes promise. Each check is of what came
// since a mark, and knows of what came before.

// firsts are the first acknowledged arrivals of events.
func firsts(arrivals []arrival) map[int]time.Time {
	first := map[int]time.Time{}
	for _, a := range arrivals {
		if before, is := first[a.event]; a.acknowledged && (!is || a.at.Before(before)) {
			first[a.event] = a.at
		}
	}
	return first
}

// missing are the accepted events that have not arrived, but for those of some accounts.
func (r *record) missing(below int, but func(account int) bool) (numbers []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := firsts(r.arrivals)
	for i, e := range r.events[:below] {
		if _, is := first[i]; !is && !e.accepted.IsZero() && !but(e.account) {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

// repeats are the arrivals of events that had been acknowledged before.
func (r *record) repeats(since mark) (repeats []rig.Repeat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := map[int]time.Time{}
	for i, a := range r.arrivals {
		if !a.acknowledged {
			continue
		}
		if before, is := last[a.event]; is && i >= since.arrivals {
			repeats = append(repeats, rig.Repeat{Number: a.event, Before: before, Then: a.at})
		}
		last[a.event] = a.at
	}
	return repeats
}

// oftener fails if an event was repeated more often than there were faults.
func oftener(repeats []rig.Repeat, faults int) error {
	times := map[int]int{}
	for _, r := range repeats {
		if times[r.Number]++; times[r.Number] > faults {
			return fmt.Errorf("event %d was repeated %d times, after %d faults", r.Number, times[r.Number], faults)
		}
	}
	return nil
}

// stale is an arrival at a callback URL that another one had replaced.
type stale struct {
	arrival
	late time.Duration // after the answer to the PUT
}

// stales are the arrivals that came after the 200 of a later PUT. A URL whose own PUT
// was not answered may have been put later than that.
func (r *record) stales(since mark) (found []stale) {
	r.mu.Lock()
	defer r.mu.Unlock()
	unknown := map[[2]int]bool{}
	known := map[int][]put{} // by account, in their order
	for _, p := range r.puts {
		if p.known {
			known[p.account] = append(known[p.account], p)
		} else {
			unknown[[2]int{p.account, p.version}] = true
		}
	}
	for _, a := range r.arrivals[since.arrivals:] {
		if unknown[[2]int{a.account, a.version}] {
			continue
		}
		later := slices.IndexFunc(known[a.account], func(p put) bool { return p.version > a.version })
		if later >= 0 && a.at.After(known[a.account][later].end) {
			found = append(found, stale{a, a.at.Sub(known[a.account][later].end)})
		}
	}
	return found
}

// disorder fails if an event arrived before an earlier one of its message.
func (r *record) disorder() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := firsts(r.arrivals)
	last := map[int]int{} // by message
	for i, e := range r.events {
		at, is := first[i]
		if !is {
			continue
		}
		if before, is := last[e.message]; is && at.Before(first[before]) {
			return fmt.Errorf("event %d of account %d arrived at %v, %v before event %d of the same message, which was accepted at %v: earlier", i, e.account, at.UTC(), first[before].Sub(at), before, r.events[before].accepted.UTC())
		}
		last[e.message] = i
	}
	return nil
}

// longest is the longest that an event waited for its arrival, from its 202, of those
// accepted since a time.
func (r *record) longest(since time.Time, but func(account int) bool) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var waits []time.Duration
	for number, at := range firsts(r.arrivals) {
		if e := r.events[number]; !but(e.account) && e.accepted.After(since) {
			waits = append(waits, at.Sub(e.accepted))
		}
	}
	if len(waits) == 0 {
		return 0
	}
	return slices.MaxFunc(waits, cmp.Compare[time.Duration])
}

// idlest is the longest that an account had something to attempt and no attempt came, of
// events accepted since a time: from an arrival, or from the 202 of the event that arrived
// next, whichever was later.
func (r *record) idlest(since time.Time, but func(account int) bool) (longest time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	byTime := slices.SortedFunc(slices.Values(r.arrivals), func(a, b arrival) int { return a.at.Compare(b.at) })
	last, seen := map[int]time.Time{}, map[int]bool{}
	for _, a := range byTime {
		from := r.events[a.event].accepted
		if last[a.account].After(from) {
			from = last[a.account]
		}
		last[a.account] = a.at
		if first := !seen[a.event]; first && !but(a.account) && r.events[a.event].accepted.After(since) {
			longest = max(longest, a.at.Sub(from))
		}
		seen[a.event] = true
	}
	return longest
}
