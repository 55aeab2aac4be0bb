package conform

import (
	"regexp/syntax"
	"unicode"
	"unicode/utf8"
)

// pattern is a regular expression that is a sequence of character classes, as
// those of ids and numbers. The general engine takes ten times as long.
type pattern []repeated

// repeated is a class of characters, and how often it may be repeated.
type repeated struct {
	ascii    [utf8.RuneSelf]bool
	others   bool // whether characters beyond ASCII, all of them, are in it
	min, max int  // max -1: no limit
}

// newPattern reports false if the expression is not such a sequence, or if a
// greedy match might take one character too many.
func newPattern(expr string) (p pattern, ok bool) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil || re.Op != syntax.OpConcat || len(re.Sub) < 2 ||
		re.Sub[0].Op != syntax.OpBeginText || re.Sub[len(re.Sub)-1].Op != syntax.OpEndText {
		return nil, false
	}
	for _, sub := range re.Sub[1 : len(re.Sub)-1] {
		r := repeated{min: 1, max: 1}
		switch sub.Op {
		case syntax.OpRepeat:
			r.min, r.max, sub = sub.Min, sub.Max, sub.Sub[0]
		case syntax.OpStar:
			r.min, r.max, sub = 0, -1, sub.Sub[0]
		case syntax.OpPlus:
			r.min, r.max, sub = 1, -1, sub.Sub[0]
		default:
		}
		if !r.take(sub) {
			return nil, false
		}
		p = append(p, r)
	}
	return p, true
}

// take takes the characters from a class, or a literal of one.
func (r *repeated) take(class *syntax.Regexp) bool {
	ranges := class.Rune
	switch {
	case class.Flags&syntax.FoldCase != 0:
		return false
	case class.Op == syntax.OpLiteral && len(ranges) == 1:
		ranges = []rune{ranges[0], ranges[0]}
	case class.Op != syntax.OpCharClass:
		return false
	}
	for i := 0; i < len(ranges); i += 2 {
		for c := ranges[i]; c <= min(ranges[i+1], unicode.MaxASCII); c++ {
			r.ascii[c] = true
		}
		if ranges[i+1] > unicode.MaxASCII {
			// Their bytes are not counted, so they must not be limited.
			r.others = ranges[i] <= utf8.RuneSelf && ranges[i+1] == unicode.MaxRune && r.max < 0
			if !r.others {
				return false
			}
		}
	}
	return true
}

// matches reports whether the text is consumed when each class, in turn, takes
// as many characters as it can.
func (p pattern) matches(text []byte) bool {
	for i := range p {
		r, n := &p[i], 0
		for n < len(text) && n != r.max && r.has(text[n]) {
			n++
		}
		if n < r.min {
			return false
		}
		text = text[n:]
	}
	return len(text) == 0
}

func (r *repeated) has(b byte) bool {
	if b < utf8.RuneSelf {
		return r.ascii[b]
	}
	return r.others
}
