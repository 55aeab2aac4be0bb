package broker

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func aMessage(body string) *Message {
	return &Message{Body: []byte(body), Key: "k", Subject: "s", Headers: map[string]string{"account": "acc_1"},
		Time: time.Date(2026, 11, 20, 10, 30, 0, 5e6, time.UTC), Identity: "nats/S/1/1"}
}

func TestMapsMakeEvents(t *testing.T) {
	id := aMessage("").ID()
	tests := []struct {
		name, program, body string
		want                []string
	}{
		{"as it is", ".", `{"id":"evt_1","a":1}`, []string{`{"a":1,"id":"evt_1"}`}},
		{"an id of the place", ".", `{"a":1}`, []string{`{"a":1,"id":"` + id + `"}`}},
		{"several", ".[]", `[{"a":1},{"a":2},{"id":"evt_3"}]`, []string{`{"a":1,"id":"` + id + `"}`, `{"a":2,"id":"` + id + `-2"}`, `{"id":"evt_3"}`}},
		{"none", "empty", `{}`, nil},
		{"a text", `{id: "e", t: .}`, "id:1 stat:DELIVRD", []string{`{"id":"e","t":"id:1 stat:DELIVRD"}`}},
		{"a number is a text", `{id: "e", t: .}`, "12", []string{`{"id":"e","t":"12"}`}},
		{"a long number", `{id: "e", n}`, `{"n":12345678901234567890}`, []string{`{"id":"e","n":12345678901234567890}`}},
		{"the message", `{id: "e", m: $message}`, "{}", []string{`{"id":"e","m":{"headers":{"account":"acc_1"},"id":"` + id + `","key":"k","subject":"s","time":"2026-11-20T10:30:00.005Z"}}`}},
		{"a digest", `{id: ([.a, .b] | digest)}`, `{"a":"x","b":1}`, []string{`{"id":"evt_59402b0471b497c05ad760c869c511f9"}`}},
		{"halted", `{id: "e"}, halt`, `{}`, []string{`{"id":"e"}`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := NewMap(test.program)
			if err != nil {
				t.Fatal(err)
			}
			events, why := m.Events(t.Context(), aMessage(test.body))
			if why != nil {
				t.Fatalf("got %v, want events", *why)
			}
			var got []string
			for _, e := range events {
				got = append(got, string(e))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMapsThatFailSayWhy(t *testing.T) {
	for _, test := range []struct{ program, body, code, detail string }{
		{".", "\xff", NotText, "UTF-8"},
		{".", `{"a":1,"a":2}`, NotJSON, "duplicate"},
		{".", `{"a":1`, NotJSON, "EOF"},
		{".", `{} {}`, NotJSON, "behind"},
		{".", "text", MapFailed, "must be a JSON object, not string"},
		{".a + 1", `{"a":{}}`, MapFailed, "cannot"},
		{`error("no account")`, "{}", MapFailed, "no account"},
	} {
		m, err := NewMap(test.program)
		if err != nil {
			t.Fatal(err)
		}
		events, why := m.Events(t.Context(), aMessage(test.body))
		if why == nil || why.Code != test.code || !strings.Contains(why.Detail, test.detail) || events != nil {
			t.Errorf("%s of %q: got %s, %v, want %s with %q", test.program, test.body, events, why, test.code, test.detail)
		}
	}
	m, err := NewMap(".")
	if err != nil {
		t.Fatal(err)
	}
	nameless := aMessage("{}")
	nameless.Identity = ""
	if _, why := m.Events(t.Context(), nameless); why == nil || !strings.Contains(why.Detail, "has no id") {
		t.Errorf("without any id: got %v, want it to say so", why)
	}
}

func TestBrokenMapsAreRefused(t *testing.T) {
	for program, want := range map[string]string{
		"{id: .a\n, b: }": "line 2: ",
		"nope":            "nope",
		"$nope":           "$nope",
		"input":           "not allowed",
	} {
		if _, err := NewMap(program); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", program, err, want)
		}
	}
}
