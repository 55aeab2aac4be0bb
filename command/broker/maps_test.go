package broker

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// The maps of packaging/maps make exactly the events, and fail for exactly the reasons,
// that testdata/maps says: NAME.in is a message, NAME.headers its headers, NAME.out the
// events, NAME.why the reason. Every event is one that the contract allows.
func TestMapsOfProviders(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	input := doc.Components.Schemas["EventInput"].Value
	maps, err := filepath.Glob("../../packaging/maps/*.jq")
	if err != nil || len(maps) == 0 {
		t.Fatalf("got %q, %v, want the maps", maps, err)
	}
	for _, file := range maps {
		name := strings.TrimSuffix(filepath.Base(file), ".jq")
		program, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := NewMap(string(program))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		cases, err := txtar.ParseFile(filepath.Join("testdata/maps", name+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range cases.Files {
			if name, ok := strings.CutSuffix(f.Name, ".in"); ok {
				t.Run(filepath.Base(file)+" "+name, func(t *testing.T) { checkMap(t, m, input, cases, name) })
			}
		}
	}
}

func checkMap(t *testing.T, m *Map, input *openapi3.Schema, cases *txtar.Archive, name string) {
	t.Helper()
	message := &Message{Body: bytes.TrimSpace(member(cases, name+".in")), Headers: map[string]string{"account": "acc_1"},
		Time: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), Identity: "nats/S/1/1"}
	if headers := member(cases, name+".headers"); headers != nil {
		message.Headers = nil
		if err := json.Unmarshal(headers, &message.Headers); err != nil {
			t.Fatal(err)
		}
	}
	events, why := m.Events(t.Context(), message)
	var got string
	for _, text := range events {
		var event any
		if err := json.Unmarshal(text, &event); err != nil {
			t.Fatal(err)
		}
		if err := input.VisitJSON(event, openapi3.EnableFormatValidation()); err != nil {
			t.Errorf("%s is no event of the contract: %v", text, err)
		}
		got += string(text) + "\n"
	}
	if diff := cmp.Diff(string(member(cases, name+".out")), got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	var reason string
	if why != nil {
		reason = why.Code + ": " + why.Detail + "\n"
	}
	if diff := cmp.Diff(string(member(cases, name+".why")), reason); diff != "" {
		t.Errorf("reason (-want +got):\n%s", diff)
	}
	if again, _ := m.Events(t.Context(), message); !slices.EqualFunc(events, again, bytes.Equal) {
		t.Errorf("the same message again: got %s, want %s", again, events)
	}
}

// The errors that the map of SMPP has in a comment can be used as they are.
func TestMapOfSMPPWithErrors(t *testing.T) {
	program, err := os.ReadFile("../../packaging/maps/smpp.jq")
	if err != nil {
		t.Fatal(err)
	}
	with := strings.NewReplacer("def cause: {}[.];", "", "# def cause:", "def cause:", "#   \"34\"", "\"34\"").Replace(string(program))
	m, err := NewMap(with)
	if err != nil {
		t.Fatal(err)
	}
	for number, want := range map[string]string{"001": `"UNKNOWN_SUBSCRIBER","permanent":true`, "040": `"HANDSET_MEMORY_FULL","permanent":false`, "099": `"OTHER","permanent":false`} {
		events, why := m.Events(t.Context(), aMessage(`{"source_addr": "393401234567", "short_message": "id:1 done date:2611201030 stat:UNDELIV err:`+number+`"}`))
		if why != nil || len(events) != 1 || !strings.Contains(string(events[0]), `"error":{"code":`+want) {
			t.Errorf("err:%s: got %s, %v, want %s", number, events, why, want)
		}
	}
}

func member(a *txtar.Archive, name string) []byte {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}
