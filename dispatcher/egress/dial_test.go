package egress_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

// nameServer answers every question over UDP on loopback with those of addrs
// that are of the asked family; without any, the name does not exist. It
// returns a resolver that asks it.
func nameServer(t *testing.T, addrs func() []string) *net.Resolver {
	t.Helper()
	return nameServerReplying(t, func(query []byte) []byte { return reply(query, addrs) })
}

func nameServerReplying(t *testing.T, reply func(query []byte) []byte) *net.Resolver {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 1500)
		for {
			n, from, err := socket.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := reply(buf[:n]); answer != nil {
				_, _ = socket.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() {
		_ = socket.Close()
		<-ended
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", socket.LocalAddr().String())
	}}
}

func reply(query []byte, addrs func() []string) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil {
		return nil
	}
	m.Response, m.Authoritative, m.RecursionAvailable = true, true, true
	m.Additionals = nil
	q := m.Questions[0]
	all := addrs()
	if len(all) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, text := range all {
		addr := netip.MustParseAddr(text)
		var body dnsmessage.ResourceBody
		switch {
		case q.Type == dnsmessage.TypeA && addr.Is4():
			body = &dnsmessage.AResource{A: addr.As4()}
		case q.Type == dnsmessage.TypeAAAA && addr.Is6():
			body = &dnsmessage.AAAAResource{AAAA: addr.As16()}
		default:
			continue
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: body,
		})
	}
	return must(m.Pack())
}

func port(r *receiver) string { return r.addr[strings.LastIndex(r.addr, ":")+1:] }

// second opens 127.0.0.2 alone, so that a listener at 127.0.0.1 stands for an
// address of the inside.
func second(t *testing.T, resolver *net.Resolver) *egress.Client {
	t.Helper()
	c := egress.New(egress.Config{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, RootCAs: testCA().pool, Resolver: resolver,
	})
	t.Cleanup(c.Close)
	return c
}

func inside(t *testing.T) *receiver {
	t.Helper()
	return listen(t, "127.0.0.1", func(*receiver, net.Conn) {})
}

func TestRefusedAddressSeesNoConnection(t *testing.T) {
	for name, addrs := range map[string][]string{
		"alone": {"127.0.0.1"},
		"all":   {"127.0.0.1", "127.0.0.3", "10.0.0.1", "169.254.169.254"},
		"IPv6":  {"fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"},
		"both":  {"fe80::1", "127.0.0.1", "fc00::1", "192.168.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := inside(t)
			c := second(t, nameServer(t, func() []string { return addrs }))
			wantKind(t, post(t, c, newRequest("https://receiver.example.com:"+port(r)+"/")), egress.DestinationRefused)
			if got := r.conns.Load(); got != 0 {
				t.Errorf("connections to the refused address: %d, want 0", got)
			}
		})
	}
}

func TestRefusedLiteralSeesNoConnection(t *testing.T) {
	r := inside(t)
	c := second(t, nil)
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"} {
		wantKind(t, post(t, c, newRequest("https://"+host+":"+port(r)+"/")), egress.DestinationRefused)
	}
	if got := r.conns.Load(); got != 0 {
		t.Errorf("connections to the refused address: %d, want 0", got)
	}
}

func TestRefusedIPv6SeesNoConnection(t *testing.T) {
	if l, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skipf("no IPv6 here: %v", err)
	} else {
		_ = l.Close()
	}
	r := listen(t, "::1", func(*receiver, net.Conn) {})
	for host, addrs := range map[string][]string{
		"[::1]":                {},
		"receiver.example.com": {"::1"},
		"mixed.example.com":    {"::1", "127.0.0.3"},
	} {
		c := second(t, nameServer(t, func() []string { return addrs }))
		wantKind(t, post(t, c, newRequest("https://"+host+":"+port(r)+"/")), egress.DestinationRefused)
	}
	if got := r.conns.Load(); got != 0 {
		t.Errorf("connections to the refused address: %d, want 0", got)
	}
}

// Each address of a name is checked by itself: the refused one is passed over.
func TestEveryAddressIsChecked(t *testing.T) {
	r := listenTLSAt(t, "127.0.0.2", goodTLS(), hostile.Answering(hostile.OK200))
	trap, err := net.Listen("tcp", "127.0.0.1:"+port(r))
	if err != nil {
		t.Skipf("the port is taken at 127.0.0.1: %v", err)
	}
	var trapped atomic.Int32
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := trap.Accept()
			if err != nil {
				return
			}
			trapped.Add(1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = trap.Close()
		<-ended
	})
	for _, addrs := range [][]string{
		{"127.0.0.1", "127.0.0.2"}, {"127.0.0.2", "127.0.0.1"}, {"fd00::1", "127.0.0.1", "127.0.0.2"},
	} {
		c := second(t, nameServer(t, func() []string { return addrs }))
		wantKind(t, post(t, c, newRequest("https://receiver.example.com:"+port(r)+"/")), egress.Acknowledged)
	}
	if got := trapped.Load(); got != 0 {
		t.Errorf("connections to the refused address: %d, want 0", got)
	}
}

func TestRebinding(t *testing.T) {
	r := listenTLSAt(t, "127.0.0.2", goodTLS(), hostile.Answering(hostile.OK200))
	var rebound atomic.Bool
	c := second(t, nameServer(t, func() []string {
		if rebound.Load() {
			return []string{"127.0.0.1"}
		}
		return []string{"127.0.0.2"}
	}))
	url := "https://receiver.example.com:" + port(r) + "/"
	wantKind(t, post(t, c, newRequest(url)), egress.Acknowledged)
	rebound.Store(true)
	req := newRequest(url)
	req.MadeSince = time.Now()
	wantKind(t, post(t, c, req), egress.DestinationRefused)
	if got := r.requests.Load(); got != 1 {
		t.Errorf("requests received: %d, want 1", got)
	}
}

