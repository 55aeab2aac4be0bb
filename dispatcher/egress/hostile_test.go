package egress_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

func TestAnswers(t *testing.T) {
	chunked := "Transfer-Encoding: chunked"
	tests := []struct {
		name   string
		answer string
		kind   egress.Kind
		status int
	}{
		{"200", hostile.OK200, egress.Acknowledged, 200},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nfine", egress.Acknowledged, 200},
		{"truncated 200", hostile.Answer("200 OK", "Content-Length: 100") + "short", egress.Acknowledged, 200},
		{"broken chunks after 200", hostile.Answer("200 OK", chunked) + "zz\r\n", egress.Acknowledged, 200},
		{"204 with a body", hostile.Answer("204 No Content", "Content-Length: 4") + "body", egress.Acknowledged, 204},
		{"205", hostile.Answer("205 Reset Content", "Content-Length: 4") + "body", egress.Acknowledged, 205},
		{"299", hostile.Answer("299 Fine", "Content-Length: 0"), egress.Acknowledged, 299},
		{"200 without a reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", egress.Acknowledged, 200},
		{"100, then 200", hostile.Answer("100 Continue") + hostile.OK200, egress.Acknowledged, 200},
		{"103, then 200", hostile.Answer("103 Early Hints", "Link: </x>") + hostile.OK200, egress.Acknowledged, 200},
		{"000", hostile.Answer("000 None", "Content-Length: 0"), egress.ResponseInvalid, 0},
		{"099", hostile.Answer("099 Low", "Content-Length: 0"), egress.ResponseInvalid, 0},
		{"101", hostile.Answer("101 Switching Protocols", "Upgrade: x", "Connection: upgrade"), egress.ResponseInvalid, 101},
		{"999", hostile.Answer("999 Blocked", "Content-Length: 0"), egress.HTTPStatus, 999},
		{"300", hostile.Answer("300 Choices", "Content-Length: 0"), egress.HTTPStatus, 300},
		{"304", hostile.Answer("304 Not Modified"), egress.HTTPStatus, 304},
		{"401", hostile.Answer("401 Unauthorized", "WWW-Authenticate: Basic", "Content-Length: 0"), egress.HTTPStatus, 401},
		{"407", hostile.Answer("407 Proxy", "Proxy-Authenticate: Basic", "Content-Length: 0"), egress.HTTPStatus, 407},
		{"408", hostile.Answer("408 Request Timeout", "Connection: close"), egress.HTTPStatus, 408},
		{"410", hostile.Answer("410 Gone", "Content-Length: 0"), egress.HTTPStatus, 410},
		{"421", hostile.Answer("421 Misdirected", "Content-Length: 0"), egress.HTTPStatus, 421},
		{"503", hostile.Answer("503 Busy", "Content-Length: 0"), egress.HTTPStatus, 503},
		{"closed before the status", "", egress.ConnectionLost, 0},
		{"closed after the status", "HTTP/1.1 200 OK\r\n", egress.ConnectionLost, 0},
		{"closed after a header line", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", egress.ConnectionLost, 0},
		{"closed in the status", "HTTP/1.1 2", egress.ConnectionLost, 0},
		{"closed in a header line", "HTTP/1.1 200 OK\r\nContent-Le", egress.ConnectionLost, 0},
		{"garbage", "\x00\xff\x80garbage\r\n\r\n", egress.ResponseInvalid, 0},
		{"two-digit status", "HTTP/1.1 20 OK\r\n\r\n", egress.ResponseInvalid, 0},
		{"negative status", "HTTP/1.1 -20 OK\r\n\r\n", egress.ResponseInvalid, 0},
		{"another protocol", "ICY 200 OK\r\n\r\n", egress.ResponseInvalid, 0},
		{"SSH", "SSH-2.0-OpenSSH_9.6\r\n", egress.ResponseInvalid, 0},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", egress.ResponseInvalid, 0},
		{"HTTP/2 frames", "\x00\x00\x00\x04\x00\x00\x00\x00\x00\r\n\r\n", egress.ResponseInvalid, 0},
		{"plus sign in the status", "HTTP/1.1 +20 OK\r\n\r\n", egress.ResponseInvalid, 0},
		{"four-digit status", "HTTP/1.1 2000 OK\r\n\r\n", egress.ResponseInvalid, 0},
		{"status with letters", "HTTP/1.1 2xx OK\r\n\r\n", egress.ResponseInvalid, 0},
		{"no version", "HTTP/ 200 OK\r\n\r\n", egress.ResponseInvalid, 0},
		{"050, then 200", hostile.Answer("050 None") + hostile.OK200, egress.ResponseInvalid, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := listenTLS(t, goodTLS(), hostile.Once(tt.answer))
			res := post(t, newClient(t), newRequest(r.url()))
			if res.Kind != tt.kind || res.StatusCode != tt.status {
				t.Errorf("Post: %v %d (%v), want %v %d", res.Kind, res.StatusCode, res.Err, tt.kind, tt.status)
			}
			if got := r.requests.Load(); got != 1 {
				t.Errorf("requests received: %d, want 1", got)
			}
		})
	}
}

