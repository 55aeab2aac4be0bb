package receiver

import (
	"fmt"
	"math"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/rivo/uniseg"

	"github.com/recapito/recapito/command/terminal"
)

// Record is the callback for programs: a JSON object.
func (c *Callback) Record() []byte {
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

// Line is the callback for people, on a screen less what stands before it there.
func (c *Callback) Line(s terminal.Screen, before int) string {
	if n := s.Width(); n > 0 {
		return c.fit(s, n-before)
	}
	return c.fit(s, math.MaxInt)
}

// fit leaves out what there is no room for, in this order: the event's id, the
// end of the message's, the latency, the end of the proof.
func (c *Callback) fit(s terminal.Screen, room int) string {
	cells := []terminal.Cell{
		{Text: c.At.Format("15:04:05.000"), Paint: s.Faint},
		{Text: terminal.Column(c.EventID, 30)}, {Text: terminal.Column(c.Event.MessageID, 16)},
		{Text: terminal.Column(string(c.Event.Channel), 8)}, {Text: terminal.Column(string(c.Event.Status), 13)},
		{Text: fmt.Sprintf("attempt %d", c.Attempt)}, {Text: terminal.Column(c.latencyText(), 7)}, c.answerCell(s), c.proofCell(s),
	}
	if terminal.WidthOf(cells) <= room {
		return terminal.Join(cells)
	}
	at, event, message, attempt, latency, proof := &cells[0], &cells[1], &cells[2], &cells[5], &cells[6], &cells[8]
	at.Text, event.Text, attempt.Text = c.At.Format(time.TimeOnly), "", fmt.Sprintf("#%d", c.Attempt)
	const least, usual, most = 6, 16, 36 // of a message's id
	if terminal.WidthOf(cells) > room+usual-least {
		latency.Text = ""
	}
	message.Text = terminal.Column(c.Event.MessageID, min(max(least, usual+room-terminal.WidthOf(cells)), most))
	if over := terminal.WidthOf(cells) - room; over > 0 {
		proof.Text = terminal.Column(proof.Text, max(1, uniseg.StringWidth(proof.Text)-over))
	}
	return terminal.Join(cells)
}

func (c *Callback) answerCell(s terminal.Screen) terminal.Cell {
	if c.Status/100 == 2 {
		return terminal.Cell{Text: fmt.Sprintf("→ %d", c.Status), Paint: s.Good}
	}
	return terminal.Cell{Text: fmt.Sprintf("→ %d", c.Status), Paint: s.Bad}
}

func (c *Callback) proofCell(s terminal.Screen) terminal.Cell {
	again := ""
	if c.Duplicate {
		again = ", duplicate"
	}
	switch c.proof() {
	case "GENUINE":
		return terminal.Cell{Text: "verified" + again, Paint: s.Good}
	case "FORGED":
		return terminal.Cell{Text: "forged" + again + ": " + c.Unproven.Error(), Paint: s.Bad}
	}
	return terminal.Cell{Text: c.Unproven.Error() + again, Paint: s.Bad}
}

func (c *Callback) latencyText() string {
	if c.Event.ReceivedAt.IsZero() {
		return "-"
	}
	return terminal.Brief(c.Latency())
}
