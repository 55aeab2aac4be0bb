package conform

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// inBatch makes a batch of one event: a typical one, with more members.
func inBatch(more string) string {
	return `{"events":[{"id":"evt_1","accountId":"acc_1","messageId":"m ü","channel":"RCS","destination":"+393401234567",` +
		`"status":"SENT","timestamp":"2026-11-20T10:30:00.000Z"` + more + `}]}`
}

// usualEvents conform, by the shape alone.
var usualEvents = []string{
	inBatch(""),
	inBatch(`,"customerMessageId":null,"recipientId":null,"part":null,"fallbackChannel":null,"error":null`),
	inBatch(`,"final":null,"description":null,"timestampSource":null,"price":null,"network":{"mccmnc":"22201","operator":null}`),
	strings.Replace(inBatch(""), "T10:30:00.000Z", "t10:30:00z", 1), strings.Replace(inBatch(""), "11-20T10:30:00.000Z", "12-31T23:59:60Z", 1),
	inBatch(`,"customerMessageId":"order-1","description":"Perch\u00e9 no?","timestampSource":"PLATFORM","final":false`),
	inBatch(`,"part":{"number":2,"total":255},"price":{"amount":"-0.0450","currency":"EUR"},"network":{"mccmnc":"22201","operator":"TIM"}`),
	inBatch(`,"error":{"code":"TTL_EXPIRED","permanent":false,"provider":{"name":"smpp","code":"040","details":null}},"fallbackChannel":"SMS"`),
	" \n" + inBatch(`,"description":"`+strings.Repeat("ü", 512)+`"`) + "\r\n\t ",
}

// unusualEvents do not: some are right all the same.
var unusualEvents = []string{
	inBatch(`,"description":"` + strings.Repeat("ü", 513) + `"`), inBatch(`,"x":1`), inBatch(`,"part":{"number":2}`),
	inBatch(`,"part":{"number":2.0,"total":3}`), inBatch(`,"part":{"number":256,"total":3}`), inBatch(`,"part":{"number":0,"total":3}`), inBatch(`,"description":"\ud800"`), inBatch("") + "{}", inBatch("") + "x",
	`{"events":[]}`, `{"events":[{}]}`, `{}`, `[]`, ``, `null`, `"events"`, `{"events":{}}`, `{"events":[`, `{"events":[]`,
	strings.Replace(inBatch(""), "evt_1", "evt 1", 1), strings.Replace(inBatch(""), "evt_1", strings.Repeat("e", 65), 1), strings.Replace(inBatch(""), "+39", "+09", 1),
	strings.Replace(inBatch(""), "11-20", "02-31", 1), strings.Replace(inBatch(""), "RCS", "rcs", 1), strings.Replace(inBatch(""), "ü", `\u0007`, 1),
	strings.Replace(inBatch(""), `"id":"evt_1",`, "", 1),
	`{"events":[` + strings.Repeat(`{},`, 1000) + `{}]}`,
}

// TestShapeDescribesUsualEvents: the fast way is the way of what is handed in
// day by day.
func TestShapeDescribesUsualEvents(t *testing.T) {
	schema := eventBatch(t)
	shape := newShape(schema)
	for _, text := range usualEvents {
		if !shape.describes([]byte(text)) {
			t.Errorf("got no, want yes: %s", text)
		}
	}
	for _, text := range unusualEvents {
		if shape.describes([]byte(text)) {
			t.Errorf("got yes, want no: %s", text)
		}
	}
}

// TestPatternsOfUsualMembersAreRows: the general engine is for the rare ones.
func TestPatternsOfUsualMembersAreRows(t *testing.T) {
	schema := eventBatch(t)
	for name, p := range schema.Properties["events"].Value.Items.Value.Properties {
		row, ok := newPattern(p.Value.Pattern)
		if p.Value.Pattern != "" && !ok {
			t.Errorf("%s: got no row of classes from %s, want one", name, p.Value.Pattern)
		}
		if name == "accountId" {
			for text, want := range map[string]bool{"acc_1": true, "..a": true, "a.": true, ".": false, "..": false, "...": false, "a/": false} {
				if got := row.matches([]byte(text)); got != want {
					t.Errorf("accountId %q: got %v, want %v", text, got, want)
				}
			}
		}
	}
}

// FuzzShape: what a shape takes to conform, the library does.
func FuzzShape(f *testing.F) {
	for _, text := range append(usualEvents, unusualEvents...) {
		f.Add(text)
	}
	schema, formats := eventBatch(f), Formats(nil)
	shape := newShape(schema)
	f.Fuzz(func(t *testing.T, text string) {
		if !shape.describes([]byte(text)) {
			return
		}
		var value any
		err := json.Unmarshal([]byte(text), &value)
		if err != nil && strings.Contains(err.Error(), "duplicate") {
			return // the decoding that follows refuses it
		}
		if err == nil {
			err = schema.VisitJSON(value, formats)
		}
		if err != nil {
			t.Errorf("%s: got yes, but the library says %v", text, err)
		}
	})
}

// FuzzPattern: a pattern matches what the general engine does.
func FuzzPattern(f *testing.F) {
	for _, expr := range []string{`^[A-Za-z0-9_-]{1,64}$`, `^\.*[A-Za-z0-9_~:@-][A-Za-z0-9._~:@-]*$`, `^[^\x00]*$`, `^[^\x00-\x1F\x7F]*$`, `^\+[1-9][0-9]{1,14}$`, `^[A-Z][A-Z0-9_]*$`, `^a+a$`, `^[^a]{2}$`, `^(?i)k$`, `^[^\x00-\x{FF}]*$`} {
		for _, text := range []string{"", "a", "..", "..a", "aa", "+39340", "Ab_-9", "ü", "\x7f", "K", "ÿ", "\n", "a\n"} {
			f.Add(expr, text)
		}
	}
	f.Fuzz(func(t *testing.T, expr, text string) {
		p, ok := newPattern(expr)
		if !ok || len(text) > 1000 || !utf8.ValidString(text) {
			return
		}
		if general := regexp.MustCompile(expr); p.matches([]byte(text)) && !general.MatchString(text) {
			t.Errorf("%q matches %q, but not in general", text, expr)
		}
	})
}
