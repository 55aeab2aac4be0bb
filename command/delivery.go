package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/gen/client"
)

// deliveryTable lists deliveries for people.
func deliveryTable(out io.Writer, list []client.Delivery, now time.Time) error {
	screen, rows := terminal.NewScreen(out), make([][]terminal.Cell, len(list))
	clock := clockFor(now, list, func(d *client.Delivery) time.Time { return d.AcceptedAt })
	for i, d := range list {
		rows[i] = []terminal.Cell{
			{Text: d.AcceptedAt.Local().Format(clock), Paint: screen.Faint}, {Text: d.EventID},
			{Text: string(d.State), Paint: paintOf(screen, d.State)}, {Text: strconv.Itoa(int(d.AttemptCount))},
			{Text: why(&d, now)}, {Text: d.MessageID},
		}
	}
	return screen.Table([]terminal.Heading{
		{Name: "ACCEPTED"}, {Name: "EVENT", Least: 12}, {Name: "STATE"}, {Name: "#"}, {Name: "WHY", Least: 14}, {Name: "MESSAGE", Least: 7},
	}, rows)
}

// clockFor leaves out the day if all times are of today.
func clockFor[T any](now time.Time, list []T, at func(*T) time.Time) string {
	for i := range list {
		if at(&list[i]).Local().Format(time.DateOnly) != now.Local().Format(time.DateOnly) {
			return "01-02 15:04"
		}
	}
	return time.TimeOnly
}

func paintOf(s terminal.Screen, state client.DeliveryState) func(string) string {
	switch state {
	case client.DeliveryStateDELIVERED:
		return s.Good
	case client.DeliveryStateFAILED:
		return s.Bad
	}
	return nil
}

// why says in a few letters what a PENDING delivery waits for, and how the last attempt
// failed.
func why(d *client.Delivery, now time.Time) string {
	var parts []string
	if d.WaitingFor != nil {
		waits := strings.ToLower(strings.ReplaceAll(string(*d.WaitingFor), "_", " "))
		if d.NextAttemptAt != nil {
			waits += " " + terminal.Rough(max(0, d.NextAttemptAt.Sub(now)))
		}
		parts = append(parts, waits)
	}
	switch {
	case d.LastError == nil:
	case d.LastStatusCode != nil:
		parts = append(parts, strconv.Itoa(int(*d.LastStatusCode)))
	case d.LastDetail != nil:
		parts = append(parts, string(*d.LastDetail))
	default:
		parts = append(parts, string(*d.LastError))
	}
	return strings.Join(parts, ", ")
}

// deliveryDetail shows all about a delivery; text is the server's answer.
func deliveryDetail(out io.Writer, d *client.DeliveryDetail, text []byte, now time.Time) error {
	fields := [][2]string{
		{"event", d.EventID}, {"message", d.MessageID}, {"state", string(d.State)},
		{"accepted", local(d.AcceptedAt)},
	}
	if d.FinishedAt != nil {
		fields = append(fields, [2]string{"finished", fmt.Sprintf("%s, %s after", local(*d.FinishedAt), terminal.Brief(d.FinishedAt.Sub(d.AcceptedAt)))})
	}
	if d.WaitingFor != nil {
		fields = append(fields, [2]string{"waits for", waitsInWords(d, now)})
	}
	var answer struct{ Payload json.RawMessage }
	var payload bytes.Buffer
	if json.Unmarshal(text, &answer) == nil && json.Compact(&payload, answer.Payload) == nil {
		fields = append(fields, [2]string{"payload", payload.String()})
	}
	fields = append(fields, [2]string{"attempts", strconv.Itoa(int(d.AttemptCount))})
	if err := terminal.Fields(out, fields); err != nil {
		return err
	}
	for _, a := range d.Attempts {
		if err := printAttempt(out, &a); err != nil {
			return err
		}
	}
	return nil
}

// waitsInWords says what a PENDING delivery waits for, and what to do.
func waitsInWords(d *client.DeliveryDetail, now time.Time) string {
	at := ""
	if d.NextAttemptAt != nil {
		at = fmt.Sprintf(", at %s (in %s)", local(*d.NextAttemptAt), terminal.Rough(max(0, d.NextAttemptAt.Sub(now))))
	}
	switch *d.WaitingFor {
	case client.WaitingForINFLIGHT:
		return "the answer to the attempt under way"
	case client.WaitingForQUEUE:
		return "its turn"
	case client.WaitingForRETRY:
		return "its next attempt" + at
	case client.WaitingForEARLIEREVENT:
		return strings.TrimSuffix("an earlier event of the same message: "+api.OrEmpty(d.WaitingForEventID), ": ")
	case client.WaitingForPROBE:
		return "a probe that is acknowledged, as the last 10 attempts failed" + at
	case client.WaitingForSUSPENDED:
		return "the URL to be set again, as the endpoint answered 410: recapito webhook set https://…"
	}
	return string(*d.WaitingFor) + at
}

// printAttempt prints a line for the attempt, and what is known of its failure below.
func printAttempt(out io.Writer, a *client.Attempt) error {
	screen := terminal.NewScreen(out)
	took := time.Duration(a.DurationMs) * time.Millisecond
	if _, err := fmt.Fprintln(out, terminal.Join([]terminal.Cell{
		{Text: fmt.Sprintf("%4s", "#"+strconv.Itoa(int(a.Number)))}, {Text: local(a.At), Paint: screen.Faint}, {Text: fmt.Sprintf("%7s", terminal.Brief(took))},
		outcomeOf(screen, a.StatusCode, a.Error, a.Detail, a.Probe),
	})); err != nil {
		return err
	}
	for _, more := range []struct{ name, text string }{
		{"to", wayOf(a)}, {"header", api.OrEmpty(a.ResponseHeader)}, {"location", api.OrEmpty(a.Location)}, {"answer", api.OrEmpty(a.Response)},
	} {
		if more.text == "" {
			continue
		}
		line := terminal.Plain(fmt.Sprintf("      %s: %s", more.name, strings.Join(strings.Fields(more.text), " ")))
		if n := screen.Width(); n > 0 {
			line = strings.TrimRight(terminal.Column(line, n), " ")
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

// outcomeOf says how an attempt ended.
func outcomeOf(s terminal.Screen, status *int32, kind *client.AttemptError, detail *client.AttemptDetail, probe bool) terminal.Cell {
	c := terminal.Cell{Text: "acknowledged", Paint: s.Good}
	if kind != nil {
		c = terminal.Cell{Text: string(*kind), Paint: s.Bad}
	}
	if detail != nil {
		c.Text += ": " + string(*detail)
	}
	if status != nil {
		c.Text = fmt.Sprintf("%d %s", *status, c.Text)
	}
	if probe {
		c.Text += " (probe)"
	}
	return c
}

// wayOf is where the attempt went and how long its parts took.
func wayOf(a *client.Attempt) string {
	var parts []string
	if a.Address != nil {
		parts = append(parts, *a.Address)
	}
	if a.Reused != nil && *a.Reused {
		parts = append(parts, "kept connection")
	}
	if p := a.Phases; p != nil {
		for _, phase := range []struct {
			name string
			ms   *int64
		}{{"DNS", p.DNSMs}, {"connect", p.ConnectMs}, {"proxy", p.ProxyMs}, {"TLS", p.TLSMs}, {"first byte", p.FirstByteMs}} {
			if phase.ms != nil {
				parts = append(parts, fmt.Sprintf("%s %d ms", phase.name, *phase.ms))
			}
		}
	}
	return strings.Join(parts, ", ")
}
