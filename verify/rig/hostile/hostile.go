// Package hostile has receivers of callbacks that misbehave on a connection. The
// tests of egress and the fault tests share it.
//
// It leaves out failures of TCP and TLS, and how a sender should judge what it
// gets.
package hostile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"time"
)

// OK200 is a good answer.
const OK200 = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// Answer is one with a status line and header lines, up to its body.
func Answer(status string, headers ...string) string {
	return "HTTP/1.1 " + status + "\r\n" + strings.Join(append(headers, "", ""), "\r\n")
}

// Session is one TLS connection from a sender.
type Session struct {
	*tls.Conn
	In *bufio.Reader // of what the sender says
	// Requested is told of each request that was read; may be nil.
	Requested func()
}

// Request reads one request whole; nil: the connection ended.
func (s *Session) Request() *http.Request {
	req, err := http.ReadRequest(s.In)
	if err != nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return nil
	}
	if s.Requested != nil {
		s.Requested()
	}
	return req
}

// Say writes text; a receiver does not care whether it is heard.
func (s *Session) Say(text string) bool {
	_, err := io.WriteString(s, text)
	return err == nil
}

// Hang waits until the connection ends.
func (s *Session) Hang() { _, _ = io.Copy(io.Discard, s.In) }

// Behaviour owns a session until it returns; then the connection is closed.
type Behaviour func(*Session)

// Answering gives each request the same answer.
func Answering(answer string) Behaviour {
	return func(s *Session) {
		for s.Request() != nil && s.Say(answer) {
		}
	}
}

// Once answers one request with raw bytes and closes.
func Once(answer string) Behaviour {
	return func(s *Session) {
		if s.Request() != nil {
			s.Say(answer)
		}
	}
}

// Drip answers slowly, without end.
func Drip(start, each string) Behaviour {
	return func(s *Session) {
		s.Request()
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			s.Hang()
		}()
		for said := s.Say(start); said; said = s.Say(each) {
			select {
			case <-gone:
				return
			case <-time.After(10 * time.Millisecond): // the receiver's pace, not the test's
			}
		}
		<-gone
	}
}

// Flood sends start and then each for as long as the sender listens.
func Flood(start, each string) Behaviour {
	return func(s *Session) {
		s.Request()
		for ok := s.Say(start); ok; ok = s.Say(each) {
		}
	}
}

// Reset breaks the connection off after a request and what is said to it.
func Reset(answer string) Behaviour {
	return func(s *Session) {
		s.Request()
		s.Say(answer)
		if tcp, ok := s.NetConn().(interface{ SetLinger(sec int) error }); ok {
			_ = tcp.SetLinger(0)
		}
		_ = s.NetConn().Close()
	}
}

// GzipBomb is 32 KiB that become 32 MiB.
func GzipBomb() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 32 {
		_, _ = z.Write(zeros) // a buffer takes all
	}
	_ = z.Close()
	return b.String()
}
