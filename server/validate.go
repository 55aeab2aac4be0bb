package server

import (
	"net/http"
	"net/url"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/labstack/echo/v4"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server/conform"
)

// validate checks requests against the document, once they are authenticated.
func validate(o *operation, formats openapi3.SchemaValidationOption) echo.MiddlewareFunc {
	options := &openapi3filter.Options{
		ExcludeRequestBody: true, SkipSettingDefaults: true,
		SchemaValidationOptions: []openapi3.SchemaValidationOption{formats},
	}
	return before(func(c echo.Context) error {
		if err := validateParams(o, options, c); err != nil {
			return err
		}
		if o.body == nil {
			return nil
		}
		return validateBody(o, c.Request())
	})
}

func validateParams(o *operation, options *openapi3filter.Options, c echo.Context) error {
	if !o.documents(http.StatusBadRequest) {
		return nil // it takes no parameters, and has no answer to one
	}
	r := c.Request()
	in := &openapi3filter.RequestValidationInput{Request: r, Route: o.route, Options: options}
	var err error
	if in.QueryParams, err = o.query.read(o, r); err != nil || !o.params {
		return err
	}
	if in.PathParams, err = pathParams(c); err != nil {
		return o.refuse(http.StatusBadRequest, gen.ProblemCodePARAMETERINVALID, "The path is not validly escaped.")
	}
	if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
		return o.refuse(http.StatusBadRequest, gen.ProblemCodePARAMETERINVALID, conform.Parameter(err))
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
