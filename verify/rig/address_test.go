package rig

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
)

// An address stays free for whom it was given to, however long that takes to
// listen there.
func TestAFreeAddressIsNobodyElses(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		addr, err := FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] {
			t.Errorf("%s was given twice", addr)
		}
		seen[addr] = true
		port := netip.MustParseAddrPort(addr).Port()
		if first := firstHandedOut(t); port >= first {
			t.Errorf("port %d: want one below %d, from which the system hands them out", port, first)
		}
		if l, err := net.Listen("tcp4", netip.AddrPortFrom(claimsAt, port).String()); err == nil { // never on macOS
			l.Close()
			t.Errorf("port %d can be claimed again", port)
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Errorf("nobody is to listen there: %v", err)
			continue
		}
		l.Close()
	}
}

// firstHandedOut is the first of the ports that the system chooses itself.
func firstHandedOut(t *testing.T) (first uint16) {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 49152 // RFC 6335
	}
	if _, err := fmt.Sscan(string(text), &first); err != nil {
		t.Fatal(err)
	}
	return first
}
