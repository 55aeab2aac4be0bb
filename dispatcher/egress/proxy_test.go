package egress_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/things-go/go-socks5"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

const (
	proxyUser     = "recapito"
	proxyPassword = "canary:p@ss" // with what a URL has to escape
)

// relay is a proxy that works: HTTP's or SOCKS's, with a password or without.
type relay struct {
	*receiver
	mu    sync.Mutex
	asked []string // for these ways
	names map[string]string
}

func (r *relay) ask(to string) (at string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, to)
	host, port, _ := net.SplitHostPort(to)
	if known := r.names[host]; known != "" {
		return net.JoinHostPort(known, port)
	}
	return to
}

func (r *relay) took() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

// proxied is a client by the proxy. change may be nil.
func proxied(t testing.TB, url string, change func(*egress.Config)) *egress.Client {
	t.Helper()
	cfg := egress.Config{Allow: append(slices.Clone(loopback), netip.MustParsePrefix("203.0.113.0/24")), RootCAs: testCA().pool, ConnectTimeout: patience, TLSTimeout: patience}
	var err error
	if cfg.Proxy, err = egress.ParseProxy(url); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&cfg)
	}
	c := egress.New(cfg)
	t.Cleanup(c.Close)
	return c
}

// connecting is a proxy of HTTP.
func connecting(t testing.TB, secure, locked bool) (*relay, string) {
	t.Helper()
	r := &relay{names: map[string]string{"receiver.example.com": "127.0.0.1"}}
	serve := func(c net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(proxyUser+":"+proxyPassword))
		if locked && req.Header.Get("Proxy-Authorization") != want {
			_, _ = io.WriteString(c, hostile.Answer("407 Who are you", `Proxy-Authenticate: Basic realm="proxy"`, "Content-Length: 0"))
			return
		}
		to, err := new(net.Dialer).DialContext(context.Background(), "tcp", r.ask(req.Host))
		if req.Method != http.MethodConnect || err != nil {
			_, _ = io.WriteString(c, hostile.Answer("502 Bad Gateway"))
			return
		}
		defer func() { _ = to.Close() }()
		_, _ = io.WriteString(c, hostile.Answer("200 Connection established"))
		var copying sync.WaitGroup
		copying.Go(func() { _, _ = io.Copy(to, c); _ = to.Close() })
		copying.Go(func() { _, _ = io.Copy(c, to); _ = c.Close() })
		copying.Wait()
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	r.receiver = listen(t, "127.0.0.1", func(_ *receiver, c net.Conn) {
		if secure {
			c = tls.Server(c, goodTLS())
		}
		serve(c)
	})
	return r, urlOf(scheme, r.addr, locked)
}

func urlOf(scheme, addr string, locked bool) string {
	if !locked {
		return scheme + "://" + addr
	}
	return scheme + "://" + proxyUser + ":" + strings.NewReplacer(":", "%3A", "@", "%40").Replace(proxyPassword) + "@" + addr
}

// socks is github.com/things-go/go-socks5.
func socks(t testing.TB, locked bool) (*relay, string) {
	t.Helper()
	r := &relay{names: map[string]string{"receiver.example.com": "127.0.0.1"}}
	options := []socks5.Option{
		socks5.WithLogger(socks5.NewLogger(log.New(io.Discard, "", 0))),
		socks5.WithResolver(unresolved{}),
		socks5.WithDial(func(ctx context.Context, network, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, r.ask(addr))
		}),
	}
	if locked {
		options = append(options, socks5.WithCredential(socks5.StaticCredentials{proxyUser: proxyPassword}))
	}
	server := socks5.NewServer(options...)
	r.receiver = listen(t, "127.0.0.1", func(_ *receiver, c net.Conn) { _ = server.ServeConn(c) })
	return r, urlOf("socks5", r.addr, locked)
}

// unresolved leaves names to ask.
type unresolved struct{}

func (unresolved) Resolve(ctx context.Context, _ string) (context.Context, net.IP, error) {
	return ctx, nil, nil
}

