package server_test

import (
	"strings"
	"testing"

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
