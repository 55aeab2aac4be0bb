package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
)

// examples are the document's own, by name.
func examples(t *testing.T) map[string]map[string]any {
	t.Helper()
	out := make(map[string]map[string]any)
	for name, e := range loadContract(t).doc.Components.Examples {
		if v, ok := e.Value.Value.(map[string]any); ok && v["statusRank"] != nil {
			out[name] = maps.Clone(v) // tests change it
		}
	}
	if len(out) < 8 {
		t.Fatalf("examples of StatusEvent: got %d, want at least 8", len(out))
	}
	return out
}

// derived are the members that the platform does not hand in.
var derived = []string{"version", "eventType", "statusRank", "statusCode", "receivedAt", "sequence", "eventId"}

// TestPayloadsAreTheExamples hands in what the document's examples were made
// of, and gets the examples.
func TestPayloadsAreTheExamples(t *testing.T) {
	s := start(t)
	for name, want := range examples(t) {
		t.Run(name, func(t *testing.T) {
			id, _ := s.subscriber()
			input := maps.Clone(want)
			for _, member := range derived {
				delete(input, member)
			}
			if want["status"] != "EXPIRED" {
				delete(input, "final")
			}
			input["id"], input["accountId"] = want["eventId"], id
			text, err := json.Marshal(input)
			if err != nil {
				t.Fatal(err)
			}
			s.accept(t, string(text))
			got := s.payload(t, id, fmt.Sprint(want["eventId"]))
			want["accountId"], want["receivedAt"], want["sequence"] = id, "2026-11-20T09:00:00.123Z", float64(1)
			if diff := cmp.Diff(normal(t, want), got); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
		})
	}
}

// payload is what is sent of an event, held against the document.
func (s *service) payload(t *testing.T, account, eventID string) map[string]any {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(s.stored(t, account, eventID).Body, &got); err != nil {
		t.Fatal(err)
	}
	schema := loadContract(t).doc.Components.Schemas["StatusEvent"].Value
	if err := schema.VisitJSON(got, openapi3.MultiErrors()); err != nil {
		t.Errorf("payload: got %v, want one as the document describes it: %v", got, err)
	}
	for name := range got {
		if schema.Properties[name] == nil {
			t.Errorf("payload: got a member %q that the document does not describe", name)
		}
	}
	return got
}

// normal turns the values of a YAML document into those of a JSON text.
func normal(t *testing.T, v map[string]any) map[string]any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDerivedMembers(t *testing.T) {
	s := start(t)
	id, _ := s.subscriber()
	for i, tt := range []struct {
		status string
		final  string // what is handed in; empty: nothing
		want   string // eventType, final, rank, code
	}{
		{"ACCEPTED", "", "DELIVERY false 10 <nil>"},
		{"SENT", "", "DELIVERY false 20 <nil>"},
		{"UNKNOWN", "", "DELIVERY true 30 <nil>"},
		{"EXPIRED", "", "DELIVERY true 40 6"},
		{"EXPIRED", "true", "DELIVERY true 40 6"},
		{"EXPIRED", "false", "DELIVERY false 40 <nil>"},
		{"CANCELLED", "", "DELIVERY true 40 6"},
		{"REJECTED", "", "DELIVERY true 40 6"},
		{"UNDELIVERABLE", "", "DELIVERY true 40 6"},
		{"FAILED", "", "DELIVERY true 40 6"},
		{"DELIVERED", "", "DELIVERY true 50 3"},
		{"READ", "", "READ true 60 <nil>"},
	} {
		t.Run(tt.status+tt.final, func(t *testing.T) {
			eventID := fmt.Sprintf("evt_%d", i)
			s.accept(t, event(eventID, id, `channel:"RCS"`, `status:"`+tt.status+`"`, "final:"+tt.final))
			p := s.payload(t, id, eventID)
			if got := fmt.Sprint(p["eventType"], " ", p["final"], " ", p["statusRank"], " ", p["statusCode"]); got != tt.want {
				t.Errorf("derived: got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestPayloadDefaults(t *testing.T) {
	s := start(t)
	id, _ := s.subscriber()
	s.accept(t, event("evt_1", id, `timestamp:"2026-11-20T11:30:00.98765+02:00"`))
	got := string(s.stored(t, id, "evt_1").Body)
	want := `{"eventId":"evt_1","version":1,"eventType":"DELIVERY","accountId":"` + id + `","messageId":"m-1","customerMessageId":null,` +
		`"channel":"SMS","destination":"+393401234567","recipientId":null,"status":"DELIVERED","final":true,"statusRank":50,"statusCode":3,` +
		`"description":"","timestamp":"2026-11-20T09:30:00.987Z","receivedAt":"2026-11-20T09:00:00.123Z","timestampSource":"PROVIDER",` +
		`"part":null,"fallbackChannel":null,"error":null,"sequence":1}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
}

// TestNullIsAbsent where the document says nullable.
func TestNullIsAbsent(t *testing.T) {
	s := start(t)
	id, _ := s.subscriber()
	s.accept(t,
		event("evt_1", id),
		event("evt_2", id, "customerMessageId:null", "recipientId:null", "part:null", "fallbackChannel:null", "error:null"))
	with := strings.ReplaceAll(string(s.stored(t, id, "evt_2").Body), "evt_2", "evt_1")
	with = strings.Replace(with, `"sequence":2`, `"sequence":1`, 1)
	if diff := cmp.Diff(string(s.stored(t, id, "evt_1").Body), with); diff != "" {
		t.Errorf("payload (-absent +null):\n%s", diff)
	}
}

// TestPayloadHasEveryMember holds the payload against the document, so that
// neither gains a member alone.
func TestPayloadHasEveryMember(t *testing.T) {
	s := start(t)
	id, _ := s.subscriber()
	s.accept(t, event("evt_1", id,
		`price:{"amount":"0.045","currency":"EUR"}`, `network:{"mccmnc":"22201"}`, `error:{"code":"OTHER","permanent":false}`))
	got := slices.Sorted(maps.Keys(s.payload(t, id, "evt_1")))
	want := slices.Sorted(maps.Keys(loadContract(t).doc.Components.Schemas["StatusEvent"].Value.Properties))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}