// Callbacks go by any kind of proxy. It is told the address that was looked up and
// checked here, or the name if it is to look it up; the certificate is always that of
// the name, and connections are kept.
func TestProxyCarriesCallbacks(t *testing.T) {
	target := listenTLS(t, goodTLS(), hostile.Answering(hostile.OK200))
	named := "https://receiver.example.com:" + port(target) + "/status"
	for _, scheme := range []string{"http", "https", "socks5"} {
		for _, locked := range []bool{false, true} {
			for _, resolves := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, password %v, resolves %v", scheme, locked, resolves), func(t *testing.T) {
					var r *relay
					var url string
					if scheme == "socks5" {
						r, url = socks(t, locked)
					} else {
						r, url = connecting(t, scheme == "https", locked)
					}
					c := proxied(t, url, func(cfg *egress.Config) {
						cfg.Proxy.Resolves = resolves
						cfg.Resolver = nameServer(t, func() []string { return []string{"127.0.0.1"} })
					})
					asked, phases, address := target.addr, "DNS, connect, proxy, TLS, first byte", target.addr
					if resolves {
						asked, phases, address = "receiver.example.com:"+port(target), "connect, proxy, TLS, first byte", ""
					}
					res := post(t, c, newRequest(named))
					wantKind(t, res, egress.Acknowledged)
					if got := happened(res.Phases); got != phases || res.Address != address || res.ByProxy {
						t.Errorf("got phases %s, address %q, by proxy %v, want %s, %q, false", got, res.Address, res.ByProxy, phases, address)
					}
					if again := post(t, c, newRequest(named)); !again.Reused || again.Kind != egress.Acknowledged {
						t.Errorf("the second request: %v, reused %v, want it acknowledged on the same connection", again.Kind, again.Reused)
					}
					if diff := cmp.Diff([]string{asked}, r.took()); diff != "" {
						t.Errorf("the proxy was asked for (-want +got):\n%s", diff)
					}
				})
			}
		}
	}
}

// The certificate is the endpoint's own, whatever the proxy does.
func TestProxyCannotStandForAnEndpoint(t *testing.T) {
	other := listenTLS(t, serverTLS(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"other.example.com"}, nil }), hostile.Answering(hostile.OK200))
	r, url := connecting(t, false, false)
	res := post(t, proxied(t, url, nil), newRequest(other.url()))
	if res.Kind != egress.TLSFailed || res.Detail != egress.CertificateOtherName || res.ByProxy || len(r.took()) != 1 {
		t.Errorf("got %v %s (%v) after %d ways, want TLS_FAILED CERTIFICATE_OTHER_NAME after one", res.Kind, res.Detail, res.Err, len(r.took()))
	}
}

// What the guard refuses is not even asked of the proxy. With a proxy that looks names
// up, that holds for addresses in a URL and for ports.
func TestGuardStandsBeforeTheProxy(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		looked    string // what the name is
		resolves  bool
		detail    egress.Detail
	}{
		{"address", "https://10.0.0.1/", "", false, egress.AddressNotPublic},
		{"name", "https://receiver.example.com/", "10.0.0.1", false, egress.AddressNotPublic},
		{"name of a denied network", "https://receiver.example.com/", "127.9.0.1", false, egress.NetworkDenied},
		{"port", "https://receiver.example.com:22/", "127.0.0.1", false, egress.PortNotAllowed},
		{"address, the proxy resolves", "https://10.0.0.1/", "", true, egress.AddressNotPublic},
		{"mapped, the proxy resolves", "https://[::ffff:10.0.0.1]/", "", true, egress.AddressNotPublic},
		{"port, the proxy resolves", "https://receiver.example.com:22/", "", true, egress.PortNotAllowed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, url := connecting(t, false, false)
			c := proxied(t, url, func(cfg *egress.Config) {
				cfg.Deny, cfg.Ports = []netip.Prefix{netip.MustParsePrefix("127.9.0.0/16")}, []uint16{443}
				cfg.Proxy.Resolves = tt.resolves
				cfg.Resolver = nameServer(t, func() []string { return []string{tt.looked} })
			})
			res := post(t, c, newRequest(tt.url))
			if res.Kind != egress.DestinationRefused || res.Detail != tt.detail || res.Address != "" {
				t.Errorf("got %v %s at %q (%v), want DESTINATION_REFUSED %s at nowhere", res.Kind, res.Detail, res.Address, res.Err, tt.detail)
			}
			if n := r.conns.Load(); n != 0 {
				t.Errorf("the proxy saw %d connections, want none", n)
			}
		})
	}
}

// A name that is public when it is looked up, and something else when the proxy would
// look it up, gains nothing: the proxy never hears it.
func TestNameThatRebindsIsNotToldToTheProxy(t *testing.T) {
	target := listenTLSAt(t, "127.0.0.2", goodTLS(), hostile.Answering(hostile.OK200))
	r, url := connecting(t, false, false)
	r.names["receiver.example.com"] = "127.0.0.1" // where a look-up by the proxy would lead
	c := proxied(t, url, func(cfg *egress.Config) {
		cfg.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
		cfg.Resolver = nameServer(t, func() []string { return []string{"127.0.0.2"} })
	})
	wantKind(t, post(t, c, newRequest("https://receiver.example.com:"+port(target)+"/")), egress.Acknowledged)
	if diff := cmp.Diff([]string{target.addr}, r.took()); diff != "" {
		t.Errorf("the proxy was asked for (-want +got):\n%s", diff)
	}
}

