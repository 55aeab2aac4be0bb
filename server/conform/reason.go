package conform

import (
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/recapito/recapito/gen"
)

// Parameter says in one sentence which parameter is wrong and how.
func Parameter(err error) string {
	var bad *openapi3filter.RequestError
	if !errors.As(err, &bad) || bad.Parameter == nil {
		return "A parameter is not valid."
	}
	reason := "is not valid"
	var schema *openapi3.SchemaError
	var parse *openapi3filter.ParseError
	switch {
	case errors.As(bad.Err, &schema):
		reason = schemaReason(schema)
	case errors.As(bad.Err, &parse):
		reason = "cannot be read as " + strings.Join(bad.Parameter.Schema.Value.Type.Slice(), " or ")
	case bad.Reason != "":
		reason = bad.Reason
	}
	in := strings.ToUpper(bad.Parameter.In[:1]) + bad.Parameter.In[1:]
	return fmt.Sprintf("%s parameter %q: %s.", in, bad.Parameter.Name, reason)
}

// Undecodable says where a text is not JSON, or not the strict JSON that is
// accepted.
func Undecodable(err error) []gen.ProblemError {
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		return []gen.ProblemError{{Pointer: Clip(string(semantic.JSONPointer)), Detail: "cannot be decoded"}}
	}
	e := gen.ProblemError{Detail: "is not valid JSON"}
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		e.Pointer = Clip(string(syntactic.JSONPointer))
		e.Detail = fmt.Sprintf("is not valid JSON at byte %d", syntactic.ByteOffset)
		if errors.Is(err, jsontext.ErrDuplicateName) {
			e.Detail = "stands twice"
		}
	}
	return []gen.ProblemError{e}
}

// schemaErrors says where a value does not conform to the schema: one entry for
// each place.
func schemaErrors(err error) []gen.ProblemError {
	var out []gen.ProblemError
	at := make(map[string]int)
	for e := range leaves(err) {
		pointer := pointerTo(e.JSONPointer())
		i, again := at[pointer]
		switch {
		case again && e.Origin != nil: // a format's own words say more than a pattern
			out[i].Detail = schemaReason(e)
		case again:
		default:
			at[pointer] = len(out)
			out = append(out, gen.ProblemError{Pointer: pointer, Detail: schemaReason(e)})
		}
	}
	return out
}

// leaves are the single errors that err is made of.
func leaves(err error) iter.Seq[*openapi3.SchemaError] {
	return func(yield func(*openapi3.SchemaError) bool) {
		many, ok := errors.AsType[openapi3.MultiError](err)
		if !ok {
			many = openapi3.MultiError{err}
		}
		for _, e := range many { // the library nests them no deeper
			if one, ok := errors.AsType[*openapi3.SchemaError](e); ok && !yield(one) {
				return
			}
		}
	}
}

// schemaReason never shows the value, and never [openapi3.SchemaError.Error],
// which dumps the schema.
func schemaReason(e *openapi3.SchemaError) string {
	if own := errors.Unwrap(e.Origin); e.SchemaField == "format" && own != nil {
		return Clip(own.Error())
	}
	if words := patternWords[e.Schema.Pattern]; e.SchemaField == "pattern" && words != "" {
		return words
	}
	return Clip(e.Reason)
}

// patternWords say what the patterns of the document mean.
var patternWords = map[string]string{
	`^\.*[A-Za-z0-9_~:@-][A-Za-z0-9._~:@-]*$`: "must be of the characters A-Z a-z 0-9 . _ ~ : @ - and not of dots alone",
	`^[A-Za-z0-9._~:@-]*$`:                    "must be of the characters A-Z a-z 0-9 . _ ~ : @ -",
	`^[A-Za-z0-9_-]{1,64}$`:                   "must be 1 to 64 of the characters A-Z a-z 0-9 _ -",
	`^key_[a-z0-9]{1,60}$`:                    "must be key_ and 1 to 60 of the characters a-z 0-9",
	`^[^\x00-\x1F\x7F]*$`:                     "must not contain control characters",
	`^[^\x00]*$`:                              "must not contain the character U+0000",
	`^\+[1-9][0-9]{1,14}$`:                    "must be an E.164 number, such as +393401234567",
	`^-?[0-9]{1,9}(\.[0-9]{1,9})?$`:           `must be a decimal number, such as "0.0450"`,
	`^[A-Z]{3}$`:                              "must be an ISO 4217 code, such as EUR",
	`^[0-9]{5,6}$`:                            "must be 5 or 6 digits, such as 22201",
	`^[A-Z][A-Z0-9_]*$`:                       "must be of capital letters, digits and _, beginning with a letter",
	`^[0-9A-Fa-f]{64}$`:                       "must be 64 hexadecimal digits",
	`^[A-Za-z0-9_-]+$`:                        "must be the nextCursor of a page before",
	`^[hH][tT][tT][pP][sS]://`:                "must be an https URL",
}

// Clip bounds a text that may hold a name chosen by the caller.
func Clip(text string) string {
	const most = 256
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// pointerTo is the JSON Pointer of RFC 6901.
func pointerTo(tokens []string) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteByte('/')
		b.WriteString(pointerEscapes.Replace(t))
	}
	return b.String()
}
