package server

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// object is a JSON object under way: all but its closing brace.
type object []byte

// name begins a member. Names are ours and need no escaping.
func (o *object) name(name string) {
	before := byte(',')
	if len(*o) == 0 {
		before = '{'
	}
	*o = append(*o, before, '"')
	*o = append(*o, name...)
	*o = append(*o, '"', ':')
}

func (o *object) text(name, v string) {
	o.name(name)
	// It fails only on invalid UTF-8, and the string comes from valid JSON.
	*o, _ = jsontext.AppendQuote(*o, v)
}

func (o *object) optionalText(name string, v *string) {
	if v == nil {
		o.null(name)
		return
	}
	o.text(name, *v)
}

func (o *object) null(name string) {
	o.name(name)
	*o = append(*o, "null"...)
}

func (o *object) number(name string, v int64) {
	o.name(name)
	*o = strconv.AppendInt(*o, v, 10)
}

func (o *object) boolean(name string, v bool) {
	o.name(name)
	*o = strconv.AppendBool(*o, v)
}

// time is RFC 3339 in UTC, with exactly three decimals.
func (o *object) time(name string, t time.Time) {
	o.name(name)
	*o = t.UTC().AppendFormat(*o, `"2006-01-02T15:04:05.000Z"`)
}

// nullable writes v, and null if there is none.
func nullable[T any](o *object, name string, v *T) {
	if v == nil {
		o.null(name)
		return
	}
	optionalObject(o, name, v)
}

// optionalObject writes v, and nothing if there is none.
func optionalObject[T any](o *object, name string, v *T) {
	if v == nil {
		return
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // every string in it comes from valid JSON
	}
	o.name(name)
	*o = append(*o, text...)
}
