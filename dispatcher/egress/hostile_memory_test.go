package egress_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

// Whatever a receiver sends, an attempt costs little memory. What is measured
// includes the receiver's side of it.
func TestMemoryBound(t *testing.T) {
	line := "X-Filler: " + strings.Repeat("x", 1000) + "\r\n"
	bomb := hostile.GzipBomb()
	tests := []struct {
		name  string
		serve func(*hostile.Session)
		kind  egress.Kind
	}{
		{"endless body", hostile.Flood(hostile.Answer("200 OK", "Content-Length: 9999999999"), strings.Repeat("x", 16<<10)), egress.Acknowledged},
		{"endless chunks", hostile.Flood(hostile.Answer("500 Oops", "Transfer-Encoding: chunked"), "400\r\n"+strings.Repeat("x", 1024)+"\r\n"), egress.HTTPStatus},
		{"endless chunk extension", hostile.Flood(hostile.Answer("200 OK", "Transfer-Encoding: chunked")+"1;", strings.Repeat("x", 1024)), egress.Acknowledged},
		{"endless trailer", hostile.Flood(hostile.Answer("200 OK", "Transfer-Encoding: chunked")+"0\r\n", line), egress.Acknowledged},
		{"gzip bomb", hostile.Once(hostile.Answer("200 OK", "Content-Encoding: gzip", "Connection: close") + bomb), egress.Acknowledged},
		{"failed gzip bomb", hostile.Once(hostile.Answer("500 Oops", "Content-Encoding: gzip", "Connection: close") + bomb), egress.HTTPStatus},
		{"endless header", hostile.Flood("HTTP/1.1 200 OK\r\n", line), egress.Acknowledged},
		{"header of 33 KiB", hostile.Once(hostile.Answer("200 OK", strings.Repeat(line, 33)+"Content-Length: 0")), egress.Acknowledged},
		{"many header names", hostile.Flood("HTTP/1.1 200 OK\r\n", "a:\r\n"), egress.Acknowledged},
		{"endless header line", hostile.Flood("HTTP/1.1 200 OK\r\nX: ", strings.Repeat("x", 1024)), egress.Acknowledged},
		{"endless status line", hostile.Flood("HTTP/1.1 200 ", strings.Repeat("x", 1024)), egress.ResponseInvalid},
		{"flood of 1xx", hostile.Flood("", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100)), egress.ResponseInvalid},
		{"flood of 100", hostile.Flood("", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100)), egress.ResponseInvalid},
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
	r := listenTLS(t, goodTLS(), hostile.Once(hostile.Answer("200 OK", strings.Repeat(line, 30)+"Content-Length: 0")))
	wantKind(t, post(t, newClient(t), newRequest(r.url())), egress.Acknowledged)
}