// What is said of a way that a proxy did not make: of itself, of the endpoint, and
// nothing. No text has the password.
func TestProxyThatFails(t *testing.T) {
	answering := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil && req.Method == http.MethodConnect {
				_, _ = io.WriteString(c, text)
			}
		}
	}
	replying := func(code byte) func(net.Conn) { // SOCKS
		return func(c net.Conn) {
			buf := make([]byte, 512)
			_, _ = c.Read(buf)
			_, _ = c.Write([]byte{5, 0})
			_, _ = c.Read(buf)
			_, _ = c.Write([]byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0})
		}
	}
	for _, tt := range []struct {
		name, scheme string
		serve        func(net.Conn)
		kind         egress.Kind
		detail       egress.Detail
	}{
		{"closes", "http", func(net.Conn) {}, egress.NoWayOut, ""},
		{"407", "http", answering(hostile.Answer("407 No", `Proxy-Authenticate: Basic realm="x"`)), egress.NoWayOut, ""},
		{"405", "http", answering(hostile.Answer("405 No")), egress.NoWayOut, ""},
		{"302", "http", answering(hostile.Answer("302 Log in", "Location: https://portal.example/")), egress.NoWayOut, ""},
		{"429", "http", answering(hostile.Answer("429 No")), egress.NoWayOut, ""},
		{"101", "http", answering(hostile.Answer("101 Switching Protocols")), egress.NoWayOut, ""},
		{"not HTTP", "http", answering("SSH-2.0-OpenSSH_9.2\r\n"), egress.NoWayOut, ""},
		{"half an answer", "http", answering("HTTP/1.1 200 OK\r\nA: b"), egress.NoWayOut, ""},
		{"a header without end", "http", answering("HTTP/1.1 100 Continue\r\n" + strings.Repeat("A: b\r\n", 10_000)), egress.NoWayOut, ""},
		{"more than an answer", "http", answering(hostile.Answer("200 OK") + "\x16\x03\x03"), egress.NoWayOut, ""},
		{"no TLS", "https", func(c net.Conn) { _, _ = io.WriteString(c, hostile.Answer("400 Bad Request")) }, egress.NoWayOut, ""},
		{"403", "http", answering(hostile.Answer("403 No")), egress.DestinationRefused, egress.NetworkDenied},
		{"407 of Smokescreen", "http", answering(hostile.Answer("407 Request rejected by proxy", "X-Smokescreen-Error: egress proxying is denied")), egress.DestinationRefused, egress.NetworkDenied},
		{"500", "http", answering(hostile.Answer("500 Unable to connect")), egress.ConnectFailed, ""},
		{"502", "http", answering(hostile.Answer("502 Bad Gateway")), egress.ConnectFailed, ""},
		{"503", "http", answering(hostile.Answer("503 Service Unavailable")), egress.ConnectFailed, ""},
		{"504", "http", answering(hostile.Answer("504 Gateway Timeout")), egress.ConnectFailed, egress.ConnectTimeout},
		{"closes", "socks5", func(net.Conn) {}, egress.NoWayOut, ""},
		{"not SOCKS", "socks5", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, egress.NoWayOut, ""},
		{"no method", "socks5", func(c net.Conn) { _, _ = c.Write([]byte{5, 0xff}) }, egress.NoWayOut, ""},
		{"wrong password", "socks5", func(c net.Conn) { _, _ = c.Write([]byte{5, 2, 1, 1}) }, egress.NoWayOut, ""},
		{"command not supported", "socks5", replying(7), egress.NoWayOut, ""},
		{"general failure", "socks5", replying(1), egress.ConnectFailed, ""},
		{"ruleset", "socks5", replying(2), egress.DestinationRefused, egress.NetworkDenied},
		{"network unreachable", "socks5", replying(3), egress.ConnectFailed, egress.Unreachable},
		{"host unreachable", "socks5", replying(4), egress.ConnectFailed, egress.Unreachable},
		{"connection refused", "socks5", replying(5), egress.ConnectFailed, egress.ConnectionRefused},
		{"TTL expired", "socks5", replying(6), egress.ConnectFailed, egress.Unreachable},
		{"family not supported", "socks5", replying(8), egress.ConnectFailed, egress.Unreachable},
	} {
		t.Run(tt.scheme+" "+tt.name, func(t *testing.T) {
			t.Parallel()
			r := listen(t, "127.0.0.1", func(_ *receiver, c net.Conn) {
				tt.serve(c)
				_, _ = io.Copy(io.Discard, c)
			})
			if strings.HasPrefix(tt.name, "closes") || tt.name == "half an answer" {
				r = listen(t, "127.0.0.1", func(_ *receiver, c net.Conn) { tt.serve(c) })
			}
			c := proxied(t, urlOf(tt.scheme, r.addr, true), nil)
			res := post(t, c, testRequest("https://203.0.113.7/"))
			byProxy, address, wayless := tt.kind != egress.NoWayOut, "203.0.113.7:443", uint64(0)
			if !byProxy {
				wayless, address = 1, ""
			}
			if res.Kind != tt.kind || res.Detail != tt.detail || res.ByProxy != byProxy || res.Address != address {
				t.Errorf("got %v %s, by proxy %v, at %q (%v), want %v %s, %v, at %q", res.Kind, res.Detail, res.ByProxy, res.Address, res.Err, tt.kind, tt.detail, byProxy, address)
			}
			if res.Err == nil || strings.Contains(res.Err.Error(), "canary") {
				t.Errorf("error: got %v, want one without the password", res.Err)
			}
			if got := c.Stats().Wayless; got != wayless {
				t.Errorf("failures of the way out: got %d, want %d", got, wayless)
			}
		})
	}
}

