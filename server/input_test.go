package server_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/recapito/recapito/gen"
)

// badBodies are refused with 400 by the four operations; pointer is where, if
// it is the value that is wrong.
var badBodies = []struct {
	name, body string
	header     map[string]string
	pointers   []string
}{
	{name: "empty", body: ""},
	{name: "null", body: "null", pointers: []string{""}},
	{name: "object without the URL", body: `{}`, pointers: []string{"/callbackUrl"}},
	{name: "URL null", body: `{"callbackUrl":null}`, pointers: []string{"/callbackUrl"}},
	{name: "URL empty", body: `{"callbackUrl":""}`, pointers: []string{"/callbackUrl"}},
	{name: "URL a number", body: `{"callbackUrl":1}`, pointers: []string{"/callbackUrl"}},
	{name: "unknown member", body: `{"callbackUrl":"https://a.example/","x":1}`, pointers: []string{""}},
	{name: "member in another case", body: `{"CallbackURL":"https://a.example/"}`, pointers: []string{"", "/callbackUrl"}},
	{name: "member twice in two cases", body: `{"callbackUrl":"https://a.example/","CallbackUrl":"https://evil.example/"}`, pointers: []string{""}},
	{name: "array", body: `["https://a.example/"]`, pointers: []string{""}},
	{name: "number", body: `1`, pointers: []string{""}},
	{name: "string", body: `"https://a.example/"`, pointers: []string{""}},
	{name: "truncated", body: `{"callbackUrl":"https://a.ex`, pointers: []string{"/callbackUrl"}},
	{name: "BOM", body: "\xef\xbb\xbf" + `{"callbackUrl":"https://a.example/"}`, pointers: []string{""}},
	{name: "nesting 20,000", body: strings.Repeat("[", 20000) + strings.Repeat("]", 20000)},
	{name: "nesting in the URL", body: `{"callbackUrl":` + strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000) + `}`, pointers: []string{"/callbackUrl"}},
	{name: "duplicate member", body: `{"callbackUrl":"https://a.example/","callbackUrl":"https://b.example/"}`, pointers: []string{"/callbackUrl"}},
	{name: "escaped duplicate", body: `{"callbackUrl":"https://a.example/","callback\u0055rl":"https://b.example/"}`, pointers: []string{"/callbackUrl"}},
	{name: "trailing garbage", body: `{"callbackUrl":"https://a.example/"}x`, pointers: []string{""}},
	{name: "two values", body: `{"callbackUrl":"https://a.example/"}{}`, pointers: []string{""}},
	{name: "invalid UTF-8", body: "{\"callbackUrl\":\"https://a.example/\xff\"}", pointers: []string{"/callbackUrl"}},
	{name: "lone surrogate", body: `{"callbackUrl":"https://a.example/\ud800"}`, pointers: []string{"/callbackUrl"}},
	{name: "single quotes", body: `{'callbackUrl':'https://a.example/'}`, pointers: []string{""}},
	{name: "comment", body: `{"callbackUrl":"https://a.example/"/**/}`, pointers: []string{""}},
	{name: "no Content-Type", body: `{"callbackUrl":"https://a.example/"}`, header: map[string]string{"Content-Type": ""}},
	{name: "text/plain", body: `{"callbackUrl":"https://a.example/"}`, header: map[string]string{"Content-Type": "text/plain"}},
	{name: "problem+json", body: `{"callbackUrl":"https://a.example/"}`, header: map[string]string{"Content-Type": "application/problem+json"}},
	{name: "Content-Type ;;", body: `{"callbackUrl":"https://a.example/"}`, header: map[string]string{"Content-Type": ";;"}},
	{name: "UTF-16", body: `{"callbackUrl":"https://a.example/"}`, header: map[string]string{"Content-Type": "application/json; charset=utf-16"}},
	{name: "form", body: `callbackUrl=https://a.example/`, header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}},
	{name: "multipart", body: "--x--", header: map[string]string{"Content-Type": "multipart/form-data; boundary=x"}},
	{name: "gzip", body: `{"callbackUrl":"https://a.example/"}`, header: map[string]string{"Content-Encoding": "gzip"}},
	{name: "larger than 64 KiB", body: `{"callbackUrl":"https://a.example/` + strings.Repeat("a", 64<<10) + `"}`},
	{name: "10 MiB", body: strings.Repeat(" ", 10<<20)},
	{name: "http", body: `{"callbackUrl":"http://a.example/"}`, pointers: []string{"/callbackUrl"}},
	{name: "relative", body: `{"callbackUrl":"/hook"}`, pointers: []string{"/callbackUrl"}},
	{name: "opaque", body: `{"callbackUrl":"https:a.example"}`, pointers: []string{"/callbackUrl"}},
	{name: "no host", body: `{"callbackUrl":"https://"}`, pointers: []string{"/callbackUrl"}},
	{name: "userinfo", body: `{"callbackUrl":"https://u@a.example/"}`, pointers: []string{"/callbackUrl"}},
	{name: "fragment", body: `{"callbackUrl":"https://a.example/#f"}`, pointers: []string{"/callbackUrl"}},
	{name: "space", body: `{"callbackUrl":"https://a.example/ "}`, pointers: []string{"/callbackUrl"}},
	{name: "newline", body: `{"callbackUrl":"https://a.example/\n"}`, pointers: []string{"/callbackUrl"}},
	{name: "backslash", body: `{"callbackUrl":"https://a.example\\"}`, pointers: []string{"/callbackUrl"}},
	{name: "2,049 characters", body: `{"callbackUrl":"https://a.example/` + strings.Repeat("a", 2049-len("https://a.example/")) + `"}`, pointers: []string{"/callbackUrl"}},
}