// The status line says what became of the event. What the header says wrong
// costs the connection, never the answer.
func TestStatusLineDecidesWhateverTheHeaderSays(t *testing.T) {
	line := "X-Filler: " + strings.Repeat("x", 1000)
	for name, header := range map[string][]string{
		"unknown coding":             {"Transfer-Encoding: gzip"},
		"identity":                   {"Transfer-Encoding: identity"},
		"chunked twice":              {"Transfer-Encoding: chunked", "Transfer-Encoding: chunked"},
		"chunked twice in a line":    {"Transfer-Encoding: chunked, chunked"},
		"chunked and a length":       {"Transfer-Encoding: chunked", "Content-Length: 0"},
		"empty coding":               {"Transfer-Encoding:"},
		"two lengths":                {"Content-Length: 1", "Content-Length: 2"},
		"a list of lengths":          {"Content-Length: 0, 0"},
		"negative length":            {"Content-Length: -1"},
		"huge length":                {"Content-Length: 99999999999999999999"},
		"words of a TLS error":       {"Content-Length: tls: x509: no"},
		"words of a lost connection": {"Content-Length: server closed idle connection"},
		"no colon":                   {"no colon", "Content-Length: 0"},
		"a name that is no token":    {"X Y: z", "Content-Length: 0"},
		"no name":                    {": z", "Content-Length: 0"},
		"space before the colon":     {"Content-Length : 0"},
		"line folded at once":        {" folded", "Content-Length: 0"},
		"line folded later":          {"X: y", "\tz", "Content-Length: 0"},
		"bytes that are no text":     {"X: a\x00b\x7f", "Content-Length: 0"},
		"lone CR":                    {"X: a\rContent-Length: 5", "Content-Length: 0"},
		"long coding":                {"Transfer-Encoding: chunked" + strings.Repeat(" ", 5000) + "x"},
		"too large":                  {strings.Repeat(line+"\r\n", 40) + "Content-Length: 0"},
	} {
		for status, want := range map[string]egress.Kind{
			"200 OK": egress.Acknowledged, "204 No Content": egress.Acknowledged, "503 Busy": egress.HTTPStatus, "304 Not Modified": egress.HTTPStatus,
		} {
			t.Run(name+" "+status, func(t *testing.T) {
				t.Parallel()
				r := listenTLS(t, goodTLS(), hostile.Answering(hostile.Answer(status, header...)))
				c := newClient(t)
				for range 2 {
					res := postWithin(t, c, newRequest(r.url()), 20*time.Second)
					if res.Kind != want || fmt.Sprint(res.StatusCode) != status[:3] {
						t.Errorf("Post: %v %d (%v), want %v %s", res.Kind, res.StatusCode, res.Err, want, status[:3])
					}
				}
				if got := r.conns.Load(); got != 2 {
					t.Errorf("connections for 2 requests: %d, want 2", got)
				}
			})
		}
	}
}

