package command

import (
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// isTerminal tells whether people watch w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// screen is where lines for people go.
type screen struct {
	w       io.Writer
	colours bool
}

// newScreen colours on a terminal, unless NO_COLOR is set (no-color.org).
func newScreen(w io.Writer) screen {
	return screen{w: w, colours: os.Getenv("NO_COLOR") == "" && isTerminal(w)}
}

// width is how many columns there are now; 0: as many as a line takes. COLUMNS
// goes before what the terminal says.
func (s screen) width() int {
	if !isTerminal(s.w) {
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

func (s screen) good(text string) string  { return s.paint("32", text) }
func (s screen) bad(text string) string   { return s.paint("31", text) }
func (s screen) faint(text string) string { return s.paint("2", text) }
func (s screen) title(text string) string { return s.paint("1", text) }

func (s screen) paint(code, text string) string {
	if !s.colours {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// record is the callback for programs: a JSON object.
func (c *callback) record() []byte {
	r := struct {
		ReceivedAt   string         `json:"receivedAt"`
		EventID      string         `json:"eventId"`
		Attempt      int            `json:"attempt"`
		Verification string         `json:"verification"`
		Reason       string         `json:"reason,omitempty"`
		Answer       int            `json:"answer"`
		Duplicate    bool           `json:"duplicate"`
		Event        jsontext.Value `json:"event,omitempty"` // the body
		Body         string         `json:"body,omitempty"`  // if it is not JSON
	}{
		ReceivedAt: c.At.UTC().Format("2006-01-02T15:04:05.000Z"), EventID: c.EventID, Attempt: c.Attempt,
		Verification: c.proof(), Answer: c.Status, Duplicate: c.Duplicate,
	}
	if c.Unproven != nil {
		r.Reason = c.Unproven.Error()
	}
	if r.Event = c.Body; !r.Event.IsValid() {
		r.Event, r.Body = nil, string(c.Body)
	}
	text, err := json.Marshal(r, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return []byte(err.Error()) // nothing above can fail
	}
	return text
}

// line is the callback for people, on a screen less what stands before it there.
func (c *callback) line(s screen, before int) string {
	if n := s.width(); n > 0 {
		return c.fit(s, n-before)
	}
	return c.fit(s, math.MaxInt)
}

// fit leaves out what there is no room for, in this order: the event's id, the
// end of the message's, the latency, the end of the proof.
func (c *callback) fit(s screen, room int) string {
	cells := []cell{
		{c.At.Format("15:04:05.000"), s.faint}, {column(c.EventID, 30), nil}, {column(c.Event.MessageID, 16), nil},
		{column(string(c.Event.Channel), 8), nil}, {column(string(c.Event.Status), 13), nil},
		{fmt.Sprintf("attempt %d", c.Attempt), nil}, {column(c.latencyText(), 7), nil}, c.answerCell(s), c.proofCell(s),
	}
	if widthOf(cells) <= room {
		return s.join(cells)
	}
	at, event, message, attempt, latency, proof := &cells[0], &cells[1], &cells[2], &cells[5], &cells[6], &cells[8]
	at.text, event.text, attempt.text = c.At.Format(time.TimeOnly), "", fmt.Sprintf("#%d", c.Attempt)
	const least, usual, most = 6, 16, 36 // of a message's id
	if widthOf(cells) > room+usual-least {
		latency.text = ""
	}
	message.text = column(c.Event.MessageID, min(max(least, usual+room-widthOf(cells)), most))
	if over := widthOf(cells) - room; over > 0 {
		proof.text = column(proof.text, max(1, uniseg.StringWidth(proof.text)-over))
	}
	return s.join(cells)
}

// cell is a part of a line.
type cell struct {
	text  string
	paint func(string) string // nil: as it is
}

const gap = "  "

// widthOf is how many columns the cells take, joined.
func widthOf(cells []cell) (n int) {
	for _, c := range cells {
		if c.text != "" {
			n += uniseg.StringWidth(c.text) + len(gap)
		}
	}
	return n - len(gap)
}

// join leaves out cells without a text.
func (screen) join(cells []cell) string {
	var texts []string
	for _, c := range cells {
		if c.text != "" && c.paint != nil {
			c.text = c.paint(c.text)
		}
		if c.text != "" {
			texts = append(texts, c.text)
		}
	}
	return strings.Join(texts, gap)
}

func (c *callback) answerCell(s screen) cell {
	if c.Status/100 == 2 {
		return cell{fmt.Sprintf("→ %d", c.Status), s.good}
	}
	return cell{fmt.Sprintf("→ %d", c.Status), s.bad}
}

func (c *callback) proofCell(s screen) cell {
	again := ""
	if c.Duplicate {
		again = ", duplicate"
	}
	switch c.proof() {
	case "GENUINE":
		return cell{"verified" + again, s.good}
	case "FORGED":
		return cell{"forged" + again + ": " + c.Unproven.Error(), s.bad}
	}
	return cell{c.Unproven.Error() + again, s.bad}
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

// column fits text of anybody's into width columns: cut or padded, and without
// anything that a terminal would obey.
func column(text string, width int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
	if text == "" {
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

// summary says in one line how all callbacks ended.
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
