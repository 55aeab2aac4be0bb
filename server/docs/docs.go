// Package docs serves the document: as it is, in JSON, and as a page, in each language.
// All of it is in the binary: the page loads nothing from another origin. Requests are
// GET; methods, paths and what every answer has in its header are the server's.
package docs

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"

	"github.com/recapito/recapito/server/asset"
)

// files are the page that renders the document. README.md says where they come
// from.
//
//go:embed page.html page.js page.css
var files embed.FS

// scalar is used where it lies in the binary: a copy would be 1.3 MiB of an idle service.
//
//go:embed scalar.js.gz
var scalar []byte

// policy lets the page load only from its own origin. Scalar writes style
// elements; scripts are files.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; " +
	"connect-src 'self'; img-src 'self' data:; font-src 'self' data:; worker-src 'self' blob:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// edition is the document and its page in one language.
type edition struct{ page, yaml, json *asset.File }

// language is that of the document itself. ?lang= selects a translation.
const language = "en"

func newEdition(lang string, document []byte, basePath string) (*edition, error) {
	asYAML, asJSON, err := publish(document, basePath)
	if err != nil {
		return nil, fmt.Errorf("publish the document (%s): %w", lang, err)
	}
	page, err := template.ParseFS(files, "page.html")
	if err != nil {
		return nil, err
	}
	var html bytes.Buffer
	if err := page.Execute(&html, lang); err != nil {
		return nil, err
	}
	return &edition{
		page: asset.New(kind("text/html; charset=utf-8", lang), html.Bytes()),
		yaml: asset.New(kind("application/yaml", lang), asYAML),
		json: asset.New(kind("application/json", lang), asJSON),
	}, nil
}

func kind(contentType, language string) asset.Kind {
	return asset.Kind{ContentType: contentType, Language: language, Policy: policy}
}

// Handlers are what is served, by its path below basePath. The translations are those
// of the document, by the tag that asks for them with ?lang=.
func Handlers(document []byte, translations map[string][]byte, basePath string) (map[string]http.Handler, error) {
	editions := map[string]*edition{}
	var err error
	if editions[language], err = newEdition(language, document, basePath); err != nil {
		return nil, err
	}
	for lang, document := range translations {
		if editions[lang], err = newEdition(lang, document, basePath); err != nil {
			return nil, err
		}
	}
	page := asset.Redirect(basePath + "/docs")
	all := map[string]http.Handler{"/": page, "/docs/": page}
	for path, choose := range map[string]func(*edition) *asset.File{
		"/docs":         func(e *edition) *asset.File { return e.page },
		"/openapi.yaml": func(e *edition) *asset.File { return e.yaml },
		"/openapi.json": func(e *edition) *asset.File { return e.json },
	} {
		all[path] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			chosen := editions[r.URL.Query().Get("lang")]
			if chosen == nil {
				chosen = editions[language]
			}
			choose(chosen).ServeHTTP(w, r)
		})
	}
	return all, addParts(all)
}

// addParts adds what the page loads.
func addParts(all map[string]http.Handler) error {
	const script = "text/javascript; charset=utf-8"
	all["/docs/scalar.js"] = asset.Zipped(kind(script, ""), scalar)
	for name, contentType := range map[string]string{"page.js": script, "page.css": "text/css; charset=utf-8"} {
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		all["/docs/"+name] = asset.New(kind(contentType, ""), text)
	}
	return nil
}
