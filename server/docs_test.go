package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
)

var assets = map[string]string{
	"/docs":           "text/html; charset=utf-8",
	"/docs/scalar.js": "text/javascript; charset=utf-8",
	"/docs/page.js":   "text/javascript; charset=utf-8",
	"/docs/page.css":  "text/css; charset=utf-8",
	"/openapi.yaml":   "application/yaml",
	"/openapi.json":   "application/json",
}

// startDocs is start with a client that the document does not judge, as the
// document does not describe itself; and that does not unpack.
func startDocs(t *testing.T, adjust ...func(*server.Config)) *service {
	t.Helper()
	s := start(t, append(adjust, func(c *server.Config) { c.Translations = map[string][]byte{"it": gen.Italian} })...)
	s.client = &http.Client{Transport: &http.Transport{DisableCompression: true}}
	return s
}

func TestAssets(t *testing.T) {
	s := startDocs(t)
	for path, contentType := range assets {
		t.Run(path, func(t *testing.T) {
			plain := s.do(call{method: "GET", path: path}).want(t, http.StatusOK)
			for name, want := range map[string]string{
				"Content-Type": contentType, "Cache-Control": "no-cache", "Vary": "Accept-Encoding",
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Encoding": "",
				"Cross-Origin-Opener-Policy": "same-origin",
			} {
				if got := plain.header.Get(name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
			if diff := cmp.Diff(ownOriginAlone, directives(plain.header.Get("Content-Security-Policy"))); diff != "" {
				t.Errorf("Content-Security-Policy (-want +got):\n%s", diff)
			}
			if plain.header.Get("X-Request-Id") == "" {
				t.Error("X-Request-Id: got none, want one")
			}
			zipped := s.do(call{method: "GET", path: path, header: map[string]string{"Accept-Encoding": "br, gzip"}}).want(t, http.StatusOK)
			if got := zipped.header.Get("Content-Encoding"); got != "gzip" {
				t.Errorf("Content-Encoding: got %q, want gzip", got)
			}
			if zipped.header.Get("Etag") == plain.header.Get("Etag") {
				t.Errorf("ETag: got %s for both encodings, want different ones", plain.header.Get("Etag"))
			}
			s.revalidate(t, path, plain, "")
			s.revalidate(t, path, zipped, "gzip")
			s.do(call{method: "POST", path: path}).want(t, http.StatusMethodNotAllowed)
		})
	}
}

// ownOriginAlone is the policy of everything that a browser may show: scripts
// are files of the service, nothing is asked of another origin, no other page
// frames it. What goes without a request (styles, pictures and fonts in the
// page itself, workers that its scripts make) is let through where it is needed.
var ownOriginAlone = map[string]string{
	"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
	"script-src": "'self'", "connect-src": "'self'", "style-src": "'self' 'unsafe-inline'",
	"img-src": "'self' data:", "font-src": "'self' data:", "worker-src": "'self' blob:",
}

func directives(policy string) map[string]string {
	all := map[string]string{}
	for directive := range strings.SplitSeq(policy, "; ") {
		name, sources, _ := strings.Cut(directive, " ")
		all[name] = sources
	}
	return all
}

// revalidate asks again for what is known, and for its head.
func (s *service) revalidate(t *testing.T, path string, known answer, encoding string) {
	t.Helper()
	header := map[string]string{"Accept-Encoding": encoding, "If-None-Match": known.header.Get("Etag")}
	if got := s.do(call{method: "GET", path: path, header: header}).want(t, http.StatusNotModified); got.body != "" {
		t.Errorf("304: got a body of %d bytes, want none", len(got.body))
	}
	delete(header, "If-None-Match")
	got := s.do(call{method: "HEAD", path: path, header: header}).want(t, http.StatusOK)
	for _, name := range []string{"Content-Type", "Content-Length", "Content-Encoding", "Etag"} {
		if got.header.Get(name) != known.header.Get(name) {
			t.Errorf("%s of HEAD: got %q, want %q", name, got.header.Get(name), known.header.Get(name))
		}
	}
}

func TestDocsBelowABasePath(t *testing.T) {
	s := startDocs(t, func(c *server.Config) { c.BasePath = "/api/v1" })
	for path := range assets {
		s.do(call{method: "GET", path: path}).want(t, http.StatusOK)
	}
	for _, path := range []string{"/openapi.yaml", "/openapi.json", "/openapi.yaml?lang=it"} {
		var doc struct{ Servers []struct{ URL string } }
		if err := yaml.Unmarshal([]byte(s.do(call{method: "GET", path: path}).body), &doc); err != nil {
			t.Fatal(err)
		}
		if len(doc.Servers) != 1 || doc.Servers[0].URL != "/api/v1" {
			t.Errorf("servers of %s: got %v, want /api/v1", path, doc.Servers)
		}
	}
}

// TestAddressesBesideThePageLeadToIt, as / and /docs/ are what people type.
func TestAddressesBesideThePageLeadToIt(t *testing.T) {
	for _, base := range []string{"", "/api/v1"} {
		s := startDocs(t, basePath(base))
		s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		for from, want := range map[string]string{"/": "/docs", "/docs/": "/docs", "/?lang=it": "/docs?lang=it", "/docs/?lang=it": "/docs?lang=it"} {
			got := s.do(call{method: "GET", path: from}).want(t, http.StatusFound)
			if at := got.header.Get("Location"); at != base+want {
				t.Errorf("%s%s: got Location %q, want %q", base, from, at, base+want)
			}
		}
	}
}
