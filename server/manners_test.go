package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// allowed are the methods that the document gives a path, and those that follow.
func (c *contract) allowed(path string) []string {
	methods := []string{http.MethodOptions}
	for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		if c.route(m, path) != nil {
			methods = append(methods, m)
		}
	}
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return methods
}

// TestEveryAnswerHasManners: what holds for all, on every operation: allowed or
// not, known or not.
func TestEveryAnswerHasManners(t *testing.T) {
	s := start(t)
	_, key := s.account()
	c := loadContract(t)
	for _, o := range c.operations(t) {
		for _, tt := range []struct {
			name string
			call call
		}{
			{"its answer", call{method: o.method, path: o.path, apiKey: key, platform: true}},
			{"no credential", call{method: o.method, path: o.path}},
			{"another method", call{method: "PATCH", path: o.path}},
			{"OPTIONS", call{method: "OPTIONS", path: o.path}},
			{"HEAD", call{method: "HEAD", path: o.path, apiKey: key, platform: true}},
			{"no such path", call{method: o.method, path: o.path + "/nowhere"}},
		} {
			t.Run(o.id+"/"+tt.name, func(t *testing.T) {
				tt.call.header = map[string]string{"X-Request-Id": "the-request-s.own_ID"}
				got := s.do(tt.call)
				for name, want := range map[string]string{
					"X-Request-Id": "the-request-s.own_ID", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
				} {
					if got.header.Get(name) != want {
						t.Errorf("%s of a %d: got %q, want %q", name, got.status, got.header.Get(name), want)
					}
				}
				if got.status == http.StatusUnauthorized {
					scheme, _, _ := strings.Cut(got.header.Get("WWW-Authenticate"), " ")
					want := map[bool]string{true: "ApiKey", false: "Bearer"}[strings.HasPrefix(o.path, webhookPath)]
					if scheme != want {
						t.Errorf("WWW-Authenticate: got %q, want the scheme %s", got.header.Get("WWW-Authenticate"), want)
					}
				}
				allow := strings.Split(got.header.Get("Allow"), ", ")
				slices.Sort(allow)
				telling := got.status == http.StatusMethodNotAllowed || tt.call.method == "OPTIONS"
				if diff := cmp.Diff(c.allowed(o.path), allow); telling && tt.call.path == o.path && diff != "" {
					t.Errorf("Allow (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestHeadWhereGetIs: the status and the head of GET, and nothing after it.
func TestHeadWhereGetIs(t *testing.T) {
	s := start(t)
	_, key := s.subscriber()
	for _, o := range loadContract(t).operations(t) {
		if o.method != http.MethodGet {
			continue
		}
		for name, c := range map[string]call{
			"its answer": {path: o.path, apiKey: key, platform: true}, "no credential": {path: o.path},
		} {
			t.Run(o.id+"/"+name, func(t *testing.T) {
				c.header = map[string]string{"X-Request-Id": "r"}
				c.method = http.MethodGet
				get := s.do(c)
				c.method = http.MethodHead
				head := s.do(c).want(t, get.status)
				get.header.Del("Date")
				head.header.Del("Date")
				if diff := cmp.Diff(get.header, head.header); diff != "" {
					t.Errorf("header (-GET +HEAD):\n%s", diff)
				}
			})
		}
	}
}

// TestLocationNamesWhatWasMade, below a base path.
func TestLocationNamesWhatWasMade(t *testing.T) {
	for _, base := range []string{"", "/api/v1"} {
		s := start(t, basePath(base))
		_, key := s.account()
		for _, tt := range []struct{ name, method, path, body, want string }{
			{"webhook", "POST", webhookPath, `{"callbackUrl":"` + goodURL + `"}`, base + webhookPath},
			{"account", "PUT", "/accounts/acc:new~1", "", base + "/accounts/acc:new~1"},
			{"API key", "POST", "/accounts/acc:new~1/api-keys", "", base + "/accounts/acc:new~1/api-keys/key_"},
		} {
			t.Run(base+"/"+tt.name, func(t *testing.T) {
				got := s.do(call{method: tt.method, path: tt.path, body: tt.body, apiKey: key, platform: true}).want(t, http.StatusCreated)
				at := got.header.Get("Location")
				if !strings.HasPrefix(at, tt.want) {
					t.Errorf("Location: got %q, want %q", at, tt.want)
				}
				method := http.MethodGet
				if tt.name == "API key" {
					method = http.MethodDelete // the only thing that can be done with it
				}
				if got := s.do(call{method: method, path: strings.TrimPrefix(at, base), apiKey: key, platform: true}); got.status >= 300 {
					t.Errorf("%s %s: got %d, want what was made", method, at, got.status)
				}
			})
		}
	}
}