func TestBadBodies(t *testing.T) {
	s := start(t)
	_, key := s.account()
	_, taken := s.subscriber()
	for _, tt := range badBodies {
		for method, apiKey := range map[string]string{"POST": key, "PUT": taken} {
			t.Run(method+"/"+tt.name, func(t *testing.T) {
				got := s.do(call{method: method, path: webhookPath, apiKey: apiKey, body: tt.body, header: tt.header}).want(t, http.StatusBadRequest)
				if tt.pointers != nil {
					got.wantPointers(t, tt.pointers...)
				}
			})
		}
	}
	s.do(call{method: "GET", path: webhookPath, apiKey: key}).want(t, http.StatusNotFound)
}

// TestBearerTakesSpaces: one or more stand between scheme and token.
func TestBearerTakesSpaces(t *testing.T) {
	s := start(t)
	for _, credentials := range []string{"Bearer " + platformKey, "bearer   " + platformKey} {
		s.do(call{method: "GET", path: "/accounts/nobody", header: map[string]string{"Authorization": credentials}}).want(t, http.StatusNotFound)
	}
}

// TestQueryOfTheWebhookIsIgnored where the contract has no answer to it, and
// refused where it has.
func TestQueryOfTheWebhookIsIgnored(t *testing.T) {
	s := start(t)
	_, key := s.account()
	body := `{"callbackUrl":"` + goodURL + `"}`
	for _, tt := range []struct {
		method, body string
		want         int
	}{{"POST", body, 400}, {"PUT", body, 400}, {"GET", "", 404}, {"DELETE", "", 404}} {
		got := s.do(call{method: tt.method, path: webhookPath + "?statee=FAILED", apiKey: key, body: tt.body}).want(t, tt.want)
		if tt.want == 400 && !strings.Contains(got.body, `Query parameter \"statee\": is not known; this operation takes none.`) {
			t.Errorf("%s: got %s, want the parameter named", tt.method, got.body)
		}
	}
}

