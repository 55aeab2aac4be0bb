package console

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/recapito/recapito/server/asset"
)

func handlers(t *testing.T) map[string]http.Handler {
	t.Helper()
	all, err := Handlers("", nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func get(t *testing.T, h http.Handler) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w
}

// TestPageLoadsWhatIsServed: what the page and its modules name is there, and nothing is
// served that none of them names.
func TestPageLoadsWhatIsServed(t *testing.T) {
	all := handlers(t)
	var main string
	wanted := map[string]bool{"/console": true, "/console/": true}
	for _, m := range regexp.MustCompile(`(?:href|src)="(console/[^"]+)"`).FindAllStringSubmatch(get(t, all["/console"]).Body.String(), -1) {
		wanted["/"+m[1]] = true
		main = "/" + m[1]
	}
	imports := regexp.MustCompile(`(?m)from ?['"]\./([^'"]+)['"]`)
	var follow func(string)
	follow = func(module string) {
		h, ok := all[module]
		if !ok {
			t.Errorf("%s is named, and not served", module)
			return
		}
		for _, m := range imports.FindAllStringSubmatch(get(t, h).Body.String(), -1) {
			next := module[:strings.LastIndex(module, "/")+1] + m[1]
			if !wanted[next] {
				wanted[next] = true
				follow(next)
			}
		}
	}
	follow(main)
	for path := range all {
		if !wanted[path] {
			t.Errorf("%s is served, and nobody names it", path)
		}
	}
}

// TestSize: the page with all that it loads is small.
func TestSize(t *testing.T) {
	size := 0
	for _, h := range handlers(t) {
		if f, ok := h.(*asset.File); ok {
			size += f.Size()
		}
	}
	t.Logf("%d bytes compressed", size)
	if size > 150_000 {
		t.Errorf("the console has %d bytes compressed, want 150,000 at most", size)
	}
}

// TestPolicy: nothing of another origin, no script from a text, and a frame only for who
// may; what is served for ever says so, and the page does not.
func TestPolicy(t *testing.T) {
	for ancestors, want := range map[string]string{"": "frame-ancestors 'none'", "https://a.example https://b.example": "frame-ancestors https://a.example https://b.example"} {
		all, err := Handlers("", strings.Fields(ancestors))
		if err != nil {
			t.Fatal(err)
		}
		for path, h := range all {
			if path == "/console/" {
				continue
			}
			header := get(t, h).Header()
			policy := header.Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'", "trusted-types 'none'", want} {
				if !slices.Contains(strings.Split(policy, "; "), want) {
					t.Errorf("%s: the policy %q lacks %s", path, policy, want)
				}
			}
			if got, want := strings.Contains(header.Get("Cache-Control"), "immutable"), path != "/console"; got != want {
				t.Errorf("%s: Cache-Control is %q; immutable: want %v", path, header.Get("Cache-Control"), want)
			}
		}
	}
}

// sources are our modules, by name.
func sources(t *testing.T) map[string]string {
	t.Helper()
	names, err := fs.Glob(files, "app/*.js")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(name, "app/")] = string(text)
	}
	return all
}

var textLine = regexp.MustCompile(`(?m)^  '?([\w.]+)'?: \['(.*)', '(.*)'\],$`)

// texts are the words of the page: by key those in each language.
func texts(t *testing.T) map[string][2]string {
	t.Helper()
	all := map[string][2]string{}
	for _, file := range []string{"texts.js", "failures.js"} {
		source := sources(t)[file]
		lines := strings.Count(source, "\n  ") - strings.Count(source, "\n  ...")
		found := textLine.FindAllStringSubmatch(source, -1)
		if len(found) != lines {
			t.Errorf("%s: %d of %d lines are 'key': ['English', 'Italian'],", file, len(found), lines)
		}
		for _, m := range found {
			if _, twice := all[m[1]]; twice {
				t.Errorf("%s: %s is there twice", file, m[1])
			}
			all[m[1]] = [2]string{m[2], m[3]}
		}
	}
	return all
}

var placeholder = regexp.MustCompile(`\{\w+\}`)