func TestSlowReceivers(t *testing.T) {
	tests := []struct {
		name  string
		serve func(*hostile.Session)
		kind  egress.Kind
	}{
		{"hangs before the header", func(s *hostile.Session) { s.Request(); s.Hang() }, egress.Timeout},
		{"does not read", nil, egress.Timeout},
		{"drips its status", hostile.Drip("H", ""), egress.Timeout},
		{"drips its header", hostile.Drip("HTTP/1.1 200 OK\r\n", "X: y\r\n"), egress.Timeout},
		{"drips 1xx", hostile.Drip("", "HTTP/1.1 102 Processing\r\n\r\n"), egress.Timeout},
		{"drips a 200's body", hostile.Drip(hostile.Answer("200 OK", "Content-Length: 100000"), "x"), egress.Acknowledged},
		{"drips a 500's body", hostile.Drip(hostile.Answer("500 Oops", "Content-Length: 100000"), "x"), egress.HTTPStatus},
		{"hangs in the body", hostile.Drip(hostile.Answer("200 OK", "Content-Length: 10"), ""), egress.Acknowledged},
		{"200 after the deadline", func(s *hostile.Session) { s.Request(); s.Hang(); s.Say(hostile.OK200) }, egress.Timeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			serve, body := tt.serve, []byte("{}")
			if serve == nil {
				serve, body = func(*hostile.Session) { <-t.Context().Done() }, make([]byte, 16<<20) // more than sockets hold
			}
			r := listenTLS(t, goodTLS(), serve)
			req := newRequest(r.url())
			req.Body = body
			if tt.kind == egress.Timeout {
				wantKind(t, postBriefly(t, newClient(t), req, func(res egress.Result) bool { return res.Kind == tt.kind }), tt.kind)
			} else {
				wantKind(t, post(t, newClient(t), req), tt.kind)
			}
			if got := r.requests.Load(); got > 1 {
				t.Errorf("requests received: %d, want at most 1", got)
			}
		})
	}
}

// A slow body keeps the attempt for a second at most, however far its deadline.
func TestSlowBodyEndsEarly(t *testing.T) {
	for _, status := range []string{"200 OK", "500 Oops"} {
		r := listenTLS(t, goodTLS(), hostile.Drip(hostile.Answer(status, "Content-Length: 100000"), "x"))
		start := time.Now()
		res := post(t, newClient(t), newRequest(r.url()))
		if fmt.Sprint(res.StatusCode) != status[:3] {
			t.Errorf("Post: %v %d (%v), want %s", res.Kind, res.StatusCode, res.Err, status)
		}
		if took, limit := time.Since(start), time.Second+slack; took > limit {
			t.Errorf("%s: Post took %v, want at most %v", status, took, limit)
		}
	}
}

