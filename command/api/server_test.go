package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// answers are given in turn, the last one again and again.
type answers []*http.Response

func (a *answers) RoundTrip(*http.Request) (*http.Response, error) {
	first := (*a)[0]
	if len(*a) > 1 {
		*a = (*a)[1:]
	}
	return first, nil
}

func response(status int, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(""))}
}

func TestAListingGoesOnAfter429(t *testing.T) {
	tests := []struct {
		name, method string
		answers      answers
		status       int
		after        time.Duration
	}{
		{"at once", "GET", answers{response(200)}, 200, 0},
		{"twice", "GET", answers{response(429, "Retry-After", "7"), response(429), response(200)}, 200, 8 * time.Second},
		{"no GET", "POST", answers{response(429, "Retry-After", "7"), response(200)}, 429, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := patient{http.Client{Transport: &test.answers}}
				began := time.Now()
				r, err := http.NewRequestWithContext(t.Context(), test.method, "http://a.example/", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := p.Do(r)
				if resp == nil || resp.StatusCode != test.status || time.Since(began) != test.after {
					t.Errorf("got %v, %v after %v, want %d after %v", resp, err, time.Since(began), test.status, test.after)
				}
			})
		})
	}
}

// The key that a redirect would carry to another server stays.
func TestNoRedirectIsFollowed(t *testing.T) {
	var got string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("X-API-Key") }))
	defer other.Close()
	first := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer first.Close()
	s, err := ForAccount(first.URL, "the-key")
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.GetWebhookWithResponse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := first.URL + " answered 307 Temporary Redirect, not as Recapito does: --server is the server's URL with the base path of serve at its end"
	if err := s.Refused(r.HTTPResponse, r.Body); got != "" || err.Error() != want {
		t.Errorf("got the key %q, and %v; want none, and %s", got, err, want)
	}
}

func TestFailuresAreSaidInWords(t *testing.T) {
	s := &Server{URL: "http://a.example"}
	for want, err := range map[string]error{
		"http://a.example cannot be reached: x":                                           &url.Error{Op: "Get", URL: "u", Err: errors.New("x")},
		"http://a.example does not answer as Recapito does: x; is it the right --server?": errors.New("x"),
	} {
		if got := s.Failed(err).Error(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestProfileIsItsOwnersAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "default.json")
	want := Profile{Server: "http://a.example", APIKey: "k"}
	for range 2 { // anew, and in place of another
		if err := want.Write(file); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := ReadProfile(file); got != want || err != nil {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v, %v, want 0600", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("files: got %v, %v, want the profile alone", left, err)
	}
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadProfile(file); fmt.Sprint(err) != file+" is not a profile: log in again: recapito login" {
		t.Errorf("an empty profile: got %v", err)
	}
}
