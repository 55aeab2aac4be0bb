package dispatcher

import (
	"time"

	"github.com/recapito/recapito/dispatcher/fair"
	"github.com/recapito/recapito/dispatcher/lane"
)

// slots bound the attempts under way.
type slots struct {
	fair.Shares
	turns  fair.Turns[*member] // lanes that could use one
	open   attemptList         // for less than lane.SlowAfter, in order of their start
	barred time.Time           // no attempt begins before
}

func newSlots(n int) slots {
	return slots{Shares: fair.NewShares(n, eighths[:]...), turns: fair.NewTurns[*member](int(lane.Classes))}
}

// eighths is how much the lanes of a class and of those after it may take together, of
// slots and of memory. Something is always left for those before.
var eighths = [lane.Classes]int{lane.Proven: 8, lane.Handed: 7, lane.Found: 4, lane.Replaying: 3, lane.Suspect: 2}

// take counts an attempt, giveBack ends its part in the counts.
func (s *slots) take(a *attempt) {
	s.Take(a.class, 1)
	s.open.push(a)
	a.member.attempts[a] = struct{}{}
}

func (s *slots) giveBack(a *attempt) {
	s.open.remove(a)
	s.GiveBack(a.class, 1)
	delete(a.member.attempts, a)
}

// nextSlow removes and returns an attempt that is open for longer than lane.SlowAfter,
// or returns nil. All of its lane's attempts count as suspect from now on.
func (s *slots) nextSlow(now time.Time) *attempt {
	a := s.open.first
	if a == nil || now.Sub(a.Started) <= lane.SlowAfter {
		return nil
	}
	s.open.remove(a)
	for other := range a.member.attempts {
		s.Move(other.class, lane.Suspect, 1)
		other.class = lane.Suspect
	}
	return a
}

// attemptList holds attempts, the oldest first.
type attemptList struct{ first, last *attempt }

func (l *attemptList) push(a *attempt) {
	a.listed = true
	a.prev = l.last
	if l.last == nil {
		l.first = a
	} else {
		l.last.next = a
	}
	l.last = a
}

// remove removes an attempt, if it is there.
func (l *attemptList) remove(a *attempt) {
	if !a.listed {
		return
	}
	if a.prev == nil {
		l.first = a.next
	} else {
		a.prev.next = a.next
	}
	if a.next == nil {
		l.last = a.prev
	} else {
		a.next.prev = a.prev
	}
	a.listed, a.prev, a.next = false, nil, nil
}