// What follows an acknowledgement never makes its endpoint a slow one, which it
// would be after a second: a body that does not let the connection be used
// again is not read at all, one that does is not waited for.
func TestBodyOfAcknowledgementIsNotWaitedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		limit  time.Duration
	}{
		"no length":          {hostile.Answer("200 OK"), drainTime},
		"no length, HTTP/1":  {"HTTP/1.0 200 OK\r\n\r\n", drainTime},
		"closing":            {hostile.Answer("200 OK", "Connection: close", "Content-Length: 10"), drainTime},
		"closing, in a list": {hostile.Answer("200 OK", "Connection: x, Close", "Transfer-Encoding: chunked"), drainTime},
		"too long":           {hostile.Answer("200 OK", "Content-Length: 100000"), drainTime},
		"unknown coding":     {hostile.Answer("200 OK", "Transfer-Encoding: identity"), drainTime},
		"no line end":        {"HTTP/1.1 200 OK\n\n", drainTime},
		"a length":           {hostile.Answer("200 OK", "Content-Length: 10"), time.Second},
		"chunks":             {hostile.Answer("200 OK", "Transfer-Encoding: chunked"), time.Second},
		"no trailer":         {hostile.Answer("200 OK", "Transfer-Encoding: chunked") + "0\r\n", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := listenTLS(t, goodTLS(), hostile.Drip(tt.answer, ""))
			quickest := time.Hour // a busy machine spoils some of them
			for began := time.Now(); quickest >= tt.limit && time.Since(began) < 20*time.Second; {
				c := newClient(t)
				start := time.Now()
				wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
				quickest = min(quickest, time.Since(start))
			}
			if quickest >= tt.limit {
				t.Errorf("the quickest post took %v, want less than %v", quickest, tt.limit)
			}
		})
	}
}

// drainTime is how long the body of an acknowledgement may take.
const drainTime = 250 * time.Millisecond

func TestHandshakeHangs(t *testing.T) {
	mute := func(_ *receiver, c net.Conn) {
		buf := make([]byte, 4096)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}
	r := listen(t, "127.0.0.1", mute)
	wantKind(t, postWithin(t, newClient(t), newRequest(r.url()), brief), egress.TLSFailed)

	c := egress.New(egress.Config{Allow: loopback, RootCAs: testCA().pool, TLSTimeout: 100 * time.Millisecond})
	defer c.Close()
	start := time.Now()
	wantKind(t, post(t, c, newRequest(r.url())), egress.TLSFailed)
	if took := time.Since(start); took > 100*time.Millisecond+slack {
		t.Errorf("TLSTimeout of 100 ms: Post took %v, want at most %v", took, 100*time.Millisecond+slack)
	}
}

// No request is sent where TLS fails.
func TestTLSRefused(t *testing.T) {
	for name, cfg := range map[string]*tls.Config{
		"wrong host": serverTLS(func(c *x509.Certificate) { c.IPAddresses = nil }),
		"20,000 names": serverTLS(func(c *x509.Certificate) {
			for i := range 20_000 {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("a%d.example.com", i))
			}
		}),
		"client certificate": {Certificates: goodTLS().Certificates, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := listenTLS(t, cfg, hostile.Answering(hostile.OK200))
			wantKind(t, post(t, newClient(t), newRequest(r.url())), egress.TLSFailed)
			if got := r.requests.Load(); got != 0 {
				t.Errorf("requests received: %d, want 0", got)
			}
		})
	}
}

func TestResetBeforeStatus(t *testing.T) {
	r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		s.Request()
		_ = s.NetConn().(*net.TCPConn).SetLinger(0)
		_ = s.NetConn().Close()
	})
	wantKind(t, post(t, newClient(t), newRequest(r.url())), egress.ConnectionLost)
	if got := r.requests.Load(); got != 1 {
		t.Errorf("requests received: %d, want 1", got)
	}
}

func TestRedirectNotFollowed(t *testing.T) {
	for _, status := range []string{"301 Moved", "302 Found", "303 Other", "307 Temporary", "308 Permanent"} {
		trap := inside(t)
		r := listenTLS(t, goodTLS(), hostile.Answering(hostile.Answer(status, "Location: https://"+trap.addr+"/", "Content-Length: 0")))
		res := post(t, newClient(t), newRequest(r.url()))
		wantKind(t, res, egress.HTTPStatus)
		if want := status[:3]; fmt.Sprint(res.StatusCode) != want {
			t.Errorf("Post: status %d, want %s", res.StatusCode, want)
		}
		if got := r.requests.Load() + trap.conns.Load(); got != 1 {
			t.Errorf("%s: requests, followed ones included: %d, want 1", status, got)
		}
	}
}

