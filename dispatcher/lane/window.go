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
	messages map[string]*message
	ready    fifo
	// While the store is asked, a message whose last member was recorded stays: the
	// answer may be older than that record.
	asked bool
	empty []string // such messages
}

func newWindow() window {
	return window{items: map[int64]*item{}, messages: map[string]*message{}}
}

func (w *window) len() int { return len(w.items) }

func (w *window) has(seq int64) bool { _, ok := w.items[seq]; return ok }

// hold takes the delivery into memory, outside the order of its message.
func (w *window) hold(d *store.Delivery) *item {
	it := &item{delivery: d}
	w.items[d.Seq] = it
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
	if it.message == nil {
		return
	}
	if it.message.members--; it.message.members > 0 {
		return
	}
	if w.asked {
		w.empty = append(w.empty, it.delivery.MessageID)
	} else {
		delete(w.messages, it.delivery.MessageID)
	}
}

// ask notes that the store is asked, answered that its answer has been taken in.
func (w *window) ask() { w.asked = true }

func (w *window) answered() {
	for _, message := range w.empty {
		if c := w.messages[message]; c != nil && c.members == 0 {
			delete(w.messages, message)
		}
	}
	w.asked, w.empty = false, nil
}

// item is a delivery in memory, until its outcome is on disk.
type item struct {
	delivery *store.Delivery
	state    itemState
	message  *message // nil: outside the order of its message
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

// wasPutOff: it had been put off when it was read.
func (it *item) wasPutOff() bool { return !it.delivery.DueAt.IsZero() }

// fifo is a queue that reuses its memory.
type fifo struct {
	items []*item
	first int
}

func (q *fifo) len() int { return len(q.items) - q.first }

func (q *fifo) push(it *item) { q.items = append(q.items, it) }

// pushFront puts back what was popped last.
func (q *fifo) pushFront(it *item) {
	if q.first == 0 {
		q.items = slices.Insert(q.items, 0, it)
		return
	}
	q.first--
	q.items[q.first] = it
}

func (q *fifo) pop() *item {
	it := q.items[q.first]
	q.items[q.first] = nil
	q.first++
	if q.first == len(q.items) {
		q.items, q.first = q.items[:0], 0
	} else if q.first >= 64 && q.first >= len(q.items)/2 {
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
	return it
}
