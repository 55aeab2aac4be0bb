package server

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server/conform"
)

// query is the query parameters of an operation, in the document's order.
type query []*openapi3.Parameter

// newQuery selects the parameters in the query.
func newQuery(params openapi3.Parameters) query {
	var q query
	for _, p := range params {
		if p.Value.In == openapi3.ParameterInQuery {
			q = append(q, p.Value)
		}
	}
	return q
}

// read returns the query's values. It refuses unknown names, and repeated ones but
// for those of lists: an ignored filter is worse than an error. It writes times as the document has
// them, for the code that reads the request later.
func (q query) read(o *operation, r *http.Request) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	refuse := func(detail string) (url.Values, error) {
		return nil, o.refuse(http.StatusBadRequest, gen.ProblemCodePARAMETERINVALID, detail)
	}
	values, err := url.ParseQuery(r.URL.RawQuery) // Query() would drop what is malformed
	if err != nil {
		return refuse("The query string is not validly escaped.")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		p := q.named(name)
		switch {
		case p == nil:
			return refuse(fmt.Sprintf("Query parameter %q: is not known; this operation takes %s.", conform.Clip(name), q))
		case len(values[name]) > 1 && !p.Schema.Value.Type.Is(openapi3.TypeArray):
			return refuse(fmt.Sprintf("Query parameter %q: is given %d times; give it once.", name, len(values[name])))
		case p.Schema.Value.Format == "date-time":
			values[name][0] = withOffset(values[name][0])
		}
	}
	u := *r.URL
	u.RawQuery = values.Encode()
	r.URL = &u
	return values, nil
}

func (q query) named(name string) *openapi3.Parameter {
	for _, p := range q {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// String lists the names.
func (q query) String() string {
	if len(q) == 0 {
		return "none"
	}
	names := make([]string, 0, len(q))
	for _, p := range q {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// withOffset writes a time's offset as in RFC 3339: with a colon, and with the
// + that a query turns into a space.
func withOffset(text string) string {
	const digits = len("0100")
	at := len(text) - digits - 1
	if at > 0 && text[len(text)-3] == ':' {
		at--
	}
	if at < len("2006-01-02T15:04") {
		return text
	}
	sign, offset := text[at], strings.Replace(text[at+1:], ":", "", 1)
	if sign == ' ' {
		sign = '+'
	}
	if sign != '+' && sign != '-' || len(offset) != digits || strings.Trim(offset, "0123456789") != "" {
		return text
	}
	return text[:at] + string(sign) + offset[:2] + ":" + offset[2:]
}
