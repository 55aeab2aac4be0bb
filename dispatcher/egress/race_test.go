package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// network is names and addresses as a test wants them.
type network struct {
	addrs []string
	// answers says after how long an address accepts, before zero: when the dial
	// is given up. Others never answer.
	answers map[string]time.Duration
	refused map[string]time.Duration

	mu      sync.Mutex
	begin   time.Time
	names   []string
	dialled []string // with the time
	open    int      // dials and connections
	peak    int
	phases  Phases
}

func (n *network) LookupNetIP(_ context.Context, _, host string) (addrs []netip.Addr, err error) {
	n.names = append(n.names, host)
	for _, a := range n.addrs {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, nil
}

var errRefused = errors.New("refused")

func (n *network) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	n.mu.Lock()
	n.dialled = append(n.dialled, host+" at "+time.Since(n.begin).String())
	n.open++
	n.peak = max(n.peak, n.open)
	n.mu.Unlock()
	accepts, refuses := make(<-chan time.Time), make(<-chan time.Time)
	if after, ok := n.answers[host]; ok && after >= 0 {
		accepts = time.After(after)
	}
	if after, ok := n.refused[host]; ok {
		refuses = time.After(after)
	}
	select {
	case <-accepts:
		return &netConn{network: n, host: host}, nil
	case <-refuses:
		n.closed()
		return nil, errRefused
	case <-ctx.Done():
		if after, ok := n.answers[host]; ok && after < 0 {
			return &netConn{network: n, host: host}, nil // as it was given up
		}
		n.closed()
		return nil, ctx.Err()
	}
}

func (n *network) closed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open--
}

type netConn struct {
	net.Conn
	network *network
	host    string
}

func (c *netConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP(c.host), Port: defaultPort}
}

func (c *netConn) Close() error {
	c.network.closed()
	return nil
}

// reach has a host of this network dialled.
func (n *network) reach(t *testing.T, host string) (to string, took time.Duration, err error) {
	t.Helper()
	c := New(Config{})
	defer c.Close()
	c.dialer, c.resolver = n, n
	n.begin = time.Now()
	u, err := target("https://" + host + "/")
	if err != nil {
		t.Fatal(err)
	}
	made := &conn{made: n.begin}
	err = c.reach(t.Context(), made, u)
	took = time.Since(n.begin)
	if err == nil {
		to = made.plain.(*netConn).host
		made.close()
		if want := net.JoinHostPort(to, "443"); made.addr != want {
			t.Errorf("address told: %q, want %q", made.addr, want)
		}
	}
	n.phases = made.phases
	if n.open != 0 {
		t.Errorf("%d dials and connections are left, want none", n.open)
	}
	return to, took, err
}

// The system's search list was tried on the hosts of callback URLs: in a
// Kubernetes pod, with a wildcard there, every callback went to its host.
func TestNamesAreAbsolute(t *testing.T) {
	for host, want := range map[string][]string{
		"hooks.example.com": {"hooks.example.com."}, "Hooks.Example.COM.": {"hooks.example.com."},
		"192.0.2.1": nil, "[2001:db8::1]:8443": nil,
	} {
		n := &network{addrs: []string{"192.0.2.1"}, answers: map[string]time.Duration{"192.0.2.1": 0, "2001:db8::1": 0}}
		if _, _, err := n.reach(t, host); err != nil {
			t.Errorf("%s: %v, want a connection", host, err)
		}
		if diff := cmp.Diff(want, n.names); diff != "" {
			t.Errorf("%s: names looked up (-want +got):\n%s", host, diff)
		}
	}
}

