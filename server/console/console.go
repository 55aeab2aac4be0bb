// Package console serves the page at /console: the account's side, and with the platform
// key the platform's. All of it is in the binary. The page asks nothing but the public
// API, of its own origin; the key that it does so with is the user's. Requests are GET;
// methods, paths and what every answer has in its header are the server's.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/recapito/recapito/server/asset"
)

// files are the page and the modules that it loads, which the browser runs as they are.
// README.md says where vendor comes from.
//
//go:embed page.html app
var files embed.FS

// policy lets the page load and ask only its own origin, and makes no script or HTML
// from a text: what an account, a platform or a receiver has chosen stays text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors %s; require-trusted-types-for 'script'; trusted-types 'none'"

// Handlers are what is served, by its path below basePath. The origins are those whose
// pages may show the console in a frame.
func Handlers(basePath string, ancestors []string) (map[string]http.Handler, error) {
	rules := fmt.Sprintf(policy, "'none'")
	if len(ancestors) > 0 {
		rules = fmt.Sprintf(policy, strings.Join(ancestors, " "))
	}
	digest, err := digest()
	if err != nil {
		return nil, err
	}
	all := map[string]http.Handler{"/console/": asset.Redirect(basePath + "/console")}
	err = fs.WalkDir(files, "app", func(name string, entry fs.DirEntry, err error) error {
		contentType, served := contentTypes[path.Ext(name)]
		if err != nil || entry.IsDir() || !served || strings.HasSuffix(name, ".d.ts") {
			return err
		}
		text, err := files.ReadFile(name)
		kind := asset.Kind{ContentType: contentType, Policy: rules, Immutable: true}
		all["/console/"+digest+strings.TrimPrefix(name, "app")] = asset.New(kind, text)
		return err
	})
	if err != nil {
		return nil, err
	}
	page, err := page(digest)
	all["/console"] = asset.New(asset.Kind{ContentType: "text/html; charset=utf-8", Language: "en, it", Policy: rules}, page)
	return all, err
}

var contentTypes = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}

// digest is that of all modules: their addresses change with it, and a page never runs
// some of before with some of now.
func digest() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(files, "app", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		_, _ = fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:6]), err
}

func page(digest string) ([]byte, error) {
	t, err := template.ParseFS(files, "page.html")
	if err != nil {
		return nil, err
	}
	var html bytes.Buffer
	err = t.Execute(&html, digest)
	return html.Bytes(), err
}
