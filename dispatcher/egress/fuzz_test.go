package egress_test

import (
	"bytes"
	"net"
	"runtime"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

// FuzzAnswer: whatever bytes a receiver answers, an attempt ends in time, in
// little memory, with no goroutine left, and with a kind that agrees with its
// status. Two attempts, as the first may leave its connection to the second.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"", hostile.OK200, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx", "HTTP/1.1 000 x\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.0 500 x\r\n\r\nbody", hostile.OK200 + hostile.OK200,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 429 x\r\nRetry-After: 99999999999999999999\r\nContent-Length: 1\r\n\r\nx", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"HTTP/1.1 500 x\r\nContent-Length: 9000000\r\n\r\nx", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", "\x15\x03\x01\x00\x02\x02\x28",
	} {
		f.Add([]byte(seed))
	}
	answers := make(chan []byte, 1)
	cfg := goodTLS()
	r := listenTLS(f, cfg, func(s *hostile.Session) {
		text := <-answers
		answers <- text
		if s.Request() == nil {
			return
		}
		s.Say(string(text))
		_ = s.CloseWrite()
		_ = s.SetReadDeadline(time.Now().Add(5 * time.Second))
		s.Hang()
	})
	answers <- nil
	idle := runtime.NumGoroutine()
	f.Fuzz(func(t *testing.T, text []byte) {
		<-answers
		answers <- bytes.Clone(text)
		c := newClient(t)
		memory := allocated()
		for range 2 {
			checkResult(t, postWithin(t, c, newRequest(r.url()), 5*time.Second))
		}
		wantBounded(t, c, memory, idle, len(text))
	})
}

// allocated is how much memory was asked for so far, given back or not.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// wantBounded fails the test if the attempts since then took much memory, the
// receiver's copies of its answer aside, or if a goroutine is left of them once
// the client is closed.
func wantBounded(t *testing.T, c *egress.Client, before uint64, idle, answer int) {
	t.Helper()
	if got, bound := allocated()-before, uint64(4<<20+8*answer); got > bound {
		t.Errorf("allocated %d bytes for an answer of %d, want at most %d", got, answer, bound)
	}
	c.Close()
	idle += 4 // this test, and what the fuzzing engine runs beside it
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > idle; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("goroutines: got %d, want %d\n%s", runtime.NumGoroutine(), idle, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func checkResult(t *testing.T, res egress.Result) {
	t.Helper()
	success := res.StatusCode >= 200 && res.StatusCode <= 299
	if n := utf8.RuneCountInString(res.Header); n > 1024 || !utf8.ValidString(res.Header) || success && n > 0 {
		t.Errorf("%v with a header of %d characters, want at most 1024, of UTF-8, and none of a success: %q", res.Kind, n, res.Header)
	}
	switch res.Kind {
	case egress.Acknowledged:
		if !success || len(res.Excerpt) != 0 {
			t.Errorf("ACKNOWLEDGED with status %d and an excerpt of %d bytes, want 2xx and none", res.StatusCode, len(res.Excerpt))
		}
	case egress.HTTPStatus:
		if success || res.StatusCode < 200 || len(res.Excerpt) > 1024 {
			t.Errorf("HTTP_STATUS with status %d and an excerpt of %d bytes, want another than 2xx and at most 1024", res.StatusCode, len(res.Excerpt))
		}
	case egress.ConnectionLost, egress.ResponseInvalid:
	default:
		t.Errorf("kind %v (%v), want one that bytes can cause", res.Kind, res.Err)
	}
}

// FuzzHandshake: the same for what comes in the place of TLS.
func FuzzHandshake(f *testing.F) {
	for _, seed := range []string{"", hostile.OK200, "\x15\x03\x01\x00\x02\x02\x28", "\x16\x03\x03\x00\x04\x02\x00\x00\x00", "\x16\x03\x03\xff\xff"} {
		f.Add([]byte(seed))
	}
	texts := make(chan []byte, 1)
	r := listen(f, "127.0.0.1", func(_ *receiver, conn net.Conn) {
		text := <-texts
		buf := make([]byte, 4096)
		_, _ = conn.Read(buf)
		_, _ = conn.Write(text)
	})
	idle := runtime.NumGoroutine()
	f.Fuzz(func(t *testing.T, text []byte) {
		texts <- bytes.Clone(text)
		c := newClient(t)
		memory := allocated()
		wantKind(t, postWithin(t, c, newRequest(r.url()), 5*time.Second), egress.TLSFailed)
		wantBounded(t, c, memory, idle, len(text))
	})
}
