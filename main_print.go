package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"
)

// isTerminal tells whether people watch w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// palette colours text, if at all.
type palette struct{ colours bool }

// newPalette colours on a terminal, unless NO_COLOR is set (no-color.org).
func newPalette(w io.Writer) palette {
	return palette{colours: os.Getenv("NO_COLOR") == "" && isTerminal(w)}
}

func (p palette) good(text string) string  { return p.paint("32", text) }
func (p palette) bad(text string) string   { return p.paint("31", text) }
func (p palette) faint(text string) string { return p.paint("2", text) }
func (p palette) title(text string) string { return p.paint("1", text) }

func (p palette) paint(code, text string) string {
	if !p.colours {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// line is the callback for people.
func (c *callback) line(p palette) string {
	proof, answer := p.good("verified"), p.good(strconv.Itoa(c.Status))
	if c.Unproven != nil {
		proof = p.bad(c.Unproven.Error())
	}
	if c.Status/100 != 2 {
		answer = p.bad(strconv.Itoa(c.Status))
	}
	again := ""
	if c.Duplicate {
		again = "  duplicate"
	}
	return fmt.Sprintf("%s  %s  %s  %s  %s  attempt %d  %s  %s  → %s%s",
		p.faint(c.At.Format("15:04:05.000")), column(c.EventID, 30), column(c.Event.MessageID, 16),
		column(string(c.Event.Channel), 8), column(string(c.Event.Status), 13),
		c.Attempt, proof, column(c.latencyText(), 7), answer, again)
}

func (c *callback) latencyText() string {
	if c.Event.ReceivedAt.IsZero() {
		return "-"
	}
	return brief(c.latency())
}

// brief is a duration in at most seven characters, up to a day.
func brief(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// column fits text of anybody's into width characters: cut or padded, and
// without anything that a terminal would obey.
func column(text string, width int) string {
	shown := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text))
	if len(shown) == 0 {
		shown = []rune("-")
	}
	if len(shown) > width {
		return string(shown[:width-1]) + "…"
	}
	return string(shown) + strings.Repeat(" ", width-len(shown))
}

// summary says what became of all callbacks, in one line.
func (r *receiver) summary() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var answers []string
	for _, status := range slices.Sorted(maps.Keys(r.answers)) {
		name := strconv.Itoa(status)
		if status == 0 {
			name = "none (cut short)"
		}
		answers = append(answers, fmt.Sprintf("%s × %d", name, r.answers[status]))
	}
	if len(answers) == 0 {
		answers = []string{"none"}
	}
	return fmt.Sprintf("received %d, verified %d, duplicates %d; answers: %s",
		r.received, r.verified, r.duplicates, strings.Join(answers, ", "))
}