// A proxy that nobody finds is the operator's; one that takes the time for its way may
// be waiting for the endpoint.
func TestProxyThatIsSilent(t *testing.T) {
	for _, scheme := range []string{"http", "socks5"} {
		r := listen(t, "127.0.0.1", func(_ *receiver, c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		c := proxied(t, urlOf(scheme, r.addr, false), nil)
		res := postBriefly(t, c, newRequest("https://203.0.113.7/"), func(res egress.Result) bool { return res.Phases.Proxy > 0 })
		if res.Kind != egress.ConnectFailed || res.Detail != egress.ConnectTimeout || !res.ByProxy || res.Address != "203.0.113.7:443" {
			t.Errorf("%s: got %v %s, by proxy %v, at %q (%v), want CONNECT_FAILED CONNECT_TIMEOUT, true, at 203.0.113.7:443", scheme, res.Kind, res.Detail, res.ByProxy, res.Address, res.Err)
		}
		for name, url := range map[string]string{"nobody listens": scheme + "://127.0.0.1:1", "no such name": scheme + "://proxy.invalid:3128"} {
			c := proxied(t, url, func(cfg *egress.Config) { cfg.Resolver = nameServer(t, func() []string { return nil }) })
			res := post(t, c, newRequest("https://203.0.113.7/"))
			if res.Kind != egress.NoWayOut || res.Kind.String() != "INTERNAL_ERROR" || res.Address != "" || res.Phases.Proxy != 0 {
				t.Errorf("%s, %s: got %v at %q after %v (%v), want INTERNAL_ERROR, at nowhere", scheme, name, res.Kind, res.Address, res.Phases, res.Err)
			}
		}
	}
}

func TestParseProxy(t *testing.T) {
	for raw, want := range map[string]string{
		"http://proxy.example.com:3128":                                       "http://proxy.example.com:3128",
		"https://u:canary@proxy.example.com:3128":                             "https://proxy.example.com:3128",
		"socks5://u:canary@[2001:db8::1]:1080/":                               "socks5://[2001:db8::1]:1080",
		"proxy.example.com:3128":                                              "must begin with",
		"socks5h://canary:x@proxy.example.com:1":                              "--egress-proxy-resolves",
		"http://u:canary@proxy.example.com":                                   "a host and a port",
		"http://u:canary@:3128":                                               "a host and a port",
		"http://proxy.example.com:3128/canary":                                "behind its port",
		"http://proxy.example.com:3128?canary":                                "behind its port",
		"http://canary@proxy.example.com:3128":                                "both a user and a password",
		"http://:canary@proxy.example.com:3128":                               "both a user and a password",
		"http://a%3Ab:canary@proxy.example.com:1":                             "without a colon",
		"http://u:canary%zz@proxy.example.com:1":                              "is not a URL",
		"http://u:canary@proxy.example.com:99999":                             "a host and a port",
		"socks5://u:" + strings.Repeat("canary", 50) + "@proxy.example.com:1": "at most 255 bytes",
	} {
		p, err := egress.ParseProxy(raw)
		got := fmt.Sprint(err)
		if err == nil {
			got = p.String()
		}
		if !strings.Contains(got, want) || strings.Contains(got, "canary") {
			t.Errorf("%s: got %q, want %q, and no password", raw, got, want)
		}
	}
}