// TestURLRefusalIsShown: the account reads the rule that its URL breaks, once.
func TestURLRefusalIsShown(t *testing.T) {
	s := start(t)
	_, key := s.account()
	got := s.do(call{method: "POST", path: webhookPath, apiKey: key, body: `{"callbackUrl":"http://a.example/"}`}).want(t, http.StatusBadRequest)
	p := decode[gen.Problem](t, got)
	if p.Errors == nil || len(*p.Errors) != 1 || (*p.Errors)[0] != (gen.ProblemError{Pointer: "/callbackUrl", Detail: "must be an https URL"}) {
		t.Errorf("errors: got %s, want one at /callbackUrl: must be an https URL", got.body)
	}
}

func TestGoodBodies(t *testing.T) {
	s := start(t)
	for _, tt := range []struct {
		name, body string
		header     map[string]string
	}{
		{"plain", `{"callbackUrl":"https://a.example/"}`, nil},
		{"white space", " \r\n\t{ \"callbackUrl\" : \"https://a.example/\" } \n", nil},
		{"escapes", `{"callback\u0055rl":"https:\/\/a.example\u002f"}`, nil},
		{"scheme in capitals", `{"callbackUrl":"HTTPS://a.example/"}`, nil},
		{"2,048 characters", `{"callbackUrl":"https://a.example/` + strings.Repeat("a", 2048-len("https://a.example/")) + `"}`, nil},
		{"query with &", `{"callbackUrl":"https://a.example/?a=1&b=2"}`, nil},
		{"media type in capitals", `{"callbackUrl":"https://a.example/"}`, map[string]string{"Content-Type": "Application/JSON"}},
		{"charset utf8", `{"callbackUrl":"https://a.example/"}`, map[string]string{"Content-Type": `application/json;charset=utf8`}},
		{"charset", `{"callbackUrl":"https://a.example/"}`, map[string]string{"Content-Type": `application/json; charset="UTF-8"`}},
		{"filled up to 64 KiB", `{"callbackUrl":"https://a.example/"}` + strings.Repeat(" ", 64<<10-36), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, key := s.account()
			s.do(call{method: "POST", path: webhookPath, apiKey: key, body: tt.body, header: tt.header}).want(t, http.StatusCreated)
		})
	}
}

// TestChunkedBodies have no length that could be checked first.
func TestChunkedBodies(t *testing.T) {
	s := start(t)
	for _, tt := range []struct {
		name string
		body string
		want int
	}{
		{"good", `{"callbackUrl":"https://a.example/"}`, http.StatusCreated},
		{"empty", "", http.StatusBadRequest},
		{"larger than 64 KiB", strings.Repeat(" ", 64<<10+1), http.StatusBadRequest},
		{"10 MiB", strings.Repeat(" ", 10<<20), http.StatusBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, key := s.account()
			r, err := http.NewRequestWithContext(t.Context(), "POST", s.url+webhookPath, io.MultiReader(strings.NewReader(tt.body)))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", jsonType)
			r.Header.Set("X-API-Key", key)
			s.send(r).want(t, tt.want)
		})
	}
}

// TestBodiesThatNobodyAskedFor are ignored, whatever they are.
func TestBodiesThatNobodyAskedFor(t *testing.T) {
	s := start(t)
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"GET", webhookPath, http.StatusOK},
		{"DELETE", webhookPath, http.StatusNoContent},
		{"POST", webhookPath + "/signing-secret", http.StatusOK},
		{"GET", webhookPath + "/deliveries", http.StatusOK},
	} {
		for name, body := range map[string]string{"JSON": "{}", "not JSON": "{", "1 MiB": strings.Repeat("x", 1<<20)} {
			t.Run(tt.method+tt.path+"/"+name, func(t *testing.T) {
				_, key := s.subscriber()
				header := map[string]string{"Content-Type": "text/odd", "Content-Encoding": "gzip"}
				s.do(call{method: tt.method, path: tt.path, apiKey: key, body: body, header: header}).want(t, tt.want)
			})
		}
	}
}

