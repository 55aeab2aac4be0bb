package egress_test

import (
	"bytes"
	"compress/gzip"
	"runtime"
	"strings"
	"testing"

	"github.com/recapito/recapito/dispatcher/egress"
)

// flood sends start and then each for as long as the client listens.
func flood(start, each string) func(*session) {
	return func(s *session) {
		s.request()
		for ok := s.say(start); ok; ok = s.say(each) {
		}
	}
}

func gzipBomb() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 32 {
		must(z.Write(zeros))
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// Whatever a receiver sends, an attempt costs little memory. What is measured
// includes the receiver's side of it.
func TestMemoryBound(t *testing.T) {
	line := "X-Filler: " + strings.Repeat("x", 1000) + "\r\n"
	bomb := gzipBomb()
	tests := []struct {
		name  string
		serve func(*session)
		kind  egress.Kind
	}{
		{"endless body", flood(answer("200 OK", "Content-Length: 9999999999"), strings.Repeat("x", 16<<10)), egress.Acknowledged},
		{"endless chunks", flood(answer("500 Oops", "Transfer-Encoding: chunked"), "400\r\n"+strings.Repeat("x", 1024)+"\r\n"), egress.HTTPStatus},
		{"endless chunk extension", flood(answer("200 OK", "Transfer-Encoding: chunked")+"1;", strings.Repeat("x", 1024)), egress.Acknowledged},
		{"endless trailer", flood(answer("200 OK", "Transfer-Encoding: chunked")+"0\r\n", line), egress.Acknowledged},
		{"gzip bomb", once(answer("200 OK", "Content-Encoding: gzip", "Connection: close") + bomb), egress.Acknowledged},
		{"failed gzip bomb", once(answer("500 Oops", "Content-Encoding: gzip", "Connection: close") + bomb), egress.HTTPStatus},
		{"endless header", flood("HTTP/1.1 200 OK\r\n", line), egress.ResponseInvalid},
		{"header of 33 KiB", once(answer("200 OK", strings.Repeat(line, 33)+"Content-Length: 0")), egress.ResponseInvalid},
		{"many header names", flood("HTTP/1.1 200 OK\r\n", "a:\r\n"), egress.ResponseInvalid},
		{"endless header line", flood("HTTP/1.1 200 OK\r\nX: ", strings.Repeat("x", 1024)), egress.ResponseInvalid},
		{"endless status line", flood("HTTP/1.1 200 ", strings.Repeat("x", 1024)), egress.ResponseInvalid},
		{"flood of 1xx", flood("", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100)), egress.ResponseInvalid},
		{"flood of 100", flood("", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100)), egress.ResponseInvalid},
	}
	const bound = 8 << 20
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := listenTLS(t, goodTLS(), tt.serve)
			c := newClient(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			res := post(t, c, newRequest(r.url()))
			runtime.ReadMemStats(&after)
			wantKind(t, res, tt.kind)
			if got := after.TotalAlloc - before.TotalAlloc; got > bound {
				t.Errorf("allocated %d bytes, want at most %d", got, bound)
			}
			if strings.HasPrefix(tt.name, "failed gzip") && !strings.HasPrefix(string(res.Excerpt), "\x1f\x8b") {
				t.Errorf("excerpt %.10q…, want the gzip header, not decompressed", res.Excerpt)
			}
			if len(res.Excerpt) > 1024 {
				t.Errorf("excerpt of %d bytes, want at most 1024", len(res.Excerpt))
			}
		})
	}
}

func TestHeaderBelowLimit(t *testing.T) {
	line := "X-Filler: " + strings.Repeat("x", 1000) + "\r\n"
	r := listenTLS(t, goodTLS(), once(answer("200 OK", strings.Repeat(line, 30)+"Content-Length: 0")))
	wantKind(t, post(t, newClient(t), newRequest(r.url())), egress.Acknowledged)
}
