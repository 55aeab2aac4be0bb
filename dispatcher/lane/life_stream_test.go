package lane_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/recapito/recapito/store"
)

// stream is what other processes have accepted, and the lane is told later: as it is read
// at some time, and handed over at a later one. What is accepted here meanwhile comes behind
// it.
type stream struct {
	elsewhere bool               // what is being accepted is
	accepted  []store.Acceptance // not read
	read      []store.Acceptance // not handed over
}

// takes reports whether what was accepted is not handed over at once.
func (s *stream) takes(batch []store.Acceptance) bool {
	if !s.elsewhere && len(s.accepted)+len(s.read) == 0 {
		return false
	}
	s.accepted = append(s.accepted, batch...)
	return true
}

// hides reports whether no page shows an event.
func (s *stream) hides(d store.Delivery) bool {
	waits := s.read // before what was accepted since
	if len(waits) == 0 {
		waits = s.accepted
	}
	return len(waits) > 0 && d.Seq >= waits[0].Delivery.Seq && d.DueAt.IsZero() && !d.IsReplay()
}

func (w *life) acceptElsewhere(t *rapid.T) {
	w.tell()
	w.stream.elsewhere = true
	w.accept(t)
	w.stream.elsewhere = false
}

// look reads what others have accepted.
func (w *life) look() {
	w.tell()
	for _, a := range w.stream.accepted {
		d, _, err := w.store.Delivery(context.Background(), "a", a.Delivery.EventID)
		w.must(err)
		w.stream.read = append(w.stream.read, store.Acceptance{Delivery: d, Read: w.now})
	}
	if w.stream.accepted != nil {
		w.pass(time.Microsecond)
	}
	w.stream.accepted = nil
}

// hear hands over what was read.
func (w *life) hear() {
	w.tell()
	if w.stream.read == nil {
		return
	}
	h := w.webhook()
	w.lane.Handed()
	w.lane.SetRoom(w.room)
	for i := range w.stream.read {
		a := &w.stream.read[i]
		if d, _, _ := w.store.Delivery(context.Background(), "a", a.Delivery.EventID); d.State == store.Pending && !d.IsReplay() && d.GoesTo(&h) {
			a.Webhook = &h
			w.lane.Offer(a, w.now)
		}
	}
	w.stream.read = nil
}

// backlog is a page of what has been handed over.
func (w *life) backlog(q store.BacklogQuery) (store.Backlog, error) {
	most := q.Fresh
	if most > 0 {
		q.Fresh = 1 << 20
	}
	b, err := w.store.Backlog(context.Background(), q)
	b.Fresh = slices.DeleteFunc(b.Fresh, w.stream.hides)
	b.Fresh = b.Fresh[:min(most, len(b.Fresh))]
	return b, err
}

// oldest is the oldest of what has been handed over.
func (w *life) oldest() (store.Backlog, error) {
	b, err := w.store.Oldest(context.Background(), "a")
	b.Fresh = slices.DeleteFunc(b.Fresh, w.stream.hides)
	return b, err
}

// putOffElsewhere has another process put off the events of a message, the first of which
// is due at once.
func (w *life) putOffElsewhere(t *rapid.T) {
	message := fmt.Sprint("m", rapid.IntRange(0, w.messages).Draw(t, "put off")) // m0: there is none
	for _, e := range w.events {
		if e.message != message {
			continue
		}
		d, _, err := w.store.Delivery(context.Background(), "a", e.id)
		w.must(err)
		if d.State == store.Pending && !d.IsReplay() && !d.Begun() && d.DueAt.IsZero() && !w.stream.hides(d) {
			w.must(w.store.Record(context.Background(), []store.Outcome{{Delivery: &d, State: store.Pending, DueAt: w.now.Add(orderWait), Behind: true}}, w.now))
		}
	}
	w.pass(time.Microsecond)
}
