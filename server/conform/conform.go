// Package conform holds a JSON text against a schema of the document, and says in words
// for the caller where it does not conform. A text that conforms, as nearly every one
// does, takes one pass and no memory for its values ([Schema.Check]). For any other,
// every wrong place is named. The library openapi3 decides what conforms. Rules that no
// schema can express are left out.
package conform

import (
	"errors"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json"

	"github.com/recapito/recapito/gen"
)

// Formats are the formats of the document; checkURL says what is wrong with a URL.
func Formats(checkURL func(raw string) error) openapi3.SchemaValidationOption {
	return openapi3.WithStringFormatValidators(map[string]openapi3.StringFormatValidator{
		"uri":       openapi3.NewCallbackValidator(checkURL),
		"date-time": openapi3.NewCallbackValidator(func(text string) error { _, err := gen.ParseTime([]byte(text)); return err }),
	})
}

// Schema is a schema of the document, prepared. It is read-only.
type Schema struct {
	schema  *openapi3.Schema
	shape   *shape
	formats openapi3.SchemaValidationOption
}

// New prepares a schema; see [Formats].
func New(schema *openapi3.Schema, formats openapi3.SchemaValidationOption) *Schema {
	return &Schema{schema: schema, shape: newShape(schema), formats: formats}
}

// Mismatch is how a text does not conform.
type Mismatch struct {
	Places []gen.ProblemError
	// Value is what the text holds. Nil: it is not JSON, or longer than allowed, and
	// then not every place is named.
	Value any
}

// Check returns nil if the text conforms.
func (s *Schema) Check(text []byte) *Mismatch {
	if s.shape.describes(text) {
		return nil
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return &Mismatch{Places: Undecodable(err)}
	}
	return s.checkValue(value)
}

// checkValue stops at the first error. It collects all errors only if the
// value is no longer than allowed: 340,000 empty events in 1 MiB have two
// million errors.
func (s *Schema) checkValue(value any) *Mismatch {
	options := []openapi3.SchemaValidationOption{s.formats}
	err := s.schema.VisitJSON(value, options...)
	if err == nil {
		return nil
	}
	if first, ok := errors.AsType[*openapi3.SchemaError](err); ok && first.SchemaField == "maxItems" {
		return &Mismatch{Places: schemaErrors(err)}
	}
	err = s.schema.VisitJSON(value, slices.Concat(options, []openapi3.SchemaValidationOption{openapi3.MultiErrors()})...)
	return &Mismatch{Places: schemaErrors(err), Value: value}
}