func TestAnswerCarriedBack(t *testing.T) {
	long := strings.Repeat("é", 2000)
	tests := []struct{ name, answer, retryAfter, excerpt string }{
		{"raw Retry-After", hostile.Answer("503 Busy", "Retry-After: 9223372036854775807", "Content-Length: 0"), "9223372036854775807", ""},
		{"a date", hostile.Answer("429 Slow", "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT", "Content-Length: 0"), "Wed, 21 Oct 2026 07:28:00 GMT", ""},
		{"nonsense", hostile.Answer("503 Busy", "Retry-After: -1 soon", "Content-Length: 0"), "-1 soon", ""},
		{"short body", hostile.Answer("500 Oops", "Content-Length: 5") + "error", "", "error"},
		{"long body", hostile.Answer("500 Oops", fmt.Sprintf("Content-Length: %d", len(long))) + long, "", long[:1024]},
		{"truncated body", hostile.Answer("500 Oops", "Content-Length: 50") + "err", "", "err"},
		{"body of a 200", hostile.Answer("200 OK", "Content-Length: 5") + "hello", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := listenTLS(t, goodTLS(), hostile.Once(tt.answer))
			res := post(t, newClient(t), newRequest(r.url()))
			if res.RetryAfter != tt.retryAfter {
				t.Errorf("RetryAfter = %q, want %q", res.RetryAfter, tt.retryAfter)
			}
			if string(res.Excerpt) != tt.excerpt {
				t.Errorf("Excerpt = %.40q… (%d bytes), want %.40q… (%d bytes)", res.Excerpt, len(res.Excerpt), tt.excerpt, len(tt.excerpt))
			}
		})
	}
}

// What a redirect names is told, as text that can be shown, and not followed.
func TestLocationOfARedirect(t *testing.T) {
	long := "https://example.com/" + strings.Repeat("x", 3000)
	for name, tt := range map[string]struct{ answer, want string }{
		"a redirect":      {hostile.Answer("301 Moved", "Location: https://example.com/?a=b", "Content-Length: 0"), "https://example.com/?a=b"},
		"lower case":      {hostile.Answer("308 Moved", "location:/new ", "Content-Length: 0"), "/new"},
		"long":            {hostile.Answer("302 Found", "Location: "+long, "Content-Length: 0"), long[:2048]},
		"longer":          {hostile.Answer("302 Found", "Location: "+strings.Repeat(long, 5), "Content-Length: 0"), long[:2048]},
		"not to be shown": {hostile.Answer("302 Found", "Location: /\xff\u202e\u009b\u00e9", "Content-Length: 0"), "/\ufffd\ufffd\ufffd\u00e9"},
		"none":            {hostile.Answer("301 Moved", "Content-Length: 0"), ""},
		"of a success":    {hostile.Answer("201 Created", "Location: /new", "Content-Length: 0"), ""},
		"of a failure":    {hostile.Answer("500 Oops", "Location: /new", "Content-Length: 0"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := listenTLS(t, goodTLS(), hostile.Once(tt.answer))
			if res := post(t, newClient(t), newRequest(r.url())); res.Location != tt.want {
				t.Errorf("Location = %q, want %q", res.Location, tt.want)
			}
		})
	}
}

