package fair_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/recapito/recapito/dispatcher/fair"
)

// member waits in Turns.
type member struct {
	name  string
	class fair.Class
	place fair.Place[*member]
}

func newMembers(classes, each int) (all []*member) {
	for i := range classes * each {
		all = append(all, &member{name: fmt.Sprint("m", i), class: fair.Class(i % classes)})
	}
	return all
}

// fairness watches who waits and who is served.
type fairness struct {
	classes fair.Class
	passed  map[*member]map[*member]bool      // of its class, since it began to wait
	turns   map[fair.Class]map[fair.Class]int // of others, while one had a member that might go
}

func watch(classes int) *fairness {
	return &fairness{classes: fair.Class(classes), passed: map[*member]map[*member]bool{}, turns: map[fair.Class]map[fair.Class]int{}}
}

func (f *fairness) begins(m *member) { f.passed[m] = map[*member]bool{} }
func (f *fairness) ends(m *member)   { delete(f.passed, m) }
func (f *fairness) waiting(c fair.Class) (n int) {
	for m := range f.passed {
		if m.class == c {
			n++
		}
	}
	return n
}

// served checks a turn, before which those classes might go. served is nil if
// nobody was.
func (f *fairness) served(t *rapid.T, served *member, might func(fair.Class) bool) {
	if served == nil {
		for m := range f.passed {
			if might(m.class) {
				t.Fatalf("nobody was served, but %s of class %d waits and might go", m.name, m.class)
			}
		}
		return
	}
	if f.passed[served] == nil || !might(served.class) {
		t.Fatalf("%s of class %d was served: waits %t, might go %t", served.name, served.class, f.passed[served] != nil, might(served.class))
	}
	for m, passed := range f.passed {
		if m == served || m.class != served.class {
			continue
		}
		if passed[served] {
			t.Fatalf("%s had a second turn while %s of its class waits", served.name, m.name)
		}
		passed[served] = true
	}
	for c := range f.classes {
		switch {
		case c == served.class || f.waiting(c) == 0 || !might(c):
			delete(f.turns, c)
			continue
		case f.turns[c] == nil:
			f.turns[c] = map[fair.Class]int{}
		}
	}
	for c, turns := range f.turns {
		if turns[served.class]++; turns[served.class] > 1 {
			t.Fatalf("class %d had two turns while class %d waits and might go", served.class, c)
		}
	}
	f.ends(served)
}

// Whoever waits is served after each other of its class once, and between two turns
// of its class each other class has one.
func TestNobodyWaitsForMoreThanOneRoundOfTheOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const classes = 3
		turns, members := fair.NewTurns[*member](classes), newMembers(classes, 4)
		f := watch(classes)
		who := rapid.SampledFrom(members)
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				m := who.Draw(t, "who")
				if !m.place.Waits() {
					f.begins(m)
				}
				turns.Enter(&m.place, m, m.class)
			},
			"leave": func(t *rapid.T) {
				m := who.Draw(t, "who")
				m.place.Leave()
				f.ends(m)
			},
			"change class": func(t *rapid.T) {
				m := who.Draw(t, "who")
				c := fair.Class(rapid.IntRange(0, classes-1).Draw(t, "class"))
				if m.place.Waits() && c != m.class {
					f.begins(m)
					turns.Enter(&m.place, m, c)
				}
				m.class = c
			},
			"next": func(t *rapid.T) {
				open := rapid.SliceOfN(rapid.Bool(), classes, classes).Draw(t, "open")
				may := func(c fair.Class) bool { return open[c] }
				m, _ := turns.Next(may)
				f.served(t, m, may)
			},
			"": func(t *rapid.T) {
				if got, want := turns.Len(), len(f.passed); got != want {
					t.Fatalf("%d wait, want %d", got, want)
				}
				for _, m := range members {
					if got, want := m.place.Waits(), f.passed[m] != nil; got != want {
						t.Fatalf("%s waits: %t, want %t", m.name, got, want)
					}
				}
			},
		})
	})
}

// drawShares draws a resource, and the most that each class and those after it may
// take.
func drawShares(t *rapid.T) (units int, eighths, most []int) {
	units = rapid.IntRange(1, 40).Draw(t, "units")
	eighths = rapid.SliceOfNDistinct(rapid.IntRange(1, 7), 1, 4, rapid.ID).Draw(t, "eighths")
	slices.SortFunc(eighths, func(a, b int) int { return b - a })
	eighths = append([]int{8}, eighths...)
	for _, n := range eighths {
		most = append(most, max(1, units*n/8))
	}
	return units, eighths, most
}

