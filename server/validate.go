package server

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"
)

// validator checks requests against the document, once they are authenticated.
type validator struct {
	params *openapi3filter.Options
	body   []openapi3.SchemaValidationOption
}

func (s *server) newValidator() *validator {
	formats := openapi3.WithStringFormatValidators(map[string]openapi3.StringFormatValidator{
		"uri":       openapi3.NewCallbackValidator(s.CheckURL),
		"date-time": openapi3.NewCallbackValidator(checkTime),
	})
	return &validator{
		params: &openapi3filter.Options{
			ExcludeRequestBody: true, SkipSettingDefaults: true,
			SchemaValidationOptions: []openapi3.SchemaValidationOption{formats},
		},
		body: []openapi3.SchemaValidationOption{formats, openapi3.MultiErrors()},
	}
}

// Times are within these years, in UTC: a store may count nanoseconds in 64
// bits.
const (
	firstYear = 1970
	lastYear  = 2261
)

var errNoTime = fmt.Errorf("must be an RFC 3339 date-time from %d to %d", firstYear, lastYear)

// checkTime is as strict as the decoding that follows; the library's regular
// expression lets 31 February pass.
func checkTime(text string) error {
	var t time.Time
	if t.UnmarshalText([]byte(text)) != nil || t.UTC().Year() < firstYear || t.UTC().Year() > lastYear {
		return errNoTime
	}
	return nil
}

func (v *validator) validate(o *operation) echo.MiddlewareFunc {
	return before(func(c echo.Context) error {
		if err := v.validateParams(o, c); err != nil {
			return err
		}
		if o.body == nil {
			return nil
		}
		return v.validateBody(o, c.Request())
	})
}

func (v *validator) validateParams(o *operation, c echo.Context) error {
	if !o.params {
		return nil
	}
	r := c.Request()
	in := &openapi3filter.RequestValidationInput{Request: r, Route: o.route, Options: v.params}
	var err error
	if in.PathParams, err = pathParams(c); err != nil {
		return o.refuse(http.StatusBadRequest, "The path is not validly escaped.")
	}
	if o.query {
		// Query() would drop what is malformed.
		if in.QueryParams, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			return o.refuse(http.StatusBadRequest, "The query string is not validly escaped.")
		}
	}
	if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
		return o.refuse(http.StatusBadRequest, parameterDetail(err))
	}
	return nil
}

// pathParams unescapes where the generated code does: echo leaves a value
// escaped if the path was escaped in an unusual way.
func pathParams(c echo.Context) (map[string]string, error) {
	names := c.ParamNames()
	params := make(map[string]string, len(names))
	for _, name := range names {
		value := c.Param(name)
		if c.Request().URL.RawPath != "" {
			var err error
			if value, err = url.PathUnescape(value); err != nil {
				return nil, err
			}
		}
		params[name] = value
	}
	return params, nil
}

// validateBody reads the body, validates it and leaves it on the request for
// the [binder].
func (v *validator) validateBody(o *operation, r *http.Request) error {
	text, err := readBody(o, r)
	if err != nil {
		return err
	}
	r.Body = validBody{io.NopCloser(bytes.NewReader(text)), text}
	if len(text) == 0 {
		if o.bodyRequired {
			return o.refuse(http.StatusBadRequest, "A request body is required.")
		}
		return nil
	}
	if err := checkHeaders(o, r.Header); err != nil {
		return err
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return invalid(decodingErrors(err))
	}
	if err := o.body.VisitJSON(value, v.body...); err != nil {
		return invalid(schemaErrors(err))
	}
	return nil
}

func readBody(o *operation, r *http.Request) ([]byte, error) {
	tooLarge := o.refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("The request body is larger than %d bytes.", o.bodyLimit))
	if r.ContentLength > o.bodyLimit {
		return nil, tooLarge
	}
	var text bytes.Buffer
	text.Grow(int(max(r.ContentLength, 0)) + bytes.MinRead)
	n, err := text.ReadFrom(io.LimitReader(r.Body, o.bodyLimit+1))
	switch {
	case err != nil:
		return nil, o.refuse(http.StatusBadRequest, "The request body could not be read.")
	case n > o.bodyLimit:
		return nil, tooLarge
	}
	return text.Bytes(), nil
}

// checkHeaders accepts application/json in UTF-8, not encoded.
func checkHeaders(o *operation, h http.Header) error {
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset, given := params["charset"]
	if err != nil || media != "application/json" || given && !strings.EqualFold(charset, "utf-8") {
		return o.refuse(http.StatusUnsupportedMediaType, "Content-Type must be application/json.")
	}
	if h.Get("Content-Encoding") != "" {
		return o.refuse(http.StatusUnsupportedMediaType, "Content-Encoding is not supported.")
	}
	return nil
}

// validBody is a body that has been read and validated.
type validBody struct {
	io.ReadCloser
	text []byte
}

// binder decodes what was validated, and nothing else. Both decodings take
// names exactly and refuse duplicates, so that they cannot see two different
// documents (oapi-codegen #2605).
type binder struct{}

func (binder) Bind(into any, c echo.Context) error {
	body, ok := c.Request().Body.(validBody)
	if !ok {
		return fmt.Errorf("bind %T: the body was not validated", into)
	}
	if len(body.text) == 0 {
		return io.EOF // what the generated code takes for no body
	}
	if err := json.Unmarshal(body.text, into, json.RejectUnknownMembers(true)); err != nil {
		return invalid(decodingErrors(err))
	}
	return nil
}
