package server_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/recapito/recapito/gen"
)

// TestClientsNeedNoSecondName: what generators make types or constants of shares
// no name: otherwise clients get an AccountId2, and strict generators refuse.
func TestClientsNeedNoSecondName(t *testing.T) {
	var doc struct {
		Components map[string]map[string]yaml.Node
	}
	if err := yaml.Unmarshal(spec(t), &doc); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for section, components := range doc.Components {
		if section == "links" || section == "examples" { // no generator names these
			continue
		}
		for name := range components {
			if other := seen[strings.ToLower(name)]; other != "" {
				t.Errorf("%s: it names one of %s and one of %s, want one thing a name", name, other, section)
			}
			seen[strings.ToLower(name)] = section
		}
	}
}

// TestEveryResponseNamesItsRequest: X-Request-Id is on every answer, so it stands
// in every answer's header in the document.
func TestEveryResponseNamesItsRequest(t *testing.T) {
	for _, o := range loadContract(t).operations(t) {
		for status, r := range o.op.Responses.Map() {
			if h := r.Value.Headers["X-Request-Id"]; h == nil || !h.Value.Required {
				t.Errorf("%s %s: got no required X-Request-Id, want one", o.id, status)
			}
		}
	}
}

// TestEveryProblemInTheDocumentIsOne: examples conform, code and all.
func TestEveryProblemInTheDocumentIsOne(t *testing.T) {
	c := loadContract(t)
	for _, o := range c.operations(t) {
		for status, r := range o.op.Responses.Map() {
			problem := r.Value.Content["application/problem+json"]
			if problem == nil {
				continue
			}
			if len(problem.Examples) == 0 {
				t.Errorf("%s %s: got no example, want one", o.id, status)
			}
			for name, e := range problem.Examples {
				if err := problem.Schema.Value.VisitJSON(e.Value.Value); err != nil {
					t.Errorf("%s %s, example %s: %v", o.id, status, name, err)
				}
			}
		}
	}
}

// requestBodies are the schemas of what operations take.
func requestBodies(t *testing.T) map[string]*openapi3.Schema {
	t.Helper()
	out := map[string]*openapi3.Schema{}
	for _, o := range loadContract(t).operations(t) {
		if o.op.RequestBody != nil {
			out[o.id] = o.op.RequestBody.Value.Content["application/json"].Schema.Value
		}
	}
	return out
}

// eachMember calls visit for every member below a schema; required: it must be
// there.
func eachMember(path string, s *openapi3.Schema, visit func(path string, member *openapi3.Schema, required bool)) {
	if s.Items != nil {
		eachMember(path+"[]", s.Items.Value, visit)
	}
	for name, p := range s.Properties {
		visit(path+"."+name, p.Value, slices.Contains(s.Required, name))
		eachMember(path+"."+name, p.Value, visit)
	}
}

// TestEveryOptionalMemberTakesNull: for one as for the others.
func TestEveryOptionalMemberTakesNull(t *testing.T) {
	for id, body := range requestBodies(t) {
		eachMember(id, body, func(path string, m *openapi3.Schema, required bool) {
			if !required && !m.Nullable {
				t.Errorf("%s: it is optional, but not nullable", path)
			}
		})
	}
}

// TestNoTextTakesNUL: a receiver on PostgreSQL cannot store it.
func TestNoTextTakesNUL(t *testing.T) {
	for id, body := range requestBodies(t) {
		eachMember(id, body, func(path string, m *openapi3.Schema, _ bool) {
			free := m.Type.Is(openapi3.TypeString) && m.Enum == nil && m.Format != "date-time" && m.Format != "uri"
			if free && m.VisitJSON("a\x00b") == nil {
				t.Errorf("%s: takes U+0000, want it refused", path)
			}
		})
	}
}

// TestWhatIsSentIsBoundedAsWhatIsTakenIn: whoever builds a table for the
// callbacks can go by the document.
func TestWhatIsSentIsBoundedAsWhatIsTakenIn(t *testing.T) {
	schemas := loadContract(t).doc.Components.Schemas
	list := loadContract(t).doc.Paths.Value(webhookPath + "/deliveries").Get
	compareBounds(t, "StatusEvent", schemas["EventInput"].Value, schemas["StatusEvent"].Value)
	compareBounds(t, "Webhook", schemas["WebhookInput"].Value, schemas["Webhook"].Value)
	compareBounds(t, "nextCursor", list.Parameters.GetByInAndName("query", "cursor").Schema.Value, schemas["DeliveryList"].Value.Properties["nextCursor"].Value)
	for _, name := range []string{"StatusEvent", "Part", "Price", "Network", "StatusError", "ProviderError"} {
		if has := schemas[name].Value.AdditionalProperties.Has; has != nil {
			t.Errorf("%s: closed to members that may be added later, want it open", name)
		}
	}
}

