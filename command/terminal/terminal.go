// Package terminal is how the commands show things to people: colours, the width
// that there is, columns, tables, progress. A pipe or a file, which a program reads,
// gets no colours, no progress and whole lines. No control sequence in a text reaches
// the terminal.
package terminal

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/term"
)

// Is tells whether people watch w.
func Is(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Screen is where lines for people go.
type Screen struct {
	w       io.Writer
	colours bool
}

// NewScreen colours on a terminal, unless NO_COLOR is set (no-color.org).
func NewScreen(w io.Writer) Screen {
	return Screen{w: w, colours: os.Getenv("NO_COLOR") == "" && Is(w)}
}

// Width is how many columns there are now; 0: as many as a line takes. COLUMNS
// goes before what the terminal says.
func (s Screen) Width() int {
	if !Is(s.w) {
		return 0
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if n, _, err := term.GetSize(int(s.w.(*os.File).Fd())); err == nil && n > 0 {
		return n
	}
	return 80
}

// Good is what went well, in green.
func (s Screen) Good(text string) string { return s.paint("32", text) }

// Bad is what went wrong, in red.
func (s Screen) Bad(text string) string { return s.paint("31", text) }

// Faint is what is read last.
func (s Screen) Faint(text string) string { return s.paint("2", text) }

// Title is bold.
func (s Screen) Title(text string) string { return s.paint("1", text) }

func (s Screen) paint(code, text string) string {
	if !s.colours {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
