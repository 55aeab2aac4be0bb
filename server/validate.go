package server

import (
	"net/http"
	"net/url"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/labstack/echo/v4"

	"github.com/recapito/recapito/gen"
)

// validator checks requests against the document, once they are authenticated.
type validator struct {
	params *openapi3filter.Options
	body   []openapi3.SchemaValidationOption
}

func (s *server) newValidator() *validator {
	formats := openapi3.WithStringFormatValidators(map[string]openapi3.StringFormatValidator{
		"uri":       openapi3.NewCallbackValidator(s.CheckURL),
		"date-time": openapi3.NewCallbackValidator(func(text string) error { _, err := gen.ParseTime([]byte(text)); return err }),
	})
	return &validator{
		params: &openapi3filter.Options{
			ExcludeRequestBody: true, SkipSettingDefaults: true,
			SchemaValidationOptions: []openapi3.SchemaValidationOption{formats},
		},
		body: []openapi3.SchemaValidationOption{formats},
	}
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
	if !o.documents(http.StatusBadRequest) {
		return nil // it takes no parameters, and has no answer to one
	}
	r := c.Request()
	in := &openapi3filter.RequestValidationInput{Request: r, Route: o.route, Options: v.params}
	var err error
	if in.QueryParams, err = o.query.read(o, r); err != nil || !o.params {
		return err
	}
	if in.PathParams, err = pathParams(c); err != nil {
		return o.refuse(http.StatusBadRequest, gen.ProblemCodePARAMETERINVALID, "The path is not validly escaped.")
	}
	if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
		return o.refuse(http.StatusBadRequest, gen.ProblemCodePARAMETERINVALID, parameterDetail(err))
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
