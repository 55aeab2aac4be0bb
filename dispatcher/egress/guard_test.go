package egress

import (
	"net/netip"
	"testing"
)

// The refuse list: IANA's special-purpose registries, and Azure's host agent.
var refusedRanges = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
	"::/3", "4000::/2", "8000::/1", // all outside 2000::/3
	"::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "5f00::/16", "fc00::/7",
	"fe80::/10", "fec0::/10", "ff00::/8",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	"192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24", "2620:4f:8000::/48", // AS112, AMT
}

func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

func TestGuardRefusesRanges(t *testing.T) {
	g := newGuard(Destinations{})
	for _, text := range refusedRanges {
		p := netip.MustParsePrefix(text)
		for _, addr := range []netip.Addr{p.Addr(), p.Addr().Next(), last(p).Prev(), last(p)} {
			if p.Contains(addr) && g.public(addr) {
				t.Errorf("public(%s) of %s = true, want false", addr, text)
			}
			if addr.Is4() {
				mapped := netip.AddrFrom16(addr.As16())
				if p.Contains(addr) && g.public(mapped) {
					t.Errorf("public(%s) of %s = true, want false", mapped, text)
				}
			}
			zoned := addr.WithZone("eth0")
			if p.Contains(addr) && g.public(zoned) {
				t.Errorf("public(%s) of %s = true, want false", zoned, text)
			}
		}
	}
}

func TestGuardAllowsPublic(t *testing.T) {
	g := newGuard(Destinations{})
	for _, text := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
		"128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0",
		"192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
		"198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
		"168.63.129.15", "168.63.129.17", "::ffff:8.8.8.8",
		"2001:200::1", "2001:4860:4860::8888", "2001:db7:ffff::1", "2001:db9::", "2003::1", "2606:4700::1111",
		"2a00:1450::1", "3ffe:ffff::1",
	} {
		if !g.public(netip.MustParseAddr(text)) {
			t.Errorf("public(%s) = false, want true", text)
		}
	}
}

func TestGuardAllow(t *testing.T) {
	tests := []struct {
		allow, addr string
		want        bool
	}{
		{"127.0.0.0/8", "127.0.0.1", true},
		{"127.0.0.0/8", "127.255.255.255", true},
		{"127.0.0.0/8", "::ffff:127.0.0.1", true},
		{"127.0.0.0/8", "10.0.0.1", false},
		{"127.0.0.0/8", "128.0.0.1", true},
		{"127.0.0.0/8", "::1", false},
		{"127.0.0.2/32", "127.0.0.1", false},
		{"::1/128", "::1", true},
		{"::1/128", "127.0.0.1", false},
		{"fe80::/10", "fe80::1%eth0", true},
		{"fc00::/7", "fd00:ec2::254", true},
		{"168.63.129.16/32", "168.63.129.16", true},
		{"0.0.0.0/0", "10.0.0.1", true},
		{"0.0.0.0/0", "fc00::1", false},
	}
	for _, tt := range tests {
		g := newGuard(Destinations{Allow: []netip.Prefix{netip.MustParsePrefix(tt.allow)}})
		if got := g.public(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("with %s open: public(%s) = %t, want %t", tt.allow, tt.addr, got, tt.want)
		}
	}
}

// FuzzGuard compares the guard with the table: it refuses what stands there,
// and nothing else.
func FuzzGuard(f *testing.F) {
	var table []netip.Prefix
	for _, text := range refusedRanges {
		p := netip.MustParsePrefix(text)
		table = append(table, p)
		for _, addr := range []netip.Addr{p.Addr().Prev(), p.Addr(), last(p), last(p).Next()} {
			f.Add(addr.AsSlice())
		}
	}
	g := newGuard(Destinations{})
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		if want := !contain(table, addr.Unmap()); g.public(addr) != want {
			t.Errorf("public(%s) = %t, want %t", addr, !want, want)
		}
	})
}

// What the guard cannot read it refuses.
func TestGuardRefusesUnreadable(t *testing.T) {
	for _, address := range []string{"", "8.8.8.8", "example.com:443", "8.8.8.8:99999", "/run/socket", "[::1]"} {
		if err := newGuard(Destinations{}).control(t.Context(), "tcp", address, nil); err == nil {
			t.Errorf("control(%q) = nil, want an error", address)
		}
	}
}
