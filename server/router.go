package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// wholeSegments refuses a path that is longer than its template: echo lets the
// last parameter take the rest of the path, slashes included.
func wholeSegments(c echo.Context) error {
	if template := c.Path(); template != "" && strings.Count(template, "/") != strings.Count(echo.GetPath(c.Request()), "/") {
		return echo.ErrNotFound
	}
	return nil
}

// checkedRouter registers routes and remembers those without checks. The
// generated code looks checks up by operationId, and a failed lookup silently
// leaves an operation open (oapi-codegen #1274).
type checkedRouter struct {
	echo   *echo.Echo
	routes []string
	bare   []string
}

func (r *checkedRouter) add(method, path string, h echo.HandlerFunc, m []echo.MiddlewareFunc) *echo.Route {
	r.routes = append(r.routes, method+" "+path)
	if len(m) == 0 {
		r.bare = append(r.bare, method+" "+path)
	}
	return r.echo.Add(method, path, h, m...)
}

// complete fails unless every route has its checks and the routes are those of
// the document.
func (r *checkedRouter) complete(documented []string) error {
	if len(r.bare) > 0 {
		return fmt.Errorf("routes without authentication and validation: %v", r.bare)
	}
	slices.Sort(r.routes)
	slices.Sort(documented)
	if !slices.Equal(r.routes, documented) {
		return fmt.Errorf("routes %v are not those of the document: %v", r.routes, documented)
	}
	return nil
}

func (r *checkedRouter) CONNECT(p string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodConnect, p, h, m)
}
func (r *checkedRouter) DELETE(p string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodDelete, p, h, m)
}
func (r *checkedRouter) GET(p string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodGet, p, h, m)
}
func (r *checkedRouter) HEAD(p string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodHead, p, h, m)
}
func (r *checkedRouter) OPTIONS(p string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodOptions, p, h, m)
}
func (r *checkedRouter) PATCH(p string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodPatch, p, h, m)
}
func (r *checkedRouter) POST(p string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodPost, p, h, m)
}
func (r *checkedRouter) PUT(p string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodPut, p, h, m)
}
func (r *checkedRouter) TRACE(p string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodTrace, p, h, m)
}
