package egress_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

// happened names the phases that there were.
func happened(p egress.Phases) string {
	var names []string
	for i, d := range []time.Duration{p.DNS, p.Connect, p.Proxy, p.TLS, p.FirstByte} {
		if d != 0 {
			names = append(names, []string{"DNS", "connect", "proxy", "TLS", "first byte"}[i])
		}
	}
	return strings.Join(names, ", ")
}

func sum(p egress.Phases) time.Duration { return p.DNS + p.Connect + p.Proxy + p.TLS + p.FirstByte }

// What a request on a new connection went through is told, and that one on a kept
// connection only waited for its answer.
func TestPhasesOfARequest(t *testing.T) {
	r := listenTLS(t, goodTLS(), hostile.Answering(hostile.OK200))
	_, port, _ := net.SplitHostPort(r.addr)
	c := egress.New(egress.Config{
		Allow: loopback, RootCAs: testCA().pool, ConnectTimeout: patience, TLSTimeout: patience,
		Resolver: nameServer(t, func() []string { return []string{"127.0.0.1"} }),
	})
	defer c.Close()
	named := "https://receiver.example.com:" + port + "/"
	for _, tt := range []struct {
		url, phases string
		reused      bool
	}{
		{named, "DNS, connect, TLS, first byte", false},
		{named, "first byte", true},
		{named, "first byte", true},
		{r.url(), "connect, TLS, first byte", false},
		{r.url(), "first byte", true},
	} {
		began := time.Now()
		res := post(t, c, newRequest(tt.url))
		took := time.Since(began)
		wantKind(t, res, egress.Acknowledged)
		if got := happened(res.Phases); got != tt.phases || res.Reused != tt.reused || res.Address != r.addr {
			t.Errorf("%s: %s, reused %v, to %v; want %s, %v, %v", tt.url, got, res.Reused, res.Address, tt.phases, tt.reused, r.addr)
		}
		if got := sum(res.Phases); got > took {
			t.Errorf("%s: the phases took %v (%+v), the request %v", tt.url, got, res.Phases, took)
		}
	}
}

// The address of a name that did not take a connection is told.
func TestAddressThatCouldNotBeReached(t *testing.T) {
	closed := closedPort()
	host, port, _ := net.SplitHostPort(closed)
	c := egress.New(egress.Config{Allow: loopback, Resolver: nameServer(t, func() []string { return []string{host} })})
	defer c.Close()
	if res := post(t, c, newRequest("https://receiver.example.com:"+port+"/")); res.Address != closed {
		t.Errorf("address: got %q (%v), want %q", res.Address, res.Err, closed)
	}
}
