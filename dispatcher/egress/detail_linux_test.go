package egress_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

// broken is an endpoint that an attempt fails at in one way.
type broken struct {
	name   string
	kind   egress.Kind
	detail egress.Detail
	// open starts it and says where it is, and who resolves its name.
	open func(t *testing.T) (url string, resolver *net.Resolver)
}

func brokenEndpoints() []broken {
	return slices.Concat(brokenNames(), brokenConnections(), brokenHandshakes(), brokenCertificates(), brokenAnswers())
}

// TestEachDetailOfARealBrokenEndpoint: every word of the contract's list is what
// some endpoint makes of an attempt, in the phase in which it breaks.
func TestEachDetailOfARealBrokenEndpoint(t *testing.T) {
	for _, tt := range brokenEndpoints() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := tt.post(t)
			if !tt.made(res) {
				t.Errorf("Post: %v %s (%v), want %v %s", res.Kind, res.Detail, res.Err, tt.kind, tt.detail)
			}
			if res.TimedOut() != tt.timesOut() {
				t.Errorf("TimedOut: %v, want %v", res.TimedOut(), tt.timesOut())
			}
			if got, want := strings.TrimPrefix(happened(res.Phases), "DNS, "), tt.phases(res); got != want {
				t.Errorf("phases: got %s, want %s", got, want)
			}
			if told, want := res.Address != "", tt.kind != egress.DNSFailed && tt.kind != egress.DestinationRefused; told != want {
				t.Errorf("address: got %v, want one: %v", res.Address, want)
			}
		})
	}
}

// post makes an attempt at the endpoint.
func (b broken) post(t *testing.T) egress.Result {
	url, resolver := b.open(t)
	cfg := egress.Config{
		Allow: loopback, Deny: []netip.Prefix{netip.MustParsePrefix("127.9.0.0/16")}, RootCAs: testCA().pool, Resolver: resolver,
		ConnectTimeout: patience, TLSTimeout: patience,
	}
	if b.detail == egress.ClientCertificateRefused {
		_, cfg.Certificate = clientAuthority("ours")
	}
	if b.detail == egress.PortNotAllowed {
		cfg.Ports = []uint16{8443}
	}
	c := egress.New(cfg)
	t.Cleanup(c.Close)
	req := newRequest(url)
	if b.detail == egress.RequestNotRead {
		req.Body = make([]byte, 16<<20) // more than sockets hold
	}
	if b.timesOut() {
		return postBriefly(t, c, req, b.made)
	}
	return post(t, c, req)
}

func (b broken) made(res egress.Result) bool { return res.Kind == b.kind && res.Detail == b.detail }

func (b broken) timesOut() bool {
	return strings.HasSuffix(string(b.detail), "_TIMEOUT") || b.kind == egress.Timeout
}

// phases are those that an attempt at the endpoint has beside that of the name.
// TLS 1.3 refuses some handshakes only when an answer is awaited.
func (b broken) phases(res egress.Result) string {
	switch {
	case b.kind == egress.DNSFailed:
		return "DNS"
	case b.kind == egress.ConnectFailed, b.kind == egress.DestinationRefused:
		return "connect"
	case b.kind == egress.TLSFailed && res.Phases.FirstByte == 0:
		return "connect, TLS"
	}
	return "connect, TLS, first byte"
}

