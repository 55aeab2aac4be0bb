package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/labstack/echo/v4"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server/conform"
)

// operation is one operation of the document with what is checked before its
// handler runs. It is read-only after New.
type operation struct {
	id     string
	route  *routers.Route
	params bool            // it has parameters
	query  query           // those that stand in the query
	body   *conform.Schema // nil: it takes none
	// bodyRequired says that an empty body is refused.
	bodyRequired bool
	bodyLimit    int64
	// examine looks through a body that the schema refuses for what else is wrong.
	// Nil means that nothing can be.
	examine func(body any, found []gen.ProblemError) []gen.ProblemError
}

// Limits of bodies, in bytes.
const (
	eventsLimit = 1 << 20
	bodyLimit   = 64 << 10
)

// document reads openapi.yaml.
func document(spec []byte) (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(spec)
	if err != nil {
		return nil, fmt.Errorf("load the document: %w", err)
	}
	if doc.IsOpenAPI31OrLater() {
		return nil, fmt.Errorf("the document is of OpenAPI %s: every validation would compile its schema anew", doc.OpenAPI)
	}
	if err := doc.Validate(openapi3.NewLoader().Context); err != nil {
		return nil, fmt.Errorf("validate the document: %w", err)
	}
	return doc, nil
}

// operationChecks returns what runs before each handler (authentication, a
// rate limit, validation) by operationId, and the routes that the document describes.
func (s *server) operationChecks(doc *openapi3.T) (checks map[string][]echo.MiddlewareFunc, routes []string, err error) {
	formats := conform.Formats(s.CheckURL)
	checks = make(map[string][]echo.MiddlewareFunc)
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			authenticate, err := s.authentication(op)
			if err != nil {
				return nil, nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			o, err := newOperation(doc, path, method, item, op, formats)
			if err != nil {
				return nil, nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			routes = append(routes, method+" "+s.BasePath+routeParams.Replace(path))
			checks[o.id] = slices.Concat(
				[]echo.MiddlewareFunc{s.name(o.id), o.confine}, s.follow(o), []echo.MiddlewareFunc{authenticate}, s.limit(o), []echo.MiddlewareFunc{validate(o, formats)}, negotiate(o), s.audit(o))
		}
	}
	return checks, routes, nil
}

// routeParams writes a path template as echo does.
var routeParams = strings.NewReplacer("{", ":", "}", "")

func newOperation(doc *openapi3.T, path, method string, item *openapi3.PathItem, op *openapi3.Operation, formats openapi3.SchemaValidationOption) (*operation, error) {
	own := *op
	own.Security = openapi3.NewSecurityRequirements() // authentication runs before validation
	o := &operation{
		id:        op.OperationID,
		route:     &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: &own},
		bodyLimit: bodyLimit,
	}
	if o.id == "sendEvents" {
		o.bodyLimit, o.examine = eventsLimit, examineEvents
	}
	params := slices.Concat(item.Parameters, op.Parameters)
	o.params = len(params) > 0
	o.query = newQuery(params)
	if op.RequestBody != nil {
		media := op.RequestBody.Value.Content["application/json"]
		if media == nil || media.Schema == nil {
			return nil, errors.New("its body is not described as application/json")
		}
		o.body, o.bodyRequired = conform.New(media.Schema.Value, formats), op.RequestBody.Value.Required
	}
	if (o.params || o.body != nil) && !o.documents(http.StatusBadRequest) {
		return nil, errors.New("it takes input, but does not document 400")
	}
	return o, nil
}

// documents reports whether the operation documents the status.
func (o *operation) documents(status int) bool {
	return o.route.Operation.Responses.Status(status) != nil
}

// refuse answers with the status if the operation documents it, else with 400.
func (o *operation) refuse(status int, code gen.ProblemCode, detail string) error {
	if !o.documents(status) {
		status = http.StatusBadRequest
	}
	return &refusal{status: status, code: code, detail: detail}
}

// confine makes a 500 of a 503 that the operation does not document: the four operations on
// the webhook know no other failure.
func (o *operation) confine(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := next(c)
		if err != nil && refusalFor(err).status == http.StatusServiceUnavailable && !o.documents(http.StatusServiceUnavailable) {
			ref := internalError()
			ref.cause = err
			return ref
		}
		return err
	}
}

// name tells the edge which operation the request reached.
func (s *server) name(id string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if r, ok := c.Response().Writer.(*response); ok {
				r.operation = id
			}
			return next(c)
		}
	}
}
