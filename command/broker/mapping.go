package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/itchyny/gojq"
)

// Map makes status events of messages. It is a program of jq whose input is the message:
// parsed if it is a JSON object or array, else its text. What it returns are events.
type Map struct{ code *gojq.Code }

// mapTime is how long a map may take for one message.
const mapTime = 30 * time.Second

// NewMap compiles a program; "." takes messages as they are.
func NewMap(program string) (*Map, error) {
	query, err := gojq.Parse(program)
	if bad, ok := errors.AsType[*gojq.ParseError](err); ok {
		return nil, fmt.Errorf("line %d: %w", 1+strings.Count(program[:min(bad.Offset, len(program))], "\n"), err)
	}
	if err != nil {
		return nil, err
	}
	code, err := gojq.Compile(query, gojq.WithVariables([]string{"$message"}),
		gojq.WithFunction("digest", 0, 0, func(of any, _ []any) any {
			text, err := gojq.Marshal(of)
			if err != nil {
				return err
			}
			return digest(text)
		}))
	return &Map{code}, err
}

// Events returns the events of a message as JSON, perhaps none. A reason says why there are
// no more to be had: what the map has returned before it failed is to be handed in too.
func (p *Map) Events(ctx context.Context, m *Message) (events [][]byte, why *Reason) {
	in, why := parsed(m.Body)
	if why != nil {
		return nil, why
	}
	ctx, cancel := context.WithTimeout(ctx, mapTime)
	defer cancel()
	out := p.code.RunWithContext(ctx, in, variable(m))
	for {
		one, more := out.Next()
		if halt, ok := one.(*gojq.HaltError); ok && halt.Value() == nil || !more {
			return events, nil
		}
		if err, failed := one.(error); failed {
			return events, &Reason{MapFailed, strings.TrimPrefix(err.Error(), "error: ")}
		}
		text, err := event(one, m, len(events))
		if err != nil {
			return events, &Reason{MapFailed, err.Error()}
		}
		events = append(events, text)
	}
}

// parsed is the input of a map.
func parsed(body []byte) (any, *Reason) {
	if !utf8.Valid(body) {
		return nil, &Reason{NotText, "the message is not UTF-8"}
	}
	text := bytes.TrimSpace(body)
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return string(body), nil
	}
	strict := jsontext.NewDecoder(bytes.NewReader(text)) // no member twice
	if _, err := strict.ReadValue(); err != nil {
		return nil, &Reason{NotJSON, err.Error()}
	}
	if rest := bytes.TrimSpace(text[strict.InputOffset():]); len(rest) > 0 {
		return nil, &Reason{NotJSON, "something stands behind the JSON value"}
	}
	var in any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // a long number is an id
	if err := d.Decode(&in); err != nil {
		return nil, &Reason{NotJSON, err.Error()}
	}
	return in, nil
}

// variable is $message.
func variable(m *Message) map[string]any {
	headers := make(map[string]any, len(m.Headers))
	for name, value := range m.Headers {
		headers[name] = value
	}
	v := map[string]any{"id": nil, "key": m.Key, "subject": m.Subject, "headers": headers, "time": nil}
	if id := m.ID(); id != "" {
		v["id"] = id
	}
	if !m.Time.IsZero() {
		v["time"] = m.Time.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	return v
}

// event is what a map returned as JSON, with an id: the message's, and from the second
// one on its place as well.
func event(of any, m *Message, place int) ([]byte, error) {
	members, ok := of.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("an event must be a JSON object, not %s", gojq.TypeOf(of))
	}
	if members["id"] == nil {
		id := m.ID()
		if id == "" {
			return nil, errors.New("the event has no id, and the message has none: give it a message id, or let the map make one: id: ([…] | digest)")
		}
		if place > 0 {
			id = fmt.Sprintf("%s-%d", id, place+1)
		}
		with := map[string]any{"id": id}
		for name, value := range members {
			if name != "id" {
				with[name] = value
			}
		}
		members = with
	}
	return gojq.Marshal(members)
}
