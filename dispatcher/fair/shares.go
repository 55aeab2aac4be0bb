// Package fair divides what many members share: [Shares] says how much each class of
// members may take, [Turns] whose turn it is. It knows nothing of what is shared, nor
// of who the members are. It has no mutex, clock, store or goroutine: its user guards
// it.
//
// The two together keep one class from starving another:
//
//   - Of what a class may take, a part is out of reach for the classes after it.
//   - What becomes free is offered to each class in turn, and within a class to the
//     member that has waited longest.
package fair

import (
	"math"
	"slices"
)

// Class is a class of members. 0 is the first: it may take everything.
type Class int

// Shares is how much of one resource each class may take, and has taken.
type Shares struct {
	most  []int // by a class and those after it together
	taken []int
}

// NewShares divides a resource of so many units. A class and those after it may take
// so many eighths of it together, but one unit at least. There is a class for each
// number, and they do not grow.
func NewShares(units int, eighths ...int) Shares {
	s := Shares{most: make([]int, len(eighths)), taken: make([]int, len(eighths))}
	for c, n := range eighths {
		s.most[c] = max(1, units*n/8)
	}
	return s
}

// Left is how much the members of a class may still take. It is less than zero while
// they or those after them have more than their share (see [Shares.Move]).
func (s *Shares) Left(c Class) int {
	left, taken := math.MaxInt, 0
	for i, n := range slices.Backward(s.taken) {
		taken += n
		if Class(i) <= c {
			left = min(left, s.most[i]-taken)
		}
	}
	return left
}

// Any reports whether anything is left for a class.
func (s *Shares) Any(c Class) bool { return s.Left(c) > 0 }

// Take counts n units as taken. Who takes asks before what is left.
func (s *Shares) Take(c Class, n int) { s.taken[c] += n }

// GiveBack undoes Take.
func (s *Shares) GiveBack(c Class, n int) { s.taken[c] -= n }

// Move counts n units for another class, as that of their holder has changed. There
// may be less left than that.
func (s *Shares) Move(from, to Class, n int) {
	s.GiveBack(from, n)
	s.Take(to, n)
}

// Taken is how much a class has taken.
func (s *Shares) Taken(c Class) int { return s.taken[c] }

// Total is how much all classes have taken.
func (s *Shares) Total() (n int) {
	for _, taken := range s.taken {
		n += taken
	}
	return n
}