// Of what a class may take, those after it leave a part, and what is given back can be
// taken again.
func TestSharesHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		units, eighths, most := drawShares(t)
		s := fair.NewShares(units, eighths...)
		taken := make([]int, len(most))
		class := rapid.IntRange(0, len(most)-1)
		from := func(c int) (n int) { // by c and those after it
			for _, k := range taken[c:] {
				n += k
			}
			return n
		}
		moved := false
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				c := class.Draw(t, "class")
				if left := s.Left(fair.Class(c)); left > 0 {
					n := rapid.IntRange(1, left).Draw(t, "n")
					s.Take(fair.Class(c), n)
					taken[c] += n
				}
			},
			"give back": func(t *rapid.T) {
				c := class.Draw(t, "class")
				n := rapid.IntRange(0, taken[c]).Draw(t, "n")
				s.GiveBack(fair.Class(c), n)
				taken[c] -= n
			},
			"move": func(t *rapid.T) {
				c, to := class.Draw(t, "class"), class.Draw(t, "to")
				n := rapid.IntRange(0, taken[c]).Draw(t, "n")
				s.Move(fair.Class(c), fair.Class(to), n)
				taken[c] -= n
				taken[to] += n
				moved = moved || to > c
			},
			"": func(t *rapid.T) {
				if got := s.Total(); got != from(0) || got > units {
					t.Fatalf("%d taken in total, want %d, and %d at most", got, from(0), units)
				}
				for c := range most {
					if got := s.Taken(fair.Class(c)); got != taken[c] {
						t.Fatalf("%d taken by class %d, want %d", got, c, taken[c])
					}
					if !moved && from(c) > most[c] {
						t.Fatalf("class %d and those after it have taken %d, want %d at most", c, from(c), most[c])
					}
					want := units
					for i := range c + 1 {
						want = min(want, most[i]-from(i))
					}
					if got := s.Left(fair.Class(c)); got != want || s.Any(fair.Class(c)) != (want > 0) {
						t.Fatalf("%d left for class %d, want %d", got, c, want)
					}
				}
			},
		})
		for c := range taken {
			s.GiveBack(fair.Class(c), taken[c])
		}
		for c := range most {
			if got := s.Left(fair.Class(c)); got != most[c] {
				t.Fatalf("%d left for class %d when all has been given back, want %d", got, c, most[c])
			}
		}
	})
}

// What the classes after one take leaves it its own part, whatever they want and keep.
func TestNoClassStarvesAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		units, eighths, most := drawShares(t)
		s, turns := fair.NewShares(units, eighths...), fair.NewTurns[*member](len(most))
		members := newMembers(len(most), 3)
		f := watch(len(most))
		for _, m := range members { // who are served wait again at once
			f.begins(m)
			turns.Enter(&m.place, m, m.class)
		}
		var held []*member
		t.Repeat(map[string]func(*rapid.T){
			"serve": func(t *rapid.T) {
				might := make([]bool, len(most))
				for c := range most {
					might[c] = s.Any(fair.Class(c))
				}
				m, ok := turns.Next(s.Any)
				f.served(t, m, func(c fair.Class) bool { return might[c] })
				if ok {
					s.Take(m.class, 1)
					held = append(held, m)
					f.begins(m)
					turns.Enter(&m.place, m, m.class)
				}
			},
			"give back": func(t *rapid.T) {
				if len(held) > 0 {
					i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
					s.GiveBack(held[i].class, 1)
					held = slices.Delete(held, i, i+1)
				}
			},
			"": func(t *rapid.T) {
				before := 0 // taken by the classes before
				for c := range most {
					own := most[c]
					if c+1 < len(most) {
						own -= most[c+1]
					}
					if taken := s.Taken(fair.Class(c)); taken+before < own && !s.Any(fair.Class(c)) {
						t.Fatalf("class %d has %d, those before it %d, and nothing is left, want %d", c, taken, before, own)
					}
					before += s.Taken(fair.Class(c))
				}
			},
		})
	})
}

func TestSmallestShareIsOne(t *testing.T) {
	s := fair.NewShares(1, 8, 4, 2)
	for c := range fair.Class(3) {
		if got := s.Left(c); got != 1 {
			t.Errorf("%d of one unit left for class %d, want 1", got, c)
		}
	}
	s.Take(2, 1)
	for c := range fair.Class(3) {
		if got := s.Left(c); got != 0 {
			t.Errorf("%d left for class %d when the only unit is taken, want 0", got, c)
		}
	}
}