func compareBounds(t *testing.T, path string, in, out *openapi3.Schema) {
	t.Helper()
	type bounds struct {
		Pattern   string
		MinLength uint64
		MaxLength *uint64
		Min, Max  *float64
		Values    int
	}
	of := func(s *openapi3.Schema) bounds {
		return bounds{s.Pattern, s.MinLength, s.MaxLength, s.Min, s.Max, len(slices.DeleteFunc(slices.Clone(s.Enum), func(v any) bool { return v == nil }))}
	}
	if diff := cmp.Diff(of(in), of(out)); diff != "" {
		t.Errorf("%s (-taken in +sent):\n%s", path, diff)
	}
	for name, p := range in.Properties {
		if sent := out.Properties[name]; sent != nil {
			compareBounds(t, path+"."+name, p.Value, sent.Value)
		}
	}
}

// TestTimesInTheDocumentHaveThreeDecimals, where they are examples of answers.
func TestTimesInTheDocumentHaveThreeDecimals(t *testing.T) {
	at := regexp.MustCompile(`\d{4}-\d{2}-\d{2}T[^"\\]*`)
	for _, o := range loadContract(t).operations(t) {
		for status, r := range o.op.Responses.Map() {
			for _, media := range r.Value.Content {
				for name, e := range media.Examples {
					text, err := json.Marshal(e.Value.Value)
					if err != nil {
						t.Fatal(err)
					}
					for _, found := range at.FindAllString(string(text), -1) {
						if !wholeMilliseconds.MatchString(found) {
							t.Errorf("%s %s, example %s: got %s, want three decimals", o.id, status, name, found)
						}
					}
				}
			}
		}
	}
}

var wholeMilliseconds = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$`)

// TestTimesHaveThreeDecimals, also when they are whole seconds.
func TestTimesHaveThreeDecimals(t *testing.T) {
	s := start(t)
	s.setNow(epoch.Truncate(time.Second))
	id, key := s.account()
	s.do(call{method: "PUT", path: "/accounts/new", platform: true}).want(t, http.StatusCreated)
	s.do(call{method: "POST", path: "/accounts/new/api-keys", platform: true}).want(t, http.StatusCreated)
	made := s.do(call{method: "POST", path: webhookPath, apiKey: key, body: `{"callbackUrl":"` + goodURL + `"}`}).want(t, http.StatusCreated)
	s.accept(t, event("evt_1", id))
	answers := []answer{made, s.do(call{method: "POST", path: webhookPath + "/signing-secret", apiKey: key})}
	for _, path := range []string{"/accounts/new", "/accounts/new/api-keys", webhookPath, webhookPath + "/deliveries", webhookPath + "/deliveries/evt_1"} {
		answers = append(answers, s.do(call{method: "GET", path: path, apiKey: key, platform: true}).want(t, http.StatusOK))
	}
	at := regexp.MustCompile(`"(\d{4}-\d{2}-\d{2}T[^"]*)"`)
	for _, a := range answers {
		found := at.FindAllStringSubmatch(a.body, -1)
		if len(found) == 0 {
			t.Errorf("times: got none in %s", a.body)
		}
		for _, f := range found {
			if !wholeMilliseconds.MatchString(f[1]) {
				t.Errorf("got %s, want three decimals and Z: %s", f[1], a.body)
			}
		}
	}
}

// TestColonsInFlowMappingsAreQuoted: YAML 1.1 parsers end a plain scalar there.
func TestColonsInFlowMappingsAreQuoted(t *testing.T) {
	for name, text := range map[string][]byte{"openapi.yaml": spec(t), "openapi.it.yaml": gen.Italian} {
		var doc yaml.Node
		if err := yaml.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		var walk func(n *yaml.Node, flow bool)
		walk = func(n *yaml.Node, flow bool) {
			flow = flow || n.Style&yaml.FlowStyle != 0
			quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
			if n.Kind == yaml.ScalarNode && flow && !quoted && strings.Contains(n.Value, ":") {
				t.Errorf("%s, line %d: got %s, want it in quotes", name, n.Line, n.Value)
			}
			for _, child := range n.Content {
				walk(child, flow)
			}
		}
		walk(&doc, false)
	}
}