func TestNameDoesNotResolve(t *testing.T) {
	c := second(t, nameServer(t, func() []string { return nil }))
	wantKind(t, post(t, c, newRequest("https://receiver.example.com/")), egress.DNSFailed)
}

// localhost is this machine, whatever a name server says or /etc/hosts has.
func TestLocalhostIsNotLookedUp(t *testing.T) {
	r := listenTLS(t, serverTLS(func(c *x509.Certificate) { c.DNSNames = []string{"localhost", "a.localhost"} }), hostile.Answering(hostile.OK200))
	elsewhere := nameServer(t, func() []string { return []string{"127.0.0.2"} })
	for _, host := range []string{"localhost", "LocalHost.", "a.localhost"} {
		c := egress.New(egress.Config{Allow: loopback, RootCAs: testCA().pool, Resolver: elsewhere})
		t.Cleanup(c.Close)
		wantKind(t, post(t, c, newRequest("https://"+host+":"+port(r)+"/")), egress.Acknowledged)
	}
}

func TestNameServerHangs(t *testing.T) {
	socket := must(net.ListenPacket("udp", "127.0.0.1:0"))
	defer func() { _ = socket.Close() }()
	testConnectTimeout(t, "https://receiver.example.com/", egress.DNSFailed, &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", socket.LocalAddr().String())
		},
	})
}

// testConnectTimeout posts where no connection comes about: it must end by the
// context's deadline, and by ConnectTimeout if that is earlier.
func testConnectTimeout(t *testing.T, url string, want egress.Kind, resolver *net.Resolver) {
	t.Helper()
	c := second(t, resolver)
	wantKind(t, postWithin(t, c, newRequest(url), 200*time.Millisecond), want)

	const limit = 100 * time.Millisecond
	c = egress.New(egress.Config{Allow: loopback, Resolver: resolver, ConnectTimeout: limit})
	defer c.Close()
	start := time.Now()
	wantKind(t, post(t, c, newRequest(url)), want)
	if took := time.Since(start); took > limit+slack {
		t.Errorf("ConnectTimeout of %v: Post took %v, want at most %v", limit, took, limit+slack)
	}
}

func TestNothingListens(t *testing.T) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	addr := l.Addr().String()
	_ = l.Close()
	wantKind(t, post(t, newClient(t), newRequest("https://"+addr+"/")), egress.ConnectFailed)
}

func TestEnvironmentProxyIgnored(t *testing.T) {
	proxy := inside(t)
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://"+proxy.addr)
	}
	// The environment is read but once a process, and never for loopback:
	// the name decides.
	r := listenTLSAt(t, "127.0.0.2", goodTLS(), hostile.Answering(hostile.OK200))
	c := second(t, nameServer(t, func() []string { return []string{"127.0.0.2"} }))
	wantKind(t, post(t, c, newRequest("https://receiver.example.com:"+port(r)+"/")), egress.Acknowledged)
	if got := proxy.conns.Load(); got != 0 {
		t.Errorf("connections to the proxy: %d, want 0", got)
	}
}

// However the host is written, it has one name: in TLS, in the request, and in
// the pool.
func TestHostIsNamedInOneWay(t *testing.T) {
	var mu sync.Mutex
	var names, hosts []string
	cfg := goodTLS().Clone()
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		names = append(names, hello.ServerName)
		return nil, nil
	}
	r := listenTLSAt(t, "127.0.0.2", cfg, func(s *hostile.Session) {
		for req := s.Request(); req != nil; req = s.Request() {
			mu.Lock()
			hosts = append(hosts, req.Host)
			mu.Unlock()
			s.Say(hostile.OK200)
		}
	})
	questions := atomic.Int32{}
	c := second(t, nameServer(t, func() []string {
		questions.Add(1)
		return []string{"127.0.0.2"}
	}))
	for _, host := range []string{"receiver.example.com", "RECEIVER.Example.com", "Receiver.example.com."} {
		wantKind(t, post(t, c, newRequest("https://"+host+":"+port(r)+"/")), egress.Acknowledged)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"receiver.example.com"}; !slices.Equal(names, want) {
		t.Errorf("names in TLS: %q, want %q", names, want)
	}
	host := "receiver.example.com:" + port(r)
	if want := []string{host, host, host}; !slices.Equal(hosts, want) {
		t.Errorf("hosts of the requests: %q, want %q", hosts, want)
	}
	if got := questions.Load(); got != 2 { // A and AAAA
		t.Errorf("the name server was asked %d times, want 2", got)
	}
}

// Neither a connection to a network that the operator closed, though it was
// opened as well, nor to another port than those that the operator named.
func TestDeniedNetworkAndPortSeeNoConnection(t *testing.T) {
	r := inside(t)
	for name, cfg := range map[string]egress.Config{
		"network": {Allow: loopback, Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/31")}},
		"port":    {Allow: loopback, Ports: []uint16{443}},
	} {
		cfg.Resolver = nameServer(t, func() []string { return []string{"127.0.0.1"} })
		c := egress.New(cfg)
		t.Cleanup(c.Close)
		for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "receiver.example.com"} {
			if res := post(t, c, newRequest("https://"+host+":"+port(r)+"/")); res.Kind != egress.DestinationRefused {
				t.Errorf("%s, %s: %v (%v), want DESTINATION_REFUSED", name, host, res.Kind, res.Err)
			}
		}
	}
	if got := r.conns.Load(); got != 0 {
		t.Errorf("connections: %d, want 0", got)
	}
}
