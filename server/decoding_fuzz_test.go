package server_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

// checkDecoding holds what became of a batch against another decoder than the
// server's, encoding/json with what it is lax about done by hand: what is
// strict JSON is not refused as if it were not, and what is accepted is, and
// is stored with the values that the other decoder reads.
func checkDecoding(t *testing.T, body, answer string, accepted []store.Event) {
	t.Helper()
	wrong := strict(body)
	refused := strings.Contains(answer, "is not valid JSON") || strings.Contains(answer, "stands twice")
	if refused && wrong == nil {
		t.Errorf("refused as JSON, want not: %s", answer)
	}
	if len(accepted) == 0 {
		return
	}
	if wrong != nil {
		t.Fatalf("accepted, but it is not strict JSON: %v", wrong)
	}
	var in struct{ Events []map[string]any }
	if err := json.Unmarshal([]byte(body), &in); err != nil {
		t.Fatal(err)
	}
	if len(in.Events) != len(accepted) {
		t.Fatalf("stored %d events, want %d", len(accepted), len(in.Events))
	}
	for i, e := range accepted {
		var out map[string]any
		if err := json.Unmarshal(store.Body(e.Payload, 1), &out); err != nil {
			t.Fatal(err)
		}
		if got, want := e.AccountID+" "+e.ID+" "+e.MessageID, text(in.Events[i], "accountId", "id", "messageId"); got != want {
			t.Errorf("stored as %q, want %q", got, want)
		}
		if diff := cmp.Diff(passedOn(in.Events[i]), passedOn(out)); diff != "" {
			t.Errorf("passed on (-want +got):\n%s", diff)
		}
	}
}

func text(e map[string]any, names ...string) string {
	var all []string
	for _, name := range names {
		s, _ := e[name].(string)
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

// passedOn are the members that are sent as they were handed in; null is as
// good as absent, and so is an empty description.
func passedOn(e map[string]any) map[string]any {
	out := map[string]any{}
	for _, name := range []string{
		"accountId", "messageId", "customerMessageId", "channel", "destination", "recipientId", "status", "description",
		"part", "fallbackChannel", "price", "network", "error",
	} {
		if v := withoutNulls(e[name]); v != nil && v != "" {
			out[name] = v
		}
	}
	return out
}

func withoutNulls(v any) any {
	members, ok := v.(map[string]any)
	if !ok {
		return v
	}
	members = maps.Clone(members)
	for name, value := range members {
		members[name] = withoutNulls(value)
	}
	maps.DeleteFunc(members, func(_ string, value any) bool { return value == nil })
	return members
}

// strict returns why a text is not one value of I-JSON (RFC 7493).
func strict(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("not UTF-8")
	}
	if loneSurrogate(text) {
		return errors.New("half of a surrogate pair")
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := strictValue(d); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something after the value")
	}
	if !json.Valid([]byte(text)) {
		return errors.New("not JSON") // what Token lets pass
	}
	return nil
}

func strictValue(d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if seen[name.(string)] {
				return errors.New("a name twice")
			}
			seen[name.(string)] = true
		}
		if err := strictValue(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// loneSurrogate reports whether an escape stands for half a character.
func loneSurrogate(text string) bool {
	for i := 0; i+1 < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		first := escape(text[i:])
		if !utf16.IsSurrogate(first) {
			i++
			continue
		}
		if utf16.DecodeRune(first, escape(text[i+6:])) == utf8.RuneError {
			return true
		}
		i += 11
	}
	return false
}

// escape is the character of the \u escape that a text begins with, or 0.
func escape(text string) rune {
	if len(text) < 6 || text[:2] != `\u` {
		return 0
	}
	n, err := strconv.ParseUint(text[2:6], 16, 32)
	if err != nil {
		return 0
	}
	return rune(n)
}
