package terminal

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"
)

// Cell is a part of a line.
type Cell struct {
	Text  string
	Paint func(string) string // nil: as it is
}

// gap is between cells.
const gap = "  "

// WidthOf is how many columns the cells take, joined.
func WidthOf(cells []Cell) (n int) {
	for _, c := range cells {
		if c.Text != "" {
			n += uniseg.StringWidth(c.Text) + len(gap)
		}
	}
	return n - len(gap)
}

// Join leaves out cells without a text.
func Join(cells []Cell) string {
	var texts []string
	for _, c := range cells {
		if c.Text != "" && c.Paint != nil {
			c.Text = c.Paint(c.Text)
		}
		if c.Text != "" {
			texts = append(texts, c.Text)
		}
	}
	return strings.Join(texts, gap)
}

// Brief is a duration in at most seven characters, up to a day.
func Brief(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// Rough is a duration in its one greatest unit, such as "4 m".
func Rough(d time.Duration) string {
	switch {
	case d < 100*time.Second:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 100*time.Minute:
		return fmt.Sprintf("%d m", int(d.Minutes()))
	case d < 100*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// Plain is a text of anybody's without anything that a terminal would obey.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// Column fits a text of anybody's into width columns: cut or padded, and [Plain].
func Column(text string, width int) string {
	if text = Plain(text); text == "" {
		text = "-"
	}
	if n := uniseg.StringWidth(text); n <= width {
		return text + strings.Repeat(" ", width-n)
	}
	shown, taken := "", 1 // the ellipsis
	for letters := uniseg.NewGraphemes(text); letters.Next() && taken+letters.Width() < width+1; taken += letters.Width() {
		shown += letters.Str()
	}
	return shown + "…" + strings.Repeat(" ", width-taken)
}
