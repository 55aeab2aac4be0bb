package egress_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

// from is a client whose connections come from these addresses.
func from(t *testing.T, resolver *net.Resolver, addrs ...string) *egress.Client {
	t.Helper()
	cfg := egress.Config{Allow: loopback, RootCAs: testCA().pool, Resolver: resolver, ConnectTimeout: patience, TLSTimeout: patience}
	for _, a := range addrs {
		cfg.Source = append(cfg.Source, netip.MustParseAddr(a))
	}
	c := egress.New(cfg)
	t.Cleanup(c.Close)
	return c
}

// Connections come from the operator's address, to endpoints and to the proxy.
func TestSourceAddress(t *testing.T) {
	peers := make(chan string, 1)
	r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		peers <- s.RemoteAddr().String()
		hostile.Answering(hostile.OK200)(s)
	})
	wantKind(t, post(t, from(t, nil, "::1", "127.0.0.9"), newRequest(r.url())), egress.Acknowledged)
	if host, _, _ := net.SplitHostPort(<-peers); host != "127.0.0.9" {
		t.Errorf("the endpoint was called from %s, want 127.0.0.9", host)
	}
	proxyPeers := make(chan string, 1)
	p := listen(t, "127.0.0.1", func(_ *receiver, c net.Conn) { proxyPeers <- c.RemoteAddr().String() })
	c := proxied(t, urlOf("http", p.addr, false), func(cfg *egress.Config) { cfg.Source = []netip.Addr{netip.MustParseAddr("127.0.0.9")} })
	wantKind(t, post(t, c, newRequest(r.url())), egress.NoWayOut)
	if host, _, _ := net.SplitHostPort(<-proxyPeers); host != "127.0.0.9" {
		t.Errorf("the proxy was called from %s, want 127.0.0.9", host)
	}
}

// An endpoint is dialled at addresses of the sources' families alone; where it has
// none, there is no route to it.
func TestSourceAddressHasAFamily(t *testing.T) {
	r := listenTLS(t, goodTLS(), hostile.Answering(hostile.OK200))
	both := nameServer(t, func() []string { return []string{"::1", "127.0.0.1"} })
	wantKind(t, post(t, from(t, both, "127.0.0.9"), newRequest("https://receiver.example.com:"+port(r)+"/")), egress.Acknowledged)
	res := post(t, from(t, nil, "::1"), newRequest(r.url()))
	if res.Kind != egress.ConnectFailed || res.Detail != egress.Unreachable {
		t.Errorf("from IPv6 to IPv4: got %v %s (%v), want CONNECT_FAILED UNREACHABLE", res.Kind, res.Detail, res.Err)
	}
}

// An address that the machine has lost is the operator's trouble.
func TestSourceAddressOfAnotherMachine(t *testing.T) {
	r := listenTLS(t, goodTLS(), hostile.Answering(hostile.OK200))
	c := from(t, nil, "203.0.113.7")
	res := post(t, c, newRequest(r.url()))
	wantKind(t, res, egress.NoWayOut)
	if res.Address != "" || c.Stats().Wayless != 1 {
		t.Errorf("got address %q and %+v, want none, and one failure of the way out", res.Address, c.Stats())
	}
	if inner := post(t, from(t, nil, "127.0.0.9"), newRequest("https://10.0.0.1/")); inner.Kind != egress.DestinationRefused {
		t.Errorf("to an address of the inside: got %v (%v), want DESTINATION_REFUSED", inner.Kind, inner.Err)
	}
}
