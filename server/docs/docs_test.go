package docs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/recapito/recapito/gen"
)

func document(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func handlers(t *testing.T) map[string]http.Handler {
	t.Helper()
	all, err := Handlers(document(t), map[string][]byte{"it": gen.Italian}, "")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// get asks for a path with its query; header is names and values, in turn.
func get(t *testing.T, all map[string]http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	all[r.URL.Path].ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: got %d, want 200", path, w.Code)
	}
	return w
}

// TestCompressedIsTheSame: who takes gzip gets what the others get.
func TestCompressedIsTheSame(t *testing.T) {
	all := handlers(t)
	for path := range all {
		if path == "/" || path == "/docs/" {
			continue // redirects
		}
		plain := get(t, all, path).Body.String()
		if got := unzip(t, get(t, all, path, "Accept-Encoding", "gzip").Body.String()); got != plain {
			t.Errorf("%s: got %d bytes, want the %d of the plain one", path, len(got), len(plain))
		}
	}
}

func unzip(t *testing.T, text string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func TestAcceptEncoding(t *testing.T) {
	all := handlers(t)
	for accept, want := range map[string]string{
		"gzip": "gzip", "GZIP": "gzip", "br;q=1.0, gzip;q=0.8, *;q=0.1": "gzip", "deflate, gzip ;q=1": "gzip",
		"": "", "identity": "", "gzip;q=0": "", "gzip; q=0.0": "", "br": "", "gzip;q=x": "", "x-gzip": "",
	} {
		got := get(t, all, "/openapi.yaml", "Accept-Encoding", accept)
		if coding := got.Header().Get("Content-Encoding"); coding != want {
			t.Errorf("Accept-Encoding %q: got %q, want %q", accept, coding, want)
		}
	}
}

// TestDocumentIsServedAsItIs: the YAML byte by byte, the JSON with the same
// content in the same order.
func TestDocumentIsServedAsItIs(t *testing.T) {
	all := handlers(t)
	for query, want := range map[string][]byte{"": document(t), "?lang=en": document(t), "?lang=xx": document(t), "?lang=it": gen.Italian} {
		t.Run(query, func(t *testing.T) {
			if got := get(t, all, "/openapi.yaml"+query).Body.String(); got != string(want) {
				t.Error("/openapi.yaml is not the document")
			}
			text := get(t, all, "/openapi.json"+query).Body.String()
			var fromYAML, fromJSON any
			if err := yaml.Unmarshal(want, &fromYAML); err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal([]byte(text), &fromJSON); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(fromYAML, fromJSON); diff != "" || !json.Valid([]byte(text)) {
				t.Errorf("/openapi.json differs from /openapi.yaml (-yaml +json):\n%s", diff)
			}
			if strings.Index(text, `"paths"`) > strings.Index(text, `"components"`) {
				t.Error("/openapi.json is in another order than /openapi.yaml")
			}
		})
	}
}

func TestDocsPageSpeaksTheLanguage(t *testing.T) {
	all := handlers(t)
	for query, want := range map[string]string{"": "en", "?lang=it": "it", "?lang=en": "en", "?lang=%22%3E": "en"} {
		got := get(t, all, "/docs"+query, "Accept-Language", "it")
		says := got.Header().Get("Content-Language")
		if !strings.Contains(got.Body.String(), `<html lang="`+want+`">`) || says != want {
			t.Errorf("/docs%s: got Content-Language %q and %.40q…, want %s", query, says, got.Body, want)
		}
	}
}

// TestScalarIsTheOneOnRecord: README.md says which file it is.
func TestScalarIsTheOneOnRecord(t *testing.T) {
	record, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(get(t, handlers(t), "/docs/scalar.js").Body.Bytes())
	if !bytes.Contains(record, []byte(hex.EncodeToString(sum[:]))) {
		t.Errorf("README.md does not name the SHA-256 of scalar.js, %x", sum)
	}
}
