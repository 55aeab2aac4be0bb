package server

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/recapito/recapito/server/docs"
)

// routeDocs serves the docs below the base path.
func (s *server) routeDocs(e *echo.Echo) error {
	all, err := docs.Handlers(s.Spec, s.Translations, s.BasePath)
	if err != nil {
		return err
	}
	s.routeFiles(e, all, "docs")
	return nil
}

// routeFiles serves what is in the binary below the base path.
func (s *server) routeFiles(e *echo.Echo, all map[string]http.Handler, name string) {
	for path, h := range all {
		e.GET(s.BasePath+path, func(c echo.Context) error {
			if out, ok := c.Response().Writer.(*response); ok {
				out.verbatim = true
			}
			h.ServeHTTP(c.Response(), c.Request())
			return nil
		}, s.name(name))
	}
}