// The header of a failed answer is told, as text that can be shown and without
// what opens something of the receiver's.
func TestHeaderOfAFailedAnswer(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for name, tt := range map[string]struct{ answer, want string }{
		"of a failure":    {hostile.Answer("503 Busy", "Server: s", "Date:d", "Content-Length: 0"), "HTTP/1.1 503 Busy\nServer: s\nDate:d\nContent-Length: 0"},
		"of a redirect":   {hostile.Answer("301 Moved", "Location: /new", "Content-Length: 0"), "HTTP/1.1 301 Moved\nLocation: /new\nContent-Length: 0"},
		"of a success":    {hostile.Answer("201 Created", "Server: s", "Content-Length: 0"), ""},
		"after others":    {"HTTP/1.1 102 Processing\r\nA: b\r\n\r\n" + hostile.Answer("500 Oops", "Content-Length: 0"), "HTTP/1.1 500 Oops\nContent-Length: 0"},
		"of a switch":     {"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 101 Switching\nUpgrade: x"},
		"long":            {hostile.Answer("500 Oops", "A: "+long, "Content-Length: 0"), "HTTP/1.1 500 Oops\nA: " + long[:1024-21]},
		"longer":          {hostile.Answer("500 Oops", "A: "+strings.Repeat(long, 3), "Content-Length: 0"), "HTTP/1.1 500 Oops\nA: " + long[:1024-21]},
		"of many lines":   {hostile.Answer("500 Oops", strings.Repeat("A: b\r\n", 1000)+"Content-Length: 0"), "HTTP/1.1 500 Oops\n" + strings.Repeat("A: b\n", 1000)[:1024-18]},
		"not to be shown": {hostile.Answer("500 \xffOops\u202e", "A: \u009b\u00e9", "Content-Length: 0"), "HTTP/1.1 500 \ufffdOops\ufffd\nA: \ufffd\u00e9\nContent-Length: 0"},
		"credentials": {hostile.Answer("401 No", "set-cookie: s=1; HttpOnly", "Set-Cookie : s=2", "\ts=3", " s=4", "WWW-Authenticate: Basic", "Proxy-Authorization: s5", "Content-Length: 0"),
			"HTTP/1.1 401 No\nset-cookie: (left out)\nSet-Cookie: (left out)\nWWW-Authenticate: Basic\nProxy-Authorization: (left out)\nContent-Length: 0"},
		"not HTTP":   {"SSH-2.0-OpenSSH\r\n\r\n", "SSH-2.0-OpenSSH"},
		"no status":  {"HTTP/1.1 OK\r\nA: b\r\n\r\n", "HTTP/1.1 OK"},
		"unfinished": {"HTTP/1.1 500 Oops\r\nA: b\r\nC: d", "HTTP/1.1 500 Oops\nA: b\nC: d"},
		"begun":      {"HTTP/1", "HTTP/1"},
		"none":       {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := listenTLS(t, goodTLS(), hostile.Once(tt.answer))
			if res := post(t, newClient(t), newRequest(r.url())); strings.TrimSuffix(tt.want, "\n") != res.Header {
				t.Errorf("Header (-want +got):\n%s", cmp.Diff(strings.TrimSuffix(tt.want, "\n"), res.Header))
			}
		})
	}
}

func TestRequestAsReceived(t *testing.T) {
	got := make(chan *http.Request, 2)
	r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		for req := s.Request(); req != nil; req = s.Request() {
			got <- req
			s.Say(hostile.Answer("200 OK", "Set-Cookie: a=b", "Alt-Svc: h2=\":443\"", "Content-Length: 0"))
		}
	})
	c := newClient(t)
	req := newRequest(r.url() + "?a=b")
	for range 2 {
		wantKind(t, post(t, c, req), egress.Acknowledged)
		in := <-got
		if in.Method != http.MethodPost || in.RequestURI != "/status?a=b" || in.Host != r.addr || in.ContentLength != int64(len(req.Body)) {
			t.Errorf("received %s %s of %s, %d bytes, want POST /status?a=b of %s, %d bytes",
				in.Method, in.RequestURI, in.Host, in.ContentLength, r.addr, len(req.Body))
		}
		for name, want := range map[string]string{"Accept": "*/*", "Accept-Encoding": "identity"} {
			if got := in.Header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("received %s: %q, want %q", name, got, want)
			}
		}
		for _, name := range []string{"Cookie", "Authorization", "Idempotency-Key", "X-Idempotency-Key", "Expect"} {
			if v, ok := in.Header[name]; ok {
				t.Errorf("received %s: %q, want none", name, v)
			}
		}
	}
}
