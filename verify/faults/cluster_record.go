package main

import (
	"sync"
	"time"
)

// record is what is known of a run: what was accepted, what arrived, which callback URLs
// were put. An event's number is its place.
type record struct {
	mu       sync.Mutex
	events   []handed
	arrivals []arrival
	puts     []put
	refused  int // requests that were answered 5xx
}

// handed is an event that was handed in.
type handed struct {
	account, message int
	accepted         time.Time // when its 202 came; zero: not yet
}

// arrival is a callback that was received.
type arrival struct {
	event, account int
	version        int       // of the callback URL
	at             time.Time // when the kernel had it
	acknowledged   bool
}

// put is a change of a callback URL. Those of an account follow each other.
type put struct {
	account, version int
	begin, end       time.Time
	known            bool // it was answered 200; else it may happen at any time, or never
}

// hand makes a number for each of some events.
func (r *record) hand(events []handed) (first int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, events...)
	return len(r.events) - len(events)
}

func (r *record) accept(first, n int) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := first; i < first+n; i++ {
		if r.events[i].accepted.IsZero() {
			r.events[i].accepted = now
		}
	}
}

func (r *record) arrive(a arrival) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrivals = append(r.arrivals, a)
}

func (r *record) accountOf(event int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[event].account
}

func (r *record) put(p put) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.puts = append(r.puts, p)
}

func (r *record) refuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused++
}

// mark is a place in a record.
type mark struct{ events, arrivals, puts, refused int }

func (r *record) mark() mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	return mark{len(r.events), len(r.arrivals), len(r.puts), r.refused}
}
