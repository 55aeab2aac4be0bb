package dispatcher

import "container/list"

// slots are the attempts that may be under way at a time, and who is next in
// taking one: two rings of lanes, each served in turn, the second with at most
// a quarter of the slots.
type slots struct {
	max     int
	open    int // under way
	suspect int // of these, on account of suspect lanes
	healthy *list.List
	wary    *list.List // lanes that would need a suspect slot
	turn    bool       // whose turn it is, so that neither ring starves
}

func newSlots(n int) slots {
	return slots{max: n, healthy: list.New(), wary: list.New()}
}

func (s *slots) suspectMax() int { return max(1, s.max/4) }

// next takes the lane whose turn it is out of its ring; nil: there is none, or
// no slot for it.
func (s *slots) next() *lane {
	if s.open >= s.max {
		return nil
	}
	s.turn = !s.turn
	first, second := s.healthy, s.allowedWary()
	if s.turn {
		first, second = second, first
	}
	for _, ring := range []*list.List{first, second} {
		if ring == nil || ring.Len() == 0 {
			continue
		}
		l := ring.Front().Value.(*lane)
		s.leave(l)
		return l
	}
	return nil
}

func (s *slots) allowedWary() *list.List {
	if s.suspect >= s.suspectMax() {
		return nil
	}
	return s.wary
}

// enter puts the lane at the end of the ring that it belongs to now; a lane
// that is there already keeps its place.
func (s *slots) enter(l *lane) {
	ring := s.healthy
	if l.needsSuspectSlot() {
		ring = s.wary
	}
	if l.ring == ring {
		return
	}
	s.leave(l)
	l.ring, l.place = ring, ring.PushBack(l)
}

func (s *slots) leave(l *lane) {
	if l.ring != nil {
		l.ring.Remove(l.place)
		l.ring, l.place = nil, nil
	}
}

// take and release count an attempt.
func (s *slots) take(f *flight) {
	s.open++
	if f.suspect {
		s.suspect++
	}
}

func (s *slots) release(f *flight) {
	s.open--
	if f.suspect {
		s.suspect--
	}
}

// distrust counts an attempt under way as a suspect one from now on.
func (s *slots) distrust(f *flight) {
	if !f.suspect {
		f.suspect = true
		s.suspect++
	}
}
