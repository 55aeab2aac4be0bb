package egress

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"code.dny.dev/ssrf"
)

// guard checks the concrete address each time before it is dialled. It works
// behind the resolver and for each candidate, so a name whose addresses change
// gains nothing.
type guard struct {
	Destinations
	check *ssrf.Guardian
}

// Destinations are the operator's rules about where callbacks go. Without any
// they go to every public address, at any port.
type Destinations struct {
	Deny  []netip.Prefix // closed; Allow does not open them
	Allow []netip.Prefix // opened, though not public
	Ports []uint16       // no others; empty: any
}

// wireServer is the host agent of Azure's virtual machines. Its address is
// global unicast and in no registry, but never a customer's.
var wireServer = netip.MustParseAddr("168.63.129.16")

// refusedError: callbacks may not go there.
type refusedError struct {
	detail Detail
	why    string
}

func (e *refusedError) Error() string { return e.why }

func notPublic(addr string) error {
	return &refusedError{AddressNotPublic, addr + " is not a public address (see --allow-network)"}
}

func portNotAllowed(port uint16) error {
	return &refusedError{PortNotAllowed, fmt.Sprintf("port %d is not one of --callback-port", port)}
}

func newGuard(to Destinations) *guard {
	return &guard{Destinations: to, check: ssrf.New(ssrf.WithAnyPort())}
}

// control implements [net.Dialer.ControlContext].
func (g *guard) control(_ context.Context, network, address string, c syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return notPublic(address)
	}
	addr := to.Addr().WithZone("").Unmap()
	switch {
	case !g.takes(to.Port()):
		return portNotAllowed(to.Port())
	case contain(g.Deny, addr):
		return &refusedError{NetworkDenied, addr.String() + " is in a network of --deny-network"}
	case contain(g.Allow, addr):
		return nil
	case addr == wireServer:
		return notPublic(addr.String())
	}
	plain := "tcp6"
	if addr.Is4() {
		plain = "tcp4"
	}
	if g.check.Safe(plain, netip.AddrPortFrom(addr, to.Port()).String(), c) != nil {
		return notPublic(addr.String())
	}
	return nil
}

// Public reports whether callbacks may go to the address where the operator has no
// rules.
func Public(addr netip.Addr) bool { return newGuard(Destinations{}).public(addr) }

// public reports whether callbacks may go to the address, at some port.
func (g *guard) public(addr netip.Addr) bool {
	anyPort := *g
	anyPort.Ports = nil
	return anyPort.control(context.Background(), "tcp", netip.AddrPortFrom(addr, defaultPort).String(), nil) == nil
}

func (d *Destinations) takes(port uint16) bool {
	return len(d.Ports) == 0 || slices.Contains(d.Ports, port)
}

// contain reports whether an address, of IPv4 if it can be, is in one of the
// networks. Those may be written as IPv4 mapped into IPv6.
func contain(networks []netip.Prefix, addr netip.Addr) bool {
	mapped := netip.AddrFrom16(addr.As16())
	for _, p := range networks {
		if p.Contains(addr) || p.Addr().Is4In6() && p.Contains(mapped) {
			return true
		}
	}
	return false
}
