package tail

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/rivo/uniseg"

	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/gen/client"
)

// Line is the event for people, on the screen's width; answer is nil where it was not
// forwarded.
func Line(s terminal.Screen, e Event, answer *Answer) string {
	if n := s.Width(); n > 0 {
		return fit(s, n, e, answer)
	}
	return fit(s, math.MaxInt, e, answer)
}

// fit leaves out what there is no room for, in this order: the end of the message's id,
// the event's, the end of the answer.
func fit(s terminal.Screen, room int, e Event, answer *Answer) string {
	var event client.StatusEvent
	if e.Payload == nil || json.Unmarshal(e.Payload, &event) != nil {
		event = client.StatusEvent{MessageID: "(damaged)"}
	}
	const least, most = 12, 36 // of the message's id
	cells := []terminal.Cell{
		{Text: e.At.Local().Format(time.TimeOnly), Paint: s.Faint}, {Text: terminal.Column(e.ID, 30)}, {Text: terminal.Column(event.MessageID, least)},
		{Text: terminal.Column(string(event.Channel), 8)}, {Text: terminal.Column(string(event.Status), 13)},
	}
	if answer != nil {
		cells = append(cells, answerCell(s, *answer))
	}
	id, message, last := &cells[1], &cells[2], &cells[len(cells)-1]
	if terminal.WidthOf(cells) > room {
		id.Text = ""
	}
	message.Text = terminal.Column(event.MessageID, min(max(least, least+room-terminal.WidthOf(cells)), most))
	if over := terminal.WidthOf(cells) - room; over > 0 {
		last.Text = terminal.Column(last.Text, max(1, uniseg.StringWidth(last.Text)-over))
	}
	last.Text = strings.TrimRight(last.Text, " ")
	return terminal.Join(cells)
}

func answerCell(s terminal.Screen, a Answer) terminal.Cell {
	switch {
	case a.Err != nil:
		return terminal.Cell{Text: "→ " + a.Err.Error(), Paint: s.Bad}
	case a.Acknowledged():
		return terminal.Cell{Text: fmt.Sprintf("→ %d %s", a.Status, terminal.Brief(a.Took)), Paint: s.Good}
	}
	return terminal.Cell{Text: fmt.Sprintf("→ %d %s", a.Status, terminal.Brief(a.Took)), Paint: s.Bad}
}

// Record is the event for programs: what the server says of it, and the answer.
func Record(e Event, answer *Answer) ([]byte, error) {
	var all map[string]jsontext.Value
	if err := json.Unmarshal(e.Text, &all); err != nil {
		return nil, err
	}
	if answer != nil {
		forwarded := struct {
			Status     int    `json:"status,omitzero"`
			DurationMs int64  `json:"durationMs"`
			Error      string `json:"error,omitzero"`
		}{Status: answer.Status, DurationMs: answer.Took.Milliseconds()}
		if answer.Err != nil {
			forwarded.Error = answer.Err.Error()
		}
		var err error
		if all["forwarded"], err = json.Marshal(forwarded); err != nil {
			return nil, err
		}
	}
	return json.Marshal(all, json.Deterministic(true))
}
