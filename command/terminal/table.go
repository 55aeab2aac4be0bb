package terminal

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rivo/uniseg"
)

// Heading begins a column of a table.
type Heading struct {
	Name string
	// Least is to how many columns of the screen it may be cut, where there is no
	// room; 0: it is never cut.
	Least int
}

// Table prints rows below headings, each on a line of the screen as far as what may be
// cut allows it: the last column first. A column without a text is left out.
func (s Screen) Table(headings []Heading, rows [][]Cell) error {
	titles := make([]Cell, len(headings))
	for i, h := range headings {
		titles[i] = Cell{Text: h.Name, Paint: s.Faint}
	}
	widths := widthsFor(s.Width(), headings, rows)
	for _, r := range append([][]Cell{titles}, rows...) {
		if _, err := fmt.Fprintln(s.w, tableLine(widths, r)); err != nil {
			return err
		}
	}
	return nil
}

// widthsFor are the widths of columns on so much room (0: as much as they take).
func widthsFor(room int, headings []Heading, rows [][]Cell) []int {
	widths := make([]int, len(headings))
	over := -room - len(gap)
	for i, h := range headings {
		for _, r := range rows {
			if r[i].Text != "" {
				widths[i] = max(widths[i], uniseg.StringWidth(h.Name), uniseg.StringWidth(Plain(r[i].Text)))
			}
		}
		if widths[i] > 0 {
			over += widths[i] + len(gap)
		}
	}
	for i, h := range slices.Backward(headings) {
		if cut := min(over, widths[i]-h.Least); room > 0 && h.Least > 0 && cut > 0 {
			widths[i] -= cut
			over -= cut
		}
	}
	return widths
}

func tableLine(widths []int, row []Cell) string {
	var cells []Cell
	for i, c := range row {
		if widths[i] == 0 {
			continue
		}
		c.Text = Column(c.Text, widths[i])
		cells = append(cells, c)
	}
	last := &cells[len(cells)-1]
	last.Text = strings.TrimRight(last.Text, " ")
	return Join(cells)
}

// Fields prints names and values below each other. What belongs to the value above
// has no name. A value is shown whole.
func Fields(w io.Writer, fields [][2]string) error {
	width := 0
	for _, f := range fields {
		width = max(width, uniseg.StringWidth(f[0]))
	}
	for _, f := range fields {
		name := f[0] + strings.Repeat(" ", width-uniseg.StringWidth(f[0]))
		if _, err := fmt.Fprintln(w, name+gap+Plain(f[1])); err != nil {
			return err
		}
	}
	return nil
}
