package docs

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v4"
)

// publish returns a document as readers get it: in YAML, and in JSON in the
// same order. Its server is the base path, so that "try it" finds the
// operations.
func publish(text []byte, basePath string) (asYAML, asJSON []byte, err error) {
	if basePath != "" {
		if text, err = moveServer(text, basePath); err != nil {
			return nil, nil, err
		}
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	e := jsontext.NewEncoder(&out, jsontext.WithIndent("  "))
	if err := encodeNode(e, &root); err != nil {
		return nil, nil, err
	}
	return text, out.Bytes(), nil
}

// moveServer replaces the document's one server by the base path and leaves the
// rest of the text as it is.
func moveServer(text []byte, basePath string) ([]byte, error) {
	var doc struct{ Servers []struct{ URL yaml.Node } }
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if len(doc.Servers) != 1 || doc.Servers[0].URL.Value != "/" {
		return nil, errors.New(`the document's servers are not "/" alone`)
	}
	at := doc.Servers[0].URL
	lines := bytes.SplitAfter(text, []byte("\n"))
	line := lines[at.Line-1]
	lines[at.Line-1] = slices.Concat(line[:at.Column-1], []byte(basePath), line[at.Column:])
	return bytes.Join(lines, nil), nil
}

// encodeNode writes a YAML node as JSON.
func encodeNode(e *jsontext.Encoder, n *yaml.Node) error {
	switch n.Kind {
	case yaml.DocumentNode:
		return encodeNode(e, n.Content[0])
	case yaml.MappingNode:
		return encodeMapping(e, n)
	case yaml.SequenceNode:
		if err := e.WriteToken(jsontext.BeginArray); err != nil {
			return err
		}
		for _, item := range n.Content {
			if err := encodeNode(e, item); err != nil {
				return err
			}
		}
		return e.WriteToken(jsontext.EndArray)
	case yaml.ScalarNode:
		return encodeScalar(e, n)
	}
	return fmt.Errorf("line %d: only mappings, sequences and scalars can be written as JSON", n.Line)
}

func encodeMapping(e *jsontext.Encoder, n *yaml.Node) error {
	if err := e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for i := 0; i < len(n.Content); i += 2 {
		if err := e.WriteToken(jsontext.String(n.Content[i].Value)); err != nil {
			return err
		}
		if err := encodeNode(e, n.Content[i+1]); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndObject)
}

func encodeScalar(e *jsontext.Encoder, n *yaml.Node) error {
	switch n.ShortTag() {
	case "!!null":
		return e.WriteToken(jsontext.Null)
	case "!!bool", "!!int", "!!float":
		return e.WriteValue(jsontext.Value(n.Value)) // refuses what JSON writes in another way
	}
	return e.WriteToken(jsontext.String(n.Value))
}
