package fair

import "container/list"

// Turns says which member is next. Each class has a queue, and the queues are served
// in turn. So nobody waits longer than it takes until each member before it in its
// class has had one turn, and between two turns of its class each other class has one
// at most.
type Turns[M any] struct {
	queues []list.List
	last   int // served
}

// NewTurns has queues for so many classes.
func NewTurns[M any](classes int) Turns[M] {
	return Turns[M]{queues: make([]list.List, classes)}
}

// Place is where a member waits; its zero value is nowhere. A member has one for each
// Turns that it may wait in.
type Place[M any] struct {
	member M
	queue  *list.List // nil: nowhere
	at     *list.Element
}

// Enter puts a member at the end of its class's queue. One that waits there already
// keeps its place; one that waits in another class leaves that.
func (t *Turns[M]) Enter(p *Place[M], m M, c Class) {
	queue := &t.queues[c]
	if p.queue == queue {
		return
	}
	p.Leave()
	p.member, p.queue, p.at = m, queue, queue.PushBack(p)
}

// Leave ends the waiting, if there is any.
func (p *Place[M]) Leave() {
	if p.queue != nil {
		p.queue.Remove(p.at)
		*p = Place[M]{}
	}
}

// Waits reports whether the place's member waits.
func (p *Place[M]) Waits() bool { return p.queue != nil }

// Next removes the member whose turn it is from its queue, and returns it; a class
// that may not go is passed over. It reports false if there is none.
func (t *Turns[M]) Next(may func(Class) bool) (next M, ok bool) {
	for range t.queues {
		t.last = (t.last + 1) % len(t.queues)
		if queue := &t.queues[t.last]; queue.Len() > 0 && may(Class(t.last)) {
			p := queue.Front().Value.(*Place[M])
			next = p.member
			p.Leave()
			return next, true
		}
	}
	return next, false
}

// Len is how many members wait.
func (t *Turns[M]) Len() (n int) {
	for i := range t.queues {
		n += t.queues[i].Len()
	}
	return n
}
