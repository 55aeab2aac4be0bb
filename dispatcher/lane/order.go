package lane

import (
	"cmp"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// message is the order of one message: the deliveries of it that are in memory, of
// which only the head is ready or under way. It lives until
// the last of them is recorded, so it knows what the store does not know yet.
type message struct {
	members int // items that have not been recorded
	head    *item
	rest    []*item // in order of Seq
	// since is when the last of those that may be PENDING in the store, and are
	// not in memory, first failed to go; zero: there are none. Only items with a
	// Seq beyond from are behind them.
	since time.Time
	from  int64
	// aside are the Seqs of those that have been put off, in order: until they are
	// in memory again, none with a greater Seq goes, however long ago one failed.
	aside []int64
}

// overtaking says whether an event goes now, before an earlier one of its
// message that first failed to go at that time; zero: there is none.
type overtaking func(since time.Time) bool

// hold notes one that is not in memory; those with a greater Seq are behind it.
// What holds nobody back, or not any more, counts no more: by a clock that has
// been set back since it would be the last to have failed.
func (c *message) hold(since time.Time, seq int64, overtakes overtaking) {
	switch {
	case overtakes(since):
	case overtakes(c.since):
		c.since, c.from = since, seq
	default:
		c.since, c.from = Latest(c.since, since), min(c.from, seq)
	}
}

// behind is when the last of those that an item is behind first failed to go.
func (c *message) behind(it *item) time.Time {
	if it.seq() <= c.from {
		return time.Time{}
	}
	return c.since
}

// mayGo reports whether an item need not be put off. One that has begun has overtaken
// those before it, or they were replayed since.
func (c *message) mayGo(it *item, overtakes overtaking) bool {
	return it.delivery.Begun() || (len(c.aside) == 0 || it.seq() <= c.aside[0]) && overtakes(c.behind(it))
}

// putOff notes that an item is, isBack that it is in memory again.
func (c *message) putOff(it *item) {
	at, _ := slices.BinarySearch(c.aside, it.seq())
	c.aside = slices.Insert(c.aside, at, it.seq())
}

func (c *message) isBack(it *item) {
	if at, is := slices.BinarySearch(c.aside, it.seq()); is {
		c.aside = slices.Delete(c.aside, at, at+1)
	}
}

// index is where an item belongs among the rest.
func (c *message) index(it *item) int {
	at, _ := slices.BinarySearchFunc(c.rest, it.seq(), func(o *item, seq int64) int { return cmp.Compare(o.seq(), seq) })
	return at
}

// ahead counts those before an item that are put off in the store, as when they
// were read: what is settled may be so no more.
func (c *message) ahead(it *item) (n int) {
	if c.head != nil && c.head.seq() < it.seq() && c.head.wasPutOff() {
		n++
	}
	for _, earlier := range c.rest[:c.index(it)] {
		if earlier.wasPutOff() {
			n++
		}
	}
	return n
}

// behindEarlier reports whether an item that waits does so for an earlier one of its
// message. Otherwise one that has overtaken it is under way.
func (it *item) behindEarlier() bool {
	c := it.message
	return c != nil && (c.index(it) > 0 || (c.head != nil && c.head.seq() < it.seq()))
}

// enqueue gives an item its place in its message's order. It reports false if
// the item is behind one that is not in memory and may not overtake it, and since
// when that one has failed to go; then the item is to be put off. Where the
// message is known, those before it are in memory, but for some that have been
// put off. One of these that has not failed is waited for, whatever the time.
func (w *window) enqueue(it *item, now time.Time, overtakes overtaking) (since time.Time, ok bool) {
	c := w.messages[it.key()]
	goes := false
	if c == nil {
		since = behindSince(it.delivery, now)
		goes = overtakes(since)
	} else {
		b := &it.delivery.Behind
		unread := b.PutOff > c.ahead(it) && !it.delivery.Begun()
		if unread {
			c.hold(orNow(b.FailedAt, now), it.seq()-1, overtakes)
		}
		since = c.behind(it)
		goes = c.mayGo(it, overtakes) || c.head != nil && (!unread || !b.FailedAt.IsZero())
	}
	if !goes {
		return orNow(since, now), false
	}
	c = w.join(it)
	if c.head == nil {
		c.head = it
		w.makeReady(it)
		return since, true
	}
	c.rest = slices.Insert(c.rest, c.index(it), it)
	return since, true
}

// join makes an item a member of its message.
func (w *window) join(it *item) *message {
	c := w.messages[it.key()]
	if c == nil {
		c = &message{}
		w.messages[it.key()] = c
	}
	it.message = c
	c.members++
	c.isBack(it)
	return c
}

// setAside lets later items know of one that is on its way to be put off.
func (w *window) setAside(it *item, since time.Time, overtakes overtaking) {
	w.join(it).hold(since, it.seq(), overtakes)
}

// behindSince is when the last of those before a delivery, none of which is in
// memory, first failed to go. One that is still to go, or goes as soon as it is
// read, counts as failing now. Zero: there is none, or the delivery has begun.
func behindSince(d *store.Delivery, now time.Time) time.Time {
	b := &d.Behind
	switch {
	case !b.Any() || d.Begun():
		return time.Time{}
	case b.Fresh || !b.DueAt.After(now):
		return now
	}
	return orNow(b.FailedAt, now)
}

func orNow(at, now time.Time) time.Time {
	if at.IsZero() {
		return now
	}
	return at
}

func (w *window) makeReady(it *item) {
	it.state = ready
	w.queue(it).push(it)
}

// queue is where a ready item waits for a slot.
func (w *window) queue(it *item) *fifo {
	if it.delivery.IsReplay() {
		return &w.again
	}
	return &w.ready
}

// finish ends the turn of a message's head. If it stays PENDING, the others are
// behind it from now on, and failed is when it first failed to go; else zero.
// The next one that may go becomes ready; those that may not, by overtakes, are
// returned to be put off.
func (w *window) finish(it *item, failed time.Time, overtakes overtaking) (putOff []*item) {
	c := it.message
	if c == nil || c.head != it {
		return nil // it was outside the order
	}
	c.head = nil
	c.hold(failed, it.seq(), overtakes)
	for len(c.rest) > 0 {
		next := c.rest[0]
		c.rest = c.rest[1:]
		if c.mayGo(next, overtakes) {
			c.head = next
			w.makeReady(next)
			return putOff
		}
		putOff = append(putOff, next)
	}
	return putOff
}

// clear forgets everything that has not begun. It keeps what is in flight and
// what is not recorded, so that it is not read twice.
func (w *window) clear(now time.Time, overtakes overtaking) {
	for _, c := range w.messages {
		if c.head != nil && c.head.state == ready {
			c.hold(now, c.head.seq(), overtakes)
			c.head = nil
		}
		if len(c.rest) > 0 {
			c.hold(now, c.rest[0].seq(), overtakes)
			c.rest = nil
		}
	}
	for _, it := range w.items {
		if it.state == waiting || it.state == ready {
			w.forget(it)
		}
	}
	w.ready, w.again = fifo{}, fifo{}
}
