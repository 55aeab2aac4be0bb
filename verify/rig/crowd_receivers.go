package rig

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/recapito/recapito/verify/rig/hostile"
)

// crowdReceiver is one way to be hostile: below TLS, in it, or above.
type crowdReceiver struct {
	name  string
	raw   func(net.Conn)          // below
	spoil func(*x509.Certificate) // in
	tls   func(*tls.Config)
	serve hostile.Behaviour // above
}

// crowd are all but two of the sixty. The other two are ways not to be there at
// all.
func crowd() []crowdReceiver {
	all := append(append(belowTLS(), inTLS()...), aboveTLS()...)
	// The same with the older TLS, whose connections resume and end otherwise.
	for _, r := range aboveTLS()[:olderTLS] {
		r.name += ", TLS 1.2"
		r.tls = func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
		all = append(all, r)
	}
	return all
}

// raw answers whatever comes first, then waits for the end.
func raw(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, text)
		_, _ = io.Copy(io.Discard, c)
	}
}

func belowTLS() []crowdReceiver {
	return []crowdReceiver{
		{name: "accepts and is silent", raw: raw("")},
		{name: "closes at once", raw: func(net.Conn) {}},
		{name: "resets at once", raw: func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }},
		{name: "half a record of TLS", raw: raw("\x16\x03\x03\x40\x00\x02")},
		{name: "plain HTTP", raw: raw(hostile.OK200)},
		{name: "SSH", raw: raw("SSH-2.0-OpenSSH_9.6\r\n")},
		{name: "endless garbage instead of TLS", raw: func(c net.Conn) {
			for garbage := make([]byte, 4096); ; {
				if _, err := c.Write(garbage); err != nil {
					return
				}
			}
		}},
	}
}

func inTLS() []crowdReceiver {
	ok := hostile.Answering(hostile.OK200)
	return []crowdReceiver{
		{name: "expired", serve: ok, spoil: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }},
		{name: "not yet valid", serve: ok, spoil: func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }},
		{name: "wrong host", serve: ok, spoil: func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 9, 9, 9)} }},
		{name: "wrong use", serve: ok, spoil: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }},
		{name: "20,000 names", serve: ok, spoil: func(c *x509.Certificate) {
			for i := range 20_000 {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("a%d.example.com", i))
			}
		}},
		{name: "self-signed", serve: ok, tls: selfSigned},
		{name: "TLS 1.1", serve: ok, tls: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }},
		{name: "client certificate wanted", serve: ok, tls: func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }},
	}
}

// selfSigned replaces the certificate by one that another authority signed:
// nobody's root.
func selfSigned(c *tls.Config) {
	if other, err := newAuthority(); err == nil {
		c.Certificates = []tls.Certificate{{Certificate: [][]byte{other.cert.Raw}, PrivateKey: other.key}}
	}
}

// olderTLS is how many of aboveTLS there are with the older TLS as well.
const olderTLS = 9

func aboveTLS() []crowdReceiver {
	line := "X-Filler: " + strings.Repeat("x", 1000) + "\r\n"
	chunked, long := "Transfer-Encoding: chunked", "Content-Length: 9999999999"
	kilobyte := strings.Repeat("x", 1024)
	late := func(s *hostile.Session) { s.Request(); time.Sleep(11 * time.Second); s.Say(hostile.OK200) }
	return []crowdReceiver{
		{name: "hangs before the header", serve: func(s *hostile.Session) { s.Request(); s.Hang() }},
		{name: "drips its header", serve: hostile.Drip("HTTP/1.1 200 OK\r\n", "X: y\r\n")},
		{name: "drips a 200's body", serve: hostile.Drip(hostile.Answer("200 OK", long), "x")},
		{name: "endless body", serve: hostile.Flood(hostile.Answer("200 OK", long), strings.Repeat("x", 16<<10))},
		{name: "endless header", serve: hostile.Flood("HTTP/1.1 200 OK\r\n", line)},
		{name: "flood of 1xx", serve: hostile.Flood("", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100))},
		{name: "closes before the status", serve: hostile.Once("")},
		{name: "resets before the status", serve: hostile.Reset("")},
		{name: "closes a used connection", serve: func(s *hostile.Session) { s.Request(); s.Say(hostile.OK200); s.Request() }},
		// So far with TLS 1.2 as well.
		{name: "drips its status", serve: hostile.Drip("H", "")},
		{name: "drips 1xx", serve: hostile.Drip("", "HTTP/1.1 102 Processing\r\n\r\n")},
		{name: "drips a 500's body", serve: hostile.Drip(hostile.Answer("500 Oops", long), "x")},
		{name: "hangs in the body", serve: hostile.Drip(hostile.Answer("200 OK", "Content-Length: 10"), "")},
		{name: "200 after the deadline", serve: late},
		{name: "endless chunks", serve: hostile.Flood(hostile.Answer("500 Oops", chunked), "400\r\n"+kilobyte+"\r\n")},
		{name: "endless trailer", serve: hostile.Flood(hostile.Answer("200 OK", chunked)+"0\r\n", line)},
		{name: "many header names", serve: hostile.Flood("HTTP/1.1 200 OK\r\n", "a:\r\n")},
		{name: "endless status line", serve: hostile.Flood("HTTP/1.1 200 ", kilobyte)},
		{name: "gzip bomb", serve: hostile.Answering(hostile.Answer("200 OK", "Content-Encoding: gzip", "Connection: close") + hostile.GzipBomb())},
		{name: "undrained body", serve: hostile.Answering(hostile.Answer("200 OK", "Content-Length: 102400") + strings.Repeat(kilobyte, 100))},
		{name: "truncated 200", serve: hostile.Once(hostile.Answer("200 OK", "Content-Length: 100") + "short")},
		{name: "broken chunks", serve: hostile.Once(hostile.Answer("200 OK", chunked) + "zz\r\n")},
		{name: "204 with a body", serve: hostile.Answering(hostile.Answer("204 No Content", "Content-Length: 4") + "body")},
		{name: "000", serve: hostile.Answering(hostile.Answer("000 None", "Content-Length: 0"))},
		{name: "101", serve: hostile.Answering(hostile.Answer("101 Switching Protocols", "Upgrade: x", "Connection: upgrade"))},
		{name: "999", serve: hostile.Answering(hostile.Answer("999 Blocked", "Content-Length: 0"))},
		{name: "garbage", serve: hostile.Answering("\x00\xff\x80garbage\r\n\r\n")},
		{name: "two lengths", serve: hostile.Answering(hostile.Answer("200 OK", "Content-Length: 1", "Content-Length: 2") + "ab")},
		{name: "resets in the body", serve: hostile.Reset(hostile.Answer("200 OK", "Content-Length: 100") + "short")},
		{name: "redirects", serve: hostile.Answering(hostile.Answer("307 Temporary", "Location: https://127.0.0.1/", "Content-Length: 0"))},
		{name: "Retry-After beyond measure", serve: hostile.Answering(hostile.Answer("503 Busy", "Retry-After: 9223372036854775807", "Content-Length: 0"))},
		{name: "answers twice", serve: func(s *hostile.Session) {
			s.Request()
			s.Say(hostile.OK200 + hostile.Answer("410 Gone", "Content-Length: 0"))
			s.Hang()
		}},
		{name: "answers unasked later", serve: func(s *hostile.Session) {
			s.Request()
			s.Say(hostile.OK200)
			time.Sleep(100 * time.Millisecond)
			s.Say(hostile.Answer("410 Gone", "Content-Length: 0"))
			s.Hang()
		}},
		{name: "HTTP/2", serve: hostile.Answering("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
	}
}