// TestTexts: each text is there in both languages, with the same values in it, in as many
// forms.
func TestTexts(t *testing.T) {
	for key, text := range texts(t) {
		for i, language := range []string{"English", "Italian"} {
			if strings.TrimSpace(text[i]) == "" {
				t.Errorf("%s has no %s", key, language)
			}
		}
		english, italian := values(text[0]), values(text[1])
		if !slices.Equal(english, italian) {
			t.Errorf("%s: the English has %v, the Italian %v", key, english, italian)
		}
		if e, i := strings.Count(text[0], "|"), strings.Count(text[1], "|"); e != i {
			t.Errorf("%s: the English has %d forms, the Italian %d", key, e+1, i+1)
		}
	}
}

func values(text string) []string {
	set := map[string]bool{}
	for _, v := range placeholder.FindAllString(text, -1) {
		set[v] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// TestTextsAreSaid: every key that a module says is a text, and every text is said.
func TestTextsAreSaid(t *testing.T) {
	all := texts(t)
	said := map[string]bool{}
	quoted := regexp.MustCompile(`'([\w.]+)'`)
	asked := regexp.MustCompile(`\bt\('([\w.]+)'`)
	composed := regexp.MustCompile("`([\\w.]+\\.)\\$\\{")
	prefixes := map[string]bool{}
	for name, source := range sources(t) {
		if name == "texts.js" || name == "failures.js" {
			continue
		}
		for _, m := range asked.FindAllStringSubmatch(source, -1) {
			if _, ok := all[m[1]]; !ok {
				t.Errorf("%s says %s, which is no text", name, m[1])
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(source, -1) {
			said[m[1]] = true
		}
		for _, m := range composed.FindAllStringSubmatch(source, -1) {
			prefixes[m[1]] = true
		}
	}
	for key := range all {
		composed := slices.ContainsFunc(slices.Collect(maps.Keys(prefixes)), func(p string) bool { return strings.HasPrefix(key, p) })
		composed = composed || strings.HasPrefix(key, "reason.") || strings.HasPrefix(key, "advice.") // see why.js
		if !said[key] && !composed {
			t.Errorf("nobody says %s", key)
		}
	}
}

// TestListsAreThoseOfTheContract: what can be chosen is what openapi.yaml has, all of it, and each
// kind of failure has words of its own.
func TestListsAreThoseOfTheContract(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	closed := func(schema string) (list []string) {
		for _, value := range doc.Components.Schemas[schema].Value.Enum {
			list = append(list, value.(string))
		}
		return slices.Sorted(slices.Values(list))
	}
	for _, tt := range []struct{ file, name, schema string }{
		{"filters.js", "errors", "AttemptError"},
		{"setup.js", "samples", "TestSample"},
		{"accounts.js", "states", "EndpointState"},
	} {
		var got []string
		list := regexp.MustCompile(`(?ms)^const ` + tt.name + ` = \[(.*?)\]$`).FindString(sources(t)[tt.file])
		for _, m := range regexp.MustCompile(`'(\w+)'`).FindAllStringSubmatch(list, -1) {
			got = append(got, m[1])
		}
		slices.Sort(got)
		if want := closed(tt.schema); !slices.Equal(got, want) {
			t.Errorf("%s: %s are %v, want those of %s, %v", tt.file, tt.name, got, tt.schema, want)
		}
	}
	all := texts(t)
	for _, kind := range append(closed("AttemptError"), closed("AttemptDetail")...) {
		if _, ok := all["reason."+kind]; !ok {
			t.Errorf("there is no text reason.%s", kind)
		}
	}
}

// TestNoHTMLFromText: no module makes HTML or a script from a text. The policy refuses it,
// too.
func TestNoHTMLFromText(t *testing.T) {
	for name, source := range sources(t) {
		for _, banned := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "createPolicy", "localStorage", "document.cookie"} {
			if strings.Contains(source, banned) {
				t.Errorf("%s has %s", name, banned)
			}
		}
	}
}

// TestVendorIsTheOneOnRecord: README.md says which files they are.
func TestVendorIsTheOneOnRecord(t *testing.T) {
	record, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"preact.js", "hooks.js", "htm.js"} {
		if sum := sumOf(t, "app/vendor/"+name); !strings.Contains(string(record), sum) {
			t.Errorf("README.md does not name the SHA-256 of %s, %s", name, sum)
		}
	}
}

func sumOf(t *testing.T, name string) string {
	t.Helper()
	text, err := files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}
