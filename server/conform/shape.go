package conform

import (
	"bytes"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/recapito/recapito/gen"
)

// shape is a schema of the document, prepared to check a text in one pass. The
// library builds a tree of maps first and takes eight times as long: a tenth of
// an event's whole cost. If a shape says yes, the text conforms (a fuzz test
// holds it against the library). If it says no, the text may still conform; the
// library then decides and finds the errors.
type shape struct {
	kind     string // the type; "": nothing conforms
	nullable bool

	enum                 map[string]struct{} // nil: any text
	matches              func([]byte) bool   // nil: any
	time                 bool                // the text is a date-time
	minLength, maxLength int

	least, most int64

	items              *shape
	minItems, maxItems int

	members  map[string]member
	required uint64 // bits of members
}

type member struct {
	*shape
	bit uint64
}

// maxMembers is what fits into the bits of required.
const maxMembers = 64

// newShape never fails: to a schema that shapes do not support nothing
// conforms.
func newShape(s *openapi3.Schema) *shape {
	sh := &shape{nullable: s.Nullable, maxLength: math.MaxInt, least: math.MinInt64, most: math.MaxInt64, maxItems: math.MaxInt}
	rest := *s
	rest.Extensions, rest.Origin, rest.Title, rest.Description = nil, nil, "", ""
	rest.Default, rest.Example, rest.Nullable = nil, nil, false
	known := rest.Type != nil && len(*rest.Type) == 1
	if known {
		sh.kind = (*rest.Type)[0]
	}
	rest.Type = nil
	switch sh.kind {
	case openapi3.TypeString:
		known = sh.text(&rest)
	case openapi3.TypeInteger:
		known = sh.integer(&rest)
	case openapi3.TypeArray:
		sh.items, sh.minItems = newShape(rest.Items.Value), int(min(rest.MinItems, math.MaxInt))
		if rest.MaxItems != nil {
			sh.maxItems = int(min(*rest.MaxItems, math.MaxInt))
		}
		rest.Items, rest.MinItems, rest.MaxItems = nil, 0, nil
	case openapi3.TypeObject:
		known = sh.object(&rest)
	case openapi3.TypeBoolean:
	default:
		known = false
	}
	if !known || !reflect.DeepEqual(rest, openapi3.Schema{}) {
		return &shape{}
	}
	return sh
}

// text, integer and object take out of a schema what they know.

func (sh *shape) text(s *openapi3.Schema) (known bool) {
	known = s.Format == "" || s.Format == "date-time"
	sh.time = s.Format == "date-time"
	sh.minLength = int(min(s.MinLength, math.MaxInt))
	if s.MaxLength != nil {
		sh.maxLength = int(min(*s.MaxLength, math.MaxInt))
	}
	if s.Pattern != "" {
		general, err := regexp.Compile(s.Pattern)
		known = known && err == nil
		if p, ok := newPattern(s.Pattern); ok {
			sh.matches = p.matches
		} else if err == nil {
			sh.matches = general.Match
		}
	}
	if s.Enum != nil {
		sh.enum = make(map[string]struct{}, len(s.Enum))
		for _, v := range s.Enum {
			if text, ok := v.(string); ok {
				sh.enum[text] = struct{}{}
			}
		}
	}
	s.Format, s.MinLength, s.MaxLength, s.Pattern, s.Enum = "", 0, nil, "", nil
	return known
}

func (sh *shape) integer(s *openapi3.Schema) (known bool) {
	if s.Format != "int32" {
		return false
	}
	sh.least, sh.most = math.MinInt32, math.MaxInt32
	if s.Min != nil {
		sh.least = max(sh.least, int64(math.Ceil(*s.Min)))
	}
	if s.Max != nil {
		sh.most = min(sh.most, int64(math.Floor(*s.Max)))
	}
	s.Format, s.Min, s.Max = "", nil, nil
	return true
}

func (sh *shape) object(s *openapi3.Schema) (known bool) {
	if s.AdditionalProperties.Has == nil || *s.AdditionalProperties.Has || len(s.Properties) > maxMembers {
		return false
	}
	sh.members = make(map[string]member, len(s.Properties))
	for name, p := range s.Properties {
		sh.members[name] = member{shape: newShape(p.Value), bit: 1 << len(sh.members)}
	}
	for _, name := range s.Required {
		sh.required |= sh.members[name].bit
	}
	s.AdditionalProperties, s.Properties, s.Required = openapi3.AdditionalProperties{}, nil, nil
	return true
}

// describes reports whether a text is exactly one value that conforms. The
// decoding that follows refuses duplicate names.
func (sh *shape) describes(text []byte) bool {
	d := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true))
	return sh.reads(d) && d.PeekKind() == 0 && len(bytes.TrimLeft(d.UnreadBuffer(), " \t\r\n")) == 0
}

// reads reads the next value as far as it conforms.
func (sh *shape) reads(d *jsontext.Decoder) bool {
	switch kind := d.PeekKind(); {
	case kind == 'n' && sh.nullable && sh.kind != "":
	case kind == '{' && sh.kind == openapi3.TypeObject:
		return sh.readsObject(d)
	case kind == '[' && sh.kind == openapi3.TypeArray:
		return sh.readsArray(d)
	case kind == '"' && sh.kind == openapi3.TypeString:
		raw, err := d.ReadValue()
		return err == nil && sh.holdsText(raw)
	case kind == '0' && sh.kind == openapi3.TypeInteger:
		raw, err := d.ReadValue()
		n, failed := strconv.ParseInt(string(raw), 10, 32)
		return err == nil && failed == nil && n >= sh.least && n <= sh.most
	case (kind == 't' || kind == 'f') && sh.kind == openapi3.TypeBoolean:
	default:
		return false
	}
	return d.SkipValue() == nil
}

func (sh *shape) holdsText(raw jsontext.Value) bool {
	text := []byte(raw[1 : len(raw)-1])
	if bytes.IndexByte(text, '\\') >= 0 {
		var err error
		if text, err = jsontext.AppendUnquote(nil, raw); err != nil {
			return false
		}
	}
	if _, ok := sh.enum[string(text)]; sh.enum != nil && !ok {
		return false
	}
	n := len(text)
	if n > sh.maxLength || sh.minLength > 1 {
		n = utf8.RuneCount(text)
	}
	return n >= sh.minLength && n <= sh.maxLength && (sh.matches == nil || sh.matches(text)) && (!sh.time || isTime(text))
}

func isTime(text []byte) bool {
	_, err := gen.ParseTime(text)
	return err == nil
}

func (sh *shape) readsArray(d *jsontext.Decoder) bool {
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	n := 0
	for ; d.PeekKind() != ']'; n++ {
		if n == sh.maxItems || !sh.items.reads(d) {
			return false
		}
	}
	_, err := d.ReadToken()
	return err == nil && n >= sh.minItems
}

func (sh *shape) readsObject(d *jsontext.Decoder) bool {
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	var found uint64
	for d.PeekKind() != '}' {
		name, err := d.ReadValue()
		if err != nil || len(name) < 2 {
			return false
		}
		m, ok := sh.members[string(name[1:len(name)-1])]
		if !ok || !m.reads(d) {
			return false
		}
		found |= m.bit
	}
	_, err := d.ReadToken()
	return err == nil && found&sh.required == sh.required
}