// One dead address before the good one cost 2.5 s, two 4 s, and three were never
// got past.
func TestNextAddressIsDialledAfterAQuarterOfASecond(t *testing.T) {
	const dead, dead6 = "192.0.2.1", "2001:db8::1"
	var many []string
	for i := range 30 {
		many = append(many, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String())
	}
	tests := []*struct {
		name string
		network
		want string
		took time.Duration
		err  error
		dial []string
	}{
		{name: "the first answers late", network: network{
			addrs: []string{"192.0.2.2", "192.0.2.3"}, answers: map[string]time.Duration{"192.0.2.2": 300 * time.Millisecond, "192.0.2.3": time.Second},
		}, want: "192.0.2.2", took: 300 * time.Millisecond, dial: []string{"192.0.2.2 at 0s", "192.0.2.3 at 250ms"}},
		{name: "three dead ones first", network: network{
			addrs: []string{dead, "192.0.2.2", "192.0.2.3", "192.0.2.4"}, answers: map[string]time.Duration{"192.0.2.4": time.Millisecond},
		}, want: "192.0.2.4", took: 751 * time.Millisecond, dial: []string{dead + " at 0s", "192.0.2.2 at 250ms", "192.0.2.3 at 500ms", "192.0.2.4 at 750ms"}},
		{name: "one that refuses", network: network{
			addrs: []string{dead, "192.0.2.2", "192.0.2.3"}, refused: map[string]time.Duration{dead: 100 * time.Millisecond}, answers: map[string]time.Duration{"192.0.2.2": 0},
		}, want: "192.0.2.2", took: 100 * time.Millisecond, dial: []string{dead + " at 0s", "192.0.2.2 at 100ms"}},
		{name: "all refuse", network: network{
			addrs: []string{dead, dead6}, refused: map[string]time.Duration{dead: 0, dead6: 0},
		}, err: errRefused, dial: []string{dead + " at 0s", dead6 + " at 0s"}},
		{name: "a family that goes nowhere", network: network{
			addrs: []string{dead6, "2001:db8::2", "2001:db8::3", "192.0.2.2"}, answers: map[string]time.Duration{"192.0.2.2": 0},
		}, want: "192.0.2.2", took: 250 * time.Millisecond, dial: []string{dead6 + " at 0s", "192.0.2.2 at 250ms"}},
		{name: "one that accepts when it is given up", network: network{
			addrs: []string{dead, "192.0.2.2"}, answers: map[string]time.Duration{dead: -1, "192.0.2.2": 0},
		}, want: "192.0.2.2", took: 250 * time.Millisecond},
		{name: "all dead", network: network{addrs: []string{dead, dead6}}, took: 5 * time.Second, err: context.DeadlineExceeded},
		{name: "many", network: network{addrs: many, answers: map[string]time.Duration{many[19]: 0, many[20]: 0}}, want: many[19], took: 19 * attemptDelay},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &tt.network
				to, took, err := n.reach(t, "hooks.example.com")
				if to != tt.want || took != tt.took || !errors.Is(err, tt.err) {
					t.Errorf("reached %q after %v (%v), want %q after %v (%v)", to, took, err, tt.want, tt.took, tt.err)
				}
				if want := (Phases{DNS: 1, Connect: max(took, 1)}); n.phases != want {
					t.Errorf("phases: %v, want %v", n.phases, want)
				}
				if tt.dial != nil && !slices.Equal(n.dialled, tt.dial) {
					t.Errorf("dialled %q, want %q", n.dialled, tt.dial)
				}
				if n.peak > maxRacing {
					t.Errorf("%d addresses were dialled at a time, want at most %d", n.peak, maxRacing)
				}
			})
		})
	}
}

func TestTarget(t *testing.T) {
	for raw, want := range map[string]string{
		"https://HOOKS.Example.COM:443/a":   "hooks.example.com",
		"HTTPS://hooks.example.com./A?B":    "hooks.example.com",
		"https://hooks.example.com:0443":    "hooks.example.com",
		"https://hooks.example.com:08443/":  "hooks.example.com:8443",
		"https://[2001:DB8::1]:443/":        "[2001:db8::1]",
		"https://[2001:DB8::1]:8443/":       "[2001:db8::1]:8443",
		"https://192.0.2.1:443/":            "192.0.2.1",
		"https://hooks.example.com:/status": "hooks.example.com",
	} {
		u, err := target(raw)
		if err != nil || u.Host != want {
			t.Errorf("target(%q) has host %v (%v), want %s", raw, u, err, want)
		}
	}
	for _, raw := range []string{"http://a.example/", "https:///", "https://./", "://"} {
		if u, err := target(raw); err == nil {
			t.Errorf("target(%q) = %v, want an error", raw, u)
		}
	}
}
