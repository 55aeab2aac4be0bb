package e2e

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/getkin/kin-openapi/openapi3"
)

// consoleData has what makes the pages the same everywhere, and what they look like.
const consoleData = "verify/e2e/testdata/console/"

// newFixedConsole is the console of the built binary, to which the answers of a file of
// testdata/console are given, in a browser with a clock that stands still. Each page begins with
// fixed.js and the scripts, which are there too.
func newFixedConsole(t *testing.T, bin, answers string, scripts ...string) *console {
	t.Helper()
	svc := serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"))
	given := givenAnswers(t, consoleData+answers)
	at, err := url.Parse(svc.url)
	if err != nil {
		t.Fatal(err)
	}
	files := httputil.NewSingleHostReverseProxy(at)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/console") || r.URL.Path == "/livez" {
			files.ServeHTTP(w, r)
			return
		}
		given.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	c := &console{browser: newBrowser(t), svc: &service{t: t, url: front.URL}, keys: map[string]string{"empty": "empty"}}
	for account := range given.of {
		c.keys[account] = account
	}
	for _, script := range append([]string{"fixed.js"}, scripts...) {
		source := strings.Replace(read(t, consoleData+script), "FONT", base64.StdEncoding.EncodeToString(evenFont()), 1)
		if _, err := chromedp.Call(c.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: source}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chromedp.Call(c.ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Europe/Rome"}); err != nil {
		t.Fatal(err)
	}
	return c
}

// fixedAnswers are those of the API, by account ("platform" for the platform) and by path; one
// whose query begins in a certain way may have its own.
type fixedAnswers struct {
	t    *testing.T
	file string
	of   map[string]map[string]json.RawMessage
	mu   sync.Mutex
	no   []string // what was asked for in vain, each once
}

// givenAnswers reads them, and fails the test if the contract does not allow one.
func givenAnswers(t *testing.T, file string) *fixedAnswers {
	t.Helper()
	a := &fixedAnswers{t: t, file: file}
	if err := json.Unmarshal([]byte(read(t, file)), &a.of); err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for who, all := range a.of {
		for at, body := range all {
			at, _, _ := strings.Cut(at, "?")
			if err := allowed(doc, at, body); err != nil {
				t.Errorf("%s %s of %s: %v", who, at, file, err)
			}
		}
	}
	return a
}

// allowed says why the contract does not allow an answer of GET.
func allowed(doc *openapi3.T, at string, body []byte) error {
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return err
	}
	parameter := regexp.MustCompile(`\{[^}]+\}`)
	for template, item := range doc.Paths.Map() {
		if match, _ := path.Match(parameter.ReplaceAllString(template, "*"), at); match && item.Get != nil {
			return item.Get.Responses.Status(http.StatusOK).Value.Content.Get("application/json").Schema.Value.VisitJSON(value, openapi3.MultiErrors())
		}
	}
	return errors.New("there is no GET of it")
}

func (a *fixedAnswers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who := r.Header.Get("X-API-Key")
	if r.Header.Get("Authorization") != "" {
		who = "platform"
	}
	first, _, _ := strings.Cut(r.URL.RawQuery, "&")
	body := a.of[who][r.URL.Path+"?"+first]
	if body == nil {
		body = a.of[who][r.URL.Path]
	}
	if body == nil {
		if asked := r.Method + " " + r.URL.Path + " of " + who; who != "empty" && !strings.Contains(asked, "favicon") {
			a.mu.Lock()
			defer a.mu.Unlock()
			if !slices.Contains(a.no, asked) {
				a.no = append(a.no, asked)
				a.t.Errorf("the page asks for %s: %s has no answer", asked, a.file)
			}
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"type":"about:blank","title":"Not Found","status":404}`))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// rest waits until the page has all that it has asked for, and has drawn it.
func (c *console) rest() {
	c.t.Helper()
	if _, err := chromedp.Run(c.ctx, chromedp.Evaluate[bool]("rest()", chromedp.EvalAwaitPromise)); err != nil {
		c.t.Fatalf("the page does not come to rest: %v; complaints %q", err, c.complaints)
	}
}
