package server

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"

	"github.com/labstack/echo/v4"
)

// docs are the page that renders the document. All of it is in the binary: the
// page loads nothing from another origin. docs/README.md says where the files
// come from.
//
//go:embed docs/page.html docs/page.js docs/page.css docs/scalar.js.gz
var docs embed.FS

// docsPolicy lets the page load only from its own origin. Scalar writes style
// elements; scripts are files.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; " +
	"connect-src 'self'; img-src 'self' data:; font-src 'self' data:; worker-src 'self' blob:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// edition is the document and its page in one language.
type edition struct{ page, yaml, json *asset }

// language is that of the document itself. ?lang= selects a translation.
const language = "en"

func newEdition(lang string, document []byte, basePath string) (*edition, error) {
	asYAML, asJSON, err := publish(document, basePath)
	if err != nil {
		return nil, fmt.Errorf("publish the document (%s): %w", lang, err)
	}
	page, err := template.ParseFS(docs, "docs/page.html")
	if err != nil {
		return nil, err
	}
	var html bytes.Buffer
	if err := page.Execute(&html, lang); err != nil {
		return nil, err
	}
	return &edition{
		page: newAsset("text/html; charset=utf-8", lang, html.Bytes()),
		yaml: newAsset("application/yaml", lang, asYAML),
		json: newAsset("application/json", lang, asJSON),
	}, nil
}

// routeDocs serves the docs below the base path.
func (s *server) routeDocs(e *echo.Echo) error {
	editions := map[string]*edition{}
	var err error
	if editions[language], err = newEdition(language, s.Spec, s.BasePath); err != nil {
		return err
	}
	for lang, document := range s.Translations {
		if editions[lang], err = newEdition(lang, document, s.BasePath); err != nil {
			return err
		}
	}
	serve := func(path string, choose func(*edition) *asset) {
		e.GET(s.BasePath+path, func(c echo.Context) error {
			chosen := editions[c.QueryParam("lang")]
			if chosen == nil {
				chosen = editions[language]
			}
			return serveAsset(c, choose(chosen))
		}, s.name("docs"))
	}
	serve("/docs", func(e *edition) *asset { return e.page })
	for _, path := range []string{"/", "/docs/"} {
		e.GET(s.BasePath+path, s.toDocs, s.name("docs"))
	}
	serve("/openapi.yaml", func(e *edition) *asset { return e.yaml })
	serve("/openapi.json", func(e *edition) *asset { return e.json })
	for _, file := range []struct {
		name, contentType string
		read              func(contentType, language string, b []byte) *asset
		from              string
	}{
		{"scalar.js", "text/javascript; charset=utf-8", zippedAsset, "docs/scalar.js.gz"},
		{"page.js", "text/javascript; charset=utf-8", newAsset, "docs/page.js"},
		{"page.css", "text/css; charset=utf-8", newAsset, "docs/page.css"},
	} {
		content, err := docs.ReadFile(file.from)
		if err != nil {
			return err
		}
		a := file.read(file.contentType, "", content)
		serve("/docs/"+file.name, func(*edition) *asset { return a })
	}
	return nil
}

// toDocs redirects to the page.
func (s *server) toDocs(c echo.Context) error {
	address := s.BasePath + "/docs"
	if query := c.QueryString(); query != "" {
		address += "?" + query
	}
	return c.Redirect(http.StatusFound, address)
}

func serveAsset(c echo.Context, a *asset) error {
	h := c.Response().Header()
	h.Set("Content-Security-Policy", docsPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if out, ok := c.Response().Writer.(*response); ok {
		out.verbatim = true
	}
	a.serve(c.Response(), c.Request())
	return nil
}
