package server_test

import (
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/recapito/recapito/gen"
)

// TestEveryTextIsTranslated compares the two documents place by place: the
// texts for people differ, everything else is the same.
func TestEveryTextIsTranslated(t *testing.T) {
	var english, italian yaml.Node
	if err := yaml.Unmarshal(spec(t), &english); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(gen.Italian, &italian); err != nil {
		t.Fatal(err)
	}
	texts := compareEditions(t, "", &english, &italian)
	if texts < 150 {
		t.Errorf("texts: found %d, want all of the document's", texts)
	}
}

// compareEditions returns the number of texts below the node.
func compareEditions(t *testing.T, path string, en, it *yaml.Node) (texts int) {
	t.Helper()
	if en.Kind != it.Kind || len(en.Content) != len(it.Content) {
		t.Fatalf("%s: the editions differ in structure", path)
	}
	if en.Kind == yaml.ScalarNode && en.Value != it.Value {
		t.Errorf("%s: %q is %q in Italian, but is no text for people", path, en.Value, it.Value)
	}
	for i, child := range en.Content {
		switch {
		case en.Kind != yaml.MappingNode:
			texts += compareEditions(t, fmt.Sprintf("%s/%d", path, i), child, it.Content[i])
		case i%2 == 0: // a name
			texts += compareEditions(t, path, child, it.Content[i])
		case isText(path, en.Content[i-1], child):
			texts++
			if child.Value == it.Content[i].Value {
				t.Errorf("%s/%s: %q is not translated; add it to gen/openapi.it.overlay.yaml", path, en.Content[i-1].Value, child.Value)
			}
		default:
			texts += compareEditions(t, path+"/"+en.Content[i-1].Value, child, it.Content[i])
		}
	}
	return texts
}

// isText reports whether a member is a text for people. Examples show data, and
// data stays as it is.
func isText(path string, name, value *yaml.Node) bool {
	return value.Kind == yaml.ScalarNode && (name.Value == "summary" || name.Value == "description" || name.Value == "x-displayName") && !strings.Contains(path, "/examples/")
}
