package dispatcher

import "container/list"

// slots bound the attempts under way and decide which lane is next: each trust
// has a ring of lanes, and the rings are served in turn.
type slots struct {
	budget
	rings [trusts]list.List
	turn  trust
}

// next removes the next lane from its ring and returns it. Nil means that there
// is none, or no slot for it.
func (s *slots) next() *lane {
	for range trusts {
		s.turn = (s.turn + 1) % trusts
		if ring := &s.rings[s.turn]; ring.Len() > 0 && s.left(s.turn) > 0 {
			l := ring.Front().Value.(*lane)
			l.slot.leave()
			return l
		}
	}
	return nil
}

// enter puts the lane at the end of the ring that it belongs to now.
func (s *slots) enter(l *lane) { l.slot.enter(&s.rings[l.trust()], l) }

// take and release count an attempt.
func (s *slots) take(f *flight)    { s.taken[f.trust]++ }
func (s *slots) release(f *flight) { s.taken[f.trust]-- }

// distrust counts an attempt under way as a suspect one from now on.
func (s *slots) distrust(f *flight) {
	s.release(f)
	f.trust = suspect
	s.take(f)
}

// place is a lane's place in a queue of lanes.
type place struct {
	queue *list.List // nil: none
	at    *list.Element
}

// enter puts the lane at the queue's end; one that is there keeps its place.
func (p *place) enter(queue *list.List, l *lane) {
	if p.queue == queue {
		return
	}
	p.leave()
	p.queue, p.at = queue, queue.PushBack(l)
}

func (p *place) leave() {
	if p.queue != nil {
		p.queue.Remove(p.at)
		p.queue, p.at = nil, nil
	}
}
