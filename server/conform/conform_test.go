package conform

import (
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
)

// document is openapi.yaml.
func document(tb testing.TB) *openapi3.T {
	tb.Helper()
	text, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		tb.Fatal(err)
	}
	return doc
}

// eventBatch is the schema of what most requests carry.
func eventBatch(tb testing.TB) *openapi3.Schema {
	tb.Helper()
	return document(tb).Components.Schemas["EventBatch"].Value
}

// TestEveryPatternIsSaidInWords: people who break it do not read the pattern.
func TestEveryPatternIsSaidInWords(t *testing.T) {
	patterns := map[string]bool{}
	var collect func(s *openapi3.Schema)
	collect = func(s *openapi3.Schema) {
		patterns[s.Pattern] = true
		if s.Items != nil {
			collect(s.Items.Value)
		}
		for _, p := range s.Properties {
			collect(p.Value)
		}
	}
	for _, item := range document(t).Paths.Map() {
		for _, op := range item.Operations() {
			for _, p := range slices.Concat(item.Parameters, op.Parameters) {
				collect(p.Value.Schema.Value)
			}
			if op.RequestBody != nil {
				collect(op.RequestBody.Value.Content["application/json"].Schema.Value)
			}
		}
	}
	delete(patterns, "")
	if len(patterns) < 10 {
		t.Errorf("patterns: found %d, want all of the document's", len(patterns))
	}
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		if patternWords[pattern] == "" {
			t.Errorf("pattern %s is not said in words; add it to patternWords", pattern)
		}
	}
}

func TestEveryWrongPlaceIsNamed(t *testing.T) {
	tests := []struct {
		name, text string
		want       []gen.ProblemError
		value      bool // whether all places were looked at
	}{
		{"right", inBatch(""), nil, false},
		{"right, in an unusual way", inBatch(`,"part":{"number":2.0,"total":3}`), nil, false},
		{"not JSON", `{"events":[}`, []gen.ProblemError{{Pointer: "/events/0", Detail: "is not valid JSON at byte 11"}}, false},
		{"a name twice", `{"events":[],"events":[]}`, []gen.ProblemError{{Pointer: "/events", Detail: "stands twice"}}, false},
		{"two places", inBatch(`,"part":{"number":0,"total":"a/b"}`), []gen.ProblemError{
			{Pointer: "/events/0/part/number", Detail: "number must be at least 1"},
			{Pointer: "/events/0/part/total", Detail: "value must be an integer"},
		}, true},
	}
	s := New(eventBatch(t), Formats(nil))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := s.Check([]byte(test.text))
			if test.want == nil {
				if got != nil {
					t.Errorf("got %v, want none", got)
				}
				return
			}
			if diff := cmp.Diff(test.want, got.Places); diff != "" || (got.Value != nil) != test.value {
				t.Errorf("value %v, want one: %v; places (-want +got):\n%s", got.Value, test.value, diff)
			}
		})
	}
}
