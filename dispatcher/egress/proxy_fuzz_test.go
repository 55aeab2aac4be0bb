package egress_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

// FuzzProxy: whatever bytes a proxy answers, a request ends in time, in little memory,
// with no goroutine left, and nothing of the endpoint's is made up: it is the proxy's
// fault, or what the proxy said, or no TLS session by its way.
func FuzzProxy(f *testing.F) {
	for _, seed := range []string{
		"", hostile.OK200, hostile.Answer("407 No", `Proxy-Authenticate: Basic realm="x"`), hostile.Answer("503 No", "Content-Length: 9000000"),
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n\x15\x03\x01\x00\x02\x02\x28", "HTTP/1.1 101 x\r\n\r\n",
		"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x01\xbb", "\x05\x02\x01\x00\x05\x05\x00\x03\xff", "\x05\xff", "\x05\x00\x05\x00\x00\x09",
	} {
		f.Add(true, []byte(seed))
		f.Add(false, []byte(seed))
	}
	texts := make(chan []byte, 1)
	r := listen(f, "127.0.0.1", func(_ *receiver, conn net.Conn) {
		_, _ = conn.Write(<-texts)
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	})
	idle := runtime.NumGoroutine()
	f.Fuzz(func(t *testing.T, http bool, text []byte) {
		scheme := "socks5"
		if http {
			scheme = "http"
		}
		texts <- bytes.Clone(text)
		c := proxied(t, urlOf(scheme, r.addr, true), nil)
		memory := allocated()
		res := postWithin(t, c, testRequest("https://203.0.113.7/"), 5*time.Second)
		switch {
		case res.Kind == egress.NoWayOut, res.Kind == egress.TLSFailed:
		case res.ByProxy && (res.Kind == egress.ConnectFailed || res.Kind == egress.DestinationRefused):
		default:
			t.Errorf("kind %v, by proxy %v (%v), want one that a proxy's bytes can cause", res.Kind, res.ByProxy, res.Err)
		}
		if strings.Contains(res.Err.Error(), "canary") {
			t.Errorf("error %v, want one without the password", res.Err)
		}
		wantBounded(t, c, memory, idle, len(text))
	})
}