// TestDetailsAreThoseOfTheContract also finds each explained to the holder.
func TestDetailsAreThoseOfTheContract(t *testing.T) {
	var document struct {
		Components struct {
			Schemas struct {
				AttemptDetail struct {
					Enum []string `yaml:"enum"`
				} `yaml:"AttemptDetail"`
			} `yaml:"schemas"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(must(os.ReadFile("../../openapi.yaml")), &document); err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for _, tt := range brokenEndpoints() {
		tried[string(tt.detail)] = true
	}
	var got []string
	for detail := range tried {
		got = append(got, detail)
	}
	slices.Sort(got)
	want := document.Components.Schemas.AttemptDetail.Enum
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("details (-contract +tried):\n%s", diff)
	}
	receiving := string(must(os.ReadFile("../../docs/receiving.md")))
	for _, detail := range want {
		if row := "| `" + detail + "` |"; !strings.Contains(receiving, row) {
			t.Errorf("docs/receiving.md: no row %q, want one that says what to do", row)
		}
	}
}

const named = "https://receiver.example.com/"

func brokenNames() []broken {
	answering := func(rcode dnsmessage.RCode) func(t *testing.T) (string, *net.Resolver) {
		return func(t *testing.T) (string, *net.Resolver) {
			return named, nameServerReplying(t, func(query []byte) []byte {
				var m dnsmessage.Message
				if m.Unpack(query) != nil {
					return nil
				}
				m.Response, m.RecursionAvailable, m.RCode, m.Additionals = true, true, rcode, nil
				return must(m.Pack())
			})
		}
	}
	return []broken{
		{"no such name", egress.DNSFailed, egress.NameNotFound, answering(dnsmessage.RCodeNameError)},
		{"a name without an address", egress.DNSFailed, egress.NameNotFound, answering(dnsmessage.RCodeSuccess)},
		{"name server fails", egress.DNSFailed, egress.DNSServerFailure, answering(dnsmessage.RCodeServerFailure)},
		{"name server refuses", egress.DNSFailed, egress.DNSServerFailure, answering(dnsmessage.RCodeRefused)},
		{"name server is silent", egress.DNSFailed, egress.DNSTimeout, func(t *testing.T) (string, *net.Resolver) {
			return named, nameServerReplying(t, func([]byte) []byte { return nil })
		}},
		{"no name server", egress.DNSFailed, egress.DNSServerFailure, func(*testing.T) (string, *net.Resolver) {
			return named, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", closedPort())
			}}
		}},
		{"a denied network", egress.DestinationRefused, egress.NetworkDenied, at("https://127.9.0.1/")},
		{"a port that is not open", egress.DestinationRefused, egress.PortNotAllowed, at("https://127.0.0.1/")},
		{"a private address", egress.DestinationRefused, egress.AddressNotPublic, func(t *testing.T) (string, *net.Resolver) {
			return named, nameServer(t, func() []string { return []string{"10.0.0.1"} })
		}},
	}
}

func at(url string) func(*testing.T) (string, *net.Resolver) {
	return func(*testing.T) (string, *net.Resolver) { return url, nil }
}

func closedPort() string {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	_ = l.Close()
	return l.Addr().String()
}

func brokenConnections() []broken {
	return []broken{
		{"nothing listens", egress.ConnectFailed, egress.ConnectionRefused, func(*testing.T) (string, *net.Resolver) {
			return "https://" + closedPort() + "/", nil
		}},
		// No connection goes to a broadcast address: there is no way there.
		{"no way there", egress.ConnectFailed, egress.Unreachable, func(*testing.T) (string, *net.Resolver) {
			return "https://127.255.255.255/", nil
		}},
		{"SYN dropped", egress.ConnectFailed, egress.ConnectTimeout, func(t *testing.T) (string, *net.Resolver) {
			addr, end, err := hostile.FullBacklog([4]byte{127, 0, 0, 2})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(end)
			return "https://" + addr + "/", nil
		}},
	}
}

// saying answers the first bytes of a connection with some of its own.
func saying(text string) func(*testing.T) (string, *net.Resolver) {
	return func(t *testing.T) (string, *net.Resolver) {
		r := listen(t, "127.0.0.1", func(_ *receiver, c net.Conn) {
			buf := make([]byte, 4096)
			_, _ = c.Read(buf)
			if text == "" {
				return
			}
			_, _ = c.Write([]byte(text))
			for err := error(nil); err == nil; _, err = c.Read(buf) {
			}
		})
		return r.url(), nil
	}
}

func securing(cfg *tls.Config) func(*testing.T) (string, *net.Resolver) {
	return func(t *testing.T) (string, *net.Resolver) {
		return listenTLS(t, cfg, hostile.Answering(hostile.OK200)).url(), nil
	}
}

func brokenHandshakes() []broken {
	good := func(change func(*tls.Config)) func(*testing.T) (string, *net.Resolver) {
		cfg := goodTLS().Clone()
		change(cfg)
		return securing(cfg)
	}
	mute := func(t *testing.T) (string, *net.Resolver) {
		r := listen(t, "127.0.0.1", func(_ *receiver, c net.Conn) {
			buf := make([]byte, 4096)
			for err := error(nil); err == nil; _, err = c.Read(buf) {
			}
		})
		return r.url(), nil
	}
	// ServerHello of TLS 1.1, from a server that does not look at what is offered.
	hello := "\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02" + strings.Repeat("r", 32) + "\x00\xc0\x09\x00"
	return []broken{
		{"TLS 1.1 at most", egress.TLSFailed, egress.TLSVersion, good(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })},
		{"TLS 1.1 chosen", egress.TLSFailed, egress.TLSVersion, saying(hello)},
		{"no common suite", egress.TLSFailed, egress.TLSCipher, good(func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
		})},
		{"no HTTP", egress.TLSFailed, egress.TLSProtocol, good(func(c *tls.Config) { c.NextProtos = []string{"imap"} })},
		{"host unknown", egress.TLSFailed, egress.TLSServerName, saying("\x15\x03\x03\x00\x02\x02\x70")},
		{"client certificate, TLS 1.2", egress.TLSFailed, egress.ClientCertificateRequired, good(func(c *tls.Config) { c.ClientAuth, c.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12 })},
		{"client certificate, TLS 1.3", egress.TLSFailed, egress.ClientCertificateRequired, good(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })},
		{"client certificate refused", egress.TLSFailed, egress.ClientCertificateRefused, good(func(c *tls.Config) {
			c.ClientAuth, c.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return errors.New("not that one") }
		})},
		{"plain HTTP", egress.TLSFailed, egress.PlainHTTP, saying("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")},
		{"plain HTTP without a header", egress.TLSFailed, egress.PlainHTTP, saying("<!DOCTYPE HTML>\n<html>")},
		{"SSH", egress.TLSFailed, egress.NotTLS, saying("SSH-2.0-OpenSSH_9.6\r\n")},
		{"silent", egress.TLSFailed, egress.HandshakeTimeout, mute},
		{"closed in the handshake", egress.TLSFailed, egress.HandshakeClosed, saying("")},
	}
}

// issue makes a certificate, and its key, as the issuer would; nil: by itself.
func issue(issuer *authority, change func(*x509.Certificate)) *authority {
	template := leafTemplate()
	change(template)
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	if issuer == nil {
		issuer = &authority{cert: template, key: key}
	}
	der := must(x509.CreateCertificate(rand.Reader, template, issuer.cert, key.Public(), issuer.key))
	return &authority{cert: must(x509.ParseCertificate(der)), key: key}
}

func ca(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.Subject.CommonName = true, true, x509.KeyUsageCertSign, name
	}
}

func brokenCertificates() []broken {
	leaf := func(c *x509.Certificate) { c.Subject.CommonName = "receiver.example.com" }
	serving := func(own *authority, chain ...*authority) func(*testing.T) (string, *net.Resolver) {
		cert := tls.Certificate{Certificate: [][]byte{own.cert.Raw}, PrivateKey: own.key}
		for _, c := range chain {
			cert.Certificate = append(cert.Certificate, c.cert.Raw)
		}
		return securing(&tls.Config{Certificates: []tls.Certificate{cert}})
	}
	spoilt := func(change func(*x509.Certificate)) func(*testing.T) (string, *net.Resolver) {
		return securing(serverTLS(change))
	}
	other := issue(nil, ca("other root"))
	otherIssuer := issue(other, ca("other intermediate"))
	issuer := issue(testCA(), ca("intermediate"))
	expired := issue(testCA(), func(c *x509.Certificate) { ca("expired")(c); c.NotAfter = time.Now().Add(-time.Minute) })
	return []broken{
		{"expired", egress.TLSFailed, egress.CertificateExpired, spoilt(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })},
		{"expired intermediate", egress.TLSFailed, egress.CertificateExpired, serving(issue(expired, leaf), expired)},
		{"not yet valid", egress.TLSFailed, egress.CertificateNotYetValid, spoilt(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })},
		{"other name", egress.TLSFailed, egress.CertificateOtherName, spoilt(func(c *x509.Certificate) { c.IPAddresses = nil })},
		{"name in the subject alone", egress.TLSFailed, egress.CertificateOtherName, spoilt(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, nil })},
		{"self-signed", egress.TLSFailed, egress.CertificateSelfSigned, serving(issue(nil, leaf))},
		{"without its intermediate", egress.TLSFailed, egress.CertificateChainIncomplete, serving(issue(issuer, leaf))},
		{"root instead of the intermediate", egress.TLSFailed, egress.CertificateChainIncomplete, serving(issue(issuer, leaf), testCA())},
		{"other authority", egress.TLSFailed, egress.CertificateUnknownAuthority, serving(issue(otherIssuer, leaf), otherIssuer)},
		{"other authority, root sent", egress.TLSFailed, egress.CertificateUnknownAuthority, serving(issue(other, leaf), other)},
		{"for clients", egress.TLSFailed, egress.CertificateInvalid, spoilt(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })},
	}
}

func brokenAnswers() []broken {
	with := func(serve hostile.Behaviour) func(*testing.T) (string, *net.Resolver) {
		return func(t *testing.T) (string, *net.Resolver) { return listenTLS(t, goodTLS(), serve).url(), nil }
	}
	return []broken{
		{"hangs", egress.Timeout, egress.NoAnswer, with(func(s *hostile.Session) { s.Request(); s.Hang() })},
		{"hangs in the header", egress.Timeout, egress.AnswerUnfinished, with(hostile.Drip("HTTP/1.1 200 OK\r\n", ""))},
		{"does not read", egress.Timeout, egress.RequestNotRead, func(t *testing.T) (string, *net.Resolver) {
			return listenTLS(t, goodTLS(), func(*hostile.Session) { <-t.Context().Done() }).url(), nil
		}},
		{"closed", egress.ConnectionLost, egress.ConnectionClosed, with(hostile.Once(""))},
		{"reset", egress.ConnectionLost, egress.ConnectionReset, with(hostile.Reset(""))},
		{"closed in the header", egress.ConnectionLost, egress.AnswerUnfinished, with(hostile.Once("HTTP/1.1 200 OK\r\nA: b\r\n"))},
		{"another protocol", egress.ResponseInvalid, egress.NotHTTP, with(hostile.Once("220 smtp.example.com ready\r\n"))},
		{"HTTP/2", egress.ResponseInvalid, egress.NotHTTP, with(hostile.Once("\x00\x00\x06\x04\x00\x00\x00\x00\x00"))},
		{"status 099", egress.ResponseInvalid, egress.StatusInvalid, with(hostile.Once(hostile.Answer("099 Low")))},
		{"endless 1xx", egress.ResponseInvalid, egress.HeaderTooLarge, with(hostile.Flood("", strings.Repeat(hostile.Answer("102 Processing"), 100)))},
		{"switches protocols", egress.ResponseInvalid, egress.ProtocolSwitched, with(hostile.Once(hostile.Answer("101 Switching Protocols", "Upgrade: x")))},
	}
}
