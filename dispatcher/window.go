package dispatcher

import (
	"cmp"
	"slices"

	"github.com/recapito/recapito/store"
)

// window is what a lane holds in memory. It keeps the order within a message:
// of a message's deliveries one, the chain's head, is ready or in flight, and
// the others wait behind it in order of Seq.
type window struct {
	items  map[int64]*item // all, by Seq, until their outcome is recorded
	chains map[string]*chain
	ready  fifo
}

// chain are the deliveries of one message that are in memory. It lives until
// the last of them is recorded, so that it knows what the store does not yet.
type chain struct {
	members int // items that have not been recorded
	head    *item
	rest    []*item // in order of Seq
	// behind: an earlier event of the message may be PENDING in the store and
	// not be in memory.
	behind bool
}

func newWindow() window {
	return window{items: map[int64]*item{}, chains: map[string]*chain{}}
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
		if !it.delivery.DueAt.IsZero() {
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
	if it.chain != nil {
		if it.chain.members--; it.chain.members == 0 {
			delete(w.chains, it.delivery.MessageID)
		}
	}
}

// enqueue gives an item its place in its message's order. It reports false if
// the item is behind one that is not in memory and may not overtake it; then
// the item has no place. Where the message has a chain, those before it are in
// memory, but for one that has been put off.
func (w *window) enqueue(it *item, overtakes bool) bool {
	c := w.chains[it.delivery.MessageID]
	if c != nil && it.delivery.BehindPutOff {
		c.behind = true
	}
	switch {
	case c == nil && it.delivery.Behind && !overtakes, c != nil && c.head == nil && c.behind && !overtakes:
		return false
	case c == nil:
		c = &chain{behind: it.delivery.Behind}
		w.chains[it.delivery.MessageID] = c
	}
	it.chain = c
	c.members++
	if c.head == nil {
		c.head = it
		w.makeReady(it)
		return true
	}
	at, _ := slices.BinarySearchFunc(c.rest, it.seq(), func(o *item, seq int64) int { return cmp.Compare(o.seq(), seq) })
	c.rest = slices.Insert(c.rest, at, it)
	return true
}

func (w *window) makeReady(it *item) {
	it.state = ready
	w.ready.push(it)
}

// finish ends the turn of a chain's head. again: it stays PENDING, so the
// others are behind it from now on. The next one that may go becomes ready;
// those that may not, by overtakes, are returned to be put off.
func (w *window) finish(it *item, again bool, overtakes func(*item) bool) (putOff []*item) {
	c := it.chain
	if c == nil || c.head != it {
		return nil // a probe
	}
	c.head = nil
	c.behind = c.behind || again
	for len(c.rest) > 0 {
		next := c.rest[0]
		c.rest = c.rest[1:]
		if !c.behind || overtakes(next) {
			c.head = next
			w.makeReady(next)
			return putOff
		}
		putOff = append(putOff, next)
	}
	return putOff
}

// clear forgets everything that has not begun. What is in flight or settled
// stays known, so that it is not read twice.
func (w *window) clear() {
	for _, c := range w.chains {
		if c.head != nil && c.head.state == ready {
			c.head, c.behind = nil, true
		}
		if len(c.rest) > 0 {
			c.rest, c.behind = nil, true
		}
	}
	for _, it := range w.items {
		if it.state == waiting || it.state == ready {
			w.forget(it)
		}
	}
	w.ready = fifo{}
}

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