func TestBadParameters(t *testing.T) {
	s := start(t)
	_, key := s.subscriber()
	for _, tt := range []struct {
		query string
		want  int
	}{
		{"limit=0", 400}, {"limit=101", 400}, {"limit=-1", 400}, {"limit=abc", 400}, {"limit=1e1", 400},
		{"limit=1&limit=2", 400}, {"limit=2147483648", 400}, {"limit=99999999999999999999", 400},
		{"state=pending", 400}, {"state=DONE", 400}, {"state=PENDING&state=DONE", 400}, {"state=", 400}, {"state=PENDING,FAILED", 400}, {strings.Repeat("state=FAILED&", 4) + "state=FAILED", 400},
		{"channel=sms", 400}, {"channel=SMS&channel=RCS", 400}, {"error=NONE", 400}, {"status=99", 400}, {"status=1000", 400}, {"status=2xx", 400}, {"order=up", 400},
		{"customerMessageId=" + strings.Repeat("x", 256), 400}, {"failedSince=yesterday", 400}, {"finishedFrom=1969-12-31T23:59:59Z", 400}, {"finishedTo=2262-01-01T00:00:00Z", 400},
		{"messageId=" + strings.Repeat("m", 129), 400}, {"messageId=a%00b", 400},
		{"from=2026-02-31T00:00:00Z", 400}, {"from=yesterday", 400}, {"from=0001-01-01T00:00:00Z", 400}, {"to=2262-01-01T00:00:00Z", 400}, {"to=2026-11-20", 400}, {"to=2026-11-20T00:00:00", 400},
		{"cursor=!", 400}, {"cursor=AAAA", 400}, {"cursor=" + strings.Repeat("A", 129), 400},
		{"unknown=1", 400}, {"State=PENDING", 400}, {"state%5B%5D=FAILED", 400}, {"from=2026-11-20T00:00:00+0100&from=2026-11-20T00:00:00Z", 400},
		{"from=2026-11-20T00:00:00*0100", 400}, {"from=2026-11-20T00:00:00+01000", 400}, {"from=2026-11-20T10:00:60Z", 400},
		{"limit=%zz", 400}, {"limit=1;state=x", 400},
		{"limit=1", 200}, {"limit=100", 200}, {"state=PENDING", 200}, {"state=PENDING&state=FAILED", 200},
		{"from=2026-11-20T00:00:00%2B01:00&to=2026-11-20T00:00:00Z", 200}, {"from=2026-11-20T00:00:00.5%2B0000", 200},
		{"from=2026-11-20T00:00:00+01:00", 200}, {"from=2026-11-20T00:00:00+0100&to=2026-11-20T00:00:00-0100", 200}, {"from=2026-11-20t00:00:00z", 200},
		{"messageId=" + url.QueryEscape("però №7"), 200},
	} {
		t.Run(tt.query, func(t *testing.T) {
			got := s.do(call{method: "GET", path: webhookPath + "/deliveries?" + tt.query, apiKey: key}).want(t, tt.want)
			if p := decode[gen.Problem](t, got); tt.want == 400 && (p.Detail == nil || *p.Detail == "") {
				t.Errorf("detail: got none, want one: %s", got.body)
			}
		})
	}
	for _, tt := range []struct{ method, path string }{
		{"GET", webhookPath + "/deliveries/" + strings.Repeat("e", 65)},
		{"GET", webhookPath + "/deliveries/a.b"},
		{"GET", webhookPath + "/deliveries/a%2Fb"},
		{"PUT", "/accounts/" + strings.Repeat("a", 65)},
		{"PUT", "/accounts/a%2Fb"}, {"PUT", "/accounts/a%20b"}, {"PUT", "/accounts/a%00"}, {"PUT", "/accounts/%C3%A8"},
		{"PUT", "/accounts/."}, {"PUT", "/accounts/.."}, {"PUT", "/accounts/%2E%2e"}, {"PUT", "/accounts/..."},
		{"DELETE", "/accounts/acc_1/api-keys/nokey"},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			s.do(call{method: tt.method, path: tt.path, apiKey: key, platform: true}).want(t, http.StatusBadRequest)
		})
	}
}
