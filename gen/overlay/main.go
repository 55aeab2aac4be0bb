// Command overlay applies an OpenAPI Overlay (https://spec.openapis.org/overlay/v1.0.0)
// to a document and writes the result as YAML. An action whose target does not
// exist is an error: the document has changed since.
//
//	overlay OVERLAY DOCUMENT RESULT
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/speakeasy-api/openapi/overlay"
	"gopkg.in/yaml.v3"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "overlay:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("want three arguments: the overlay, the document, the result")
	}
	over, err := overlay.Parse(args[0])
	if err != nil {
		return err
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("%s: %w", args[1], err)
	}
	warnings, err := over.ApplyToStrict(&doc)
	if err != nil {
		return err
	}
	if len(warnings) > 0 {
		return fmt.Errorf("%s: %q", args[0], warnings)
	}
	out := bytes.NewBufferString("# Generated from openapi.yaml by its overlay; do not edit.\n")
	e := yaml.NewEncoder(out)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(&doc), e.Close()); err != nil {
		return err
	}
	return os.WriteFile(args[2], out.Bytes(), 0o600)
}
