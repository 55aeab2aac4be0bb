package lane

import (
	"slices"

	"github.com/recapito/recapito/store"
)

// window is what a lane holds in memory. It keeps the order within a message:
// only one delivery of a message, its head, is ready or under way. The
// others wait behind it in order of Seq.
type window struct {
	items    map[int64]*item // all, by Seq, until their outcome is recorded
	messages map[messageKey]*message
	ready    fifo // in their first run
	again    fifo // the same, of replays
	replays  int  // of the items
	// While the store is asked, its answer may be older than what was recorded
	// since: until then those messages and their members' order stay.
	asked bool
	left  []member
}

func newWindow() window {
	return window{items: map[int64]*item{}, messages: map[messageKey]*message{}}
}

func (w *window) len() int { return len(w.items) }

// firstRuns is how many are no replays.
func (w *window) firstRuns() int { return len(w.items) - w.replays }

func (w *window) has(seq int64) bool { _, ok := w.items[seq]; return ok }

// hold takes the delivery into memory, outside the order of its message.
func (w *window) hold(d *store.Delivery) *item {
	it := &item{delivery: d}
	w.items[d.Seq] = it
	if d.IsReplay() {
		w.replays++
	}
	return it
}

// due lists the items that had been put off when they were read.
func (w *window) due() (seqs []int64) {
	for seq, it := range w.items {
		if it.wasPutOff() {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// forget drops an item.
func (w *window) forget(it *item) {
	if w.items[it.seq()] != it {
		return
	}
	delete(w.items, it.seq())
	if it.delivery.IsReplay() {
		w.replays--
	}
	if it.message == nil {
		return
	}
	it.message.members--
	m := member{message: it.message, key: it.key()}
	if w.asked {
		w.left = append(w.left, m)
	} else {
		w.leave(m)
	}
}

// member was in memory, as one of its message.
type member struct {
	message *message
	key     messageKey
}

// leave ends a message after its last member.
func (w *window) leave(m member) {
	if m.message.members == 0 {
		delete(w.messages, m.key)
	}
}

// ask notes that the store is asked, answered that its answer has been taken in.
func (w *window) ask() { w.asked = true }

func (w *window) answered() {
	for _, m := range w.left {
		w.leave(m)
	}
	w.asked, w.left = false, nil
}

// item is a delivery in memory, until its outcome is on disk.
type item struct {
	delivery *store.Delivery
	state    itemState
	message  *message // nil: outside the order of its message
	stale    bool     // it has been replayed since it was read, or may have been
}

type itemState uint8

const (
	waiting   itemState = iota // behind another event of its message
	ready                      // may be attempted
	inFlight                   // being attempted
	attempted                  // it was, and its outcome waits to be recorded
	settled                    // its outcome waits to be recorded, and there was no attempt
)

func (it *item) seq() int64 { return it.delivery.Seq }

// messageKey names a message. Its events that are sent again have an order of their
// own, so that no new event waits for them.
type messageKey struct {
	id      string
	replays bool
}

func (it *item) key() messageKey {
	return messageKey{it.delivery.MessageID, it.delivery.IsReplay()}
}

// wasPutOff: it had been put off when it was read.
func (it *item) wasPutOff() bool { return !it.delivery.DueAt.IsZero() }

// fifo is a queue that reuses its memory.
type fifo struct {
	items []*item
	start int
}

func (q *fifo) len() int { return len(q.items) - q.start }

func (q *fifo) first() *item { return q.items[q.start] }

func (q *fifo) push(it *item) { q.items = append(q.items, it) }

// pushFront puts back what was popped last.
func (q *fifo) pushFront(it *item) {
	if q.start == 0 {
		q.items = slices.Insert(q.items, 0, it)
		return
	}
	q.start--
	q.items[q.start] = it
}

func (q *fifo) pop() *item {
	it := q.items[q.start]
	q.items[q.start] = nil
	q.start++
	if q.start == len(q.items) {
		q.items, q.start = q.items[:0], 0
	} else if q.start >= 64 && q.start >= len(q.items)/2 {
		n := copy(q.items, q.items[q.start:])
		clear(q.items[n:])
		q.items, q.start = q.items[:n], 0
	}
	return it
}
