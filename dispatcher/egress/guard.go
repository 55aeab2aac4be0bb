package egress

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// guard checks the concrete address each time before it is dialled. It works
// behind the resolver and for each candidate, so a name whose addresses change
// gains nothing.
type guard struct {
	allow []netip.Prefix
	check *ssrf.Guardian
}

// wireServer is the host agent of Azure's virtual machines. Its address is
// global unicast and in no registry, but never a customer's.
var wireServer = netip.MustParseAddr("168.63.129.16")

// refusedError: callbacks may not go to this address.
type refusedError struct{ addr string }

func (e *refusedError) Error() string {
	return fmt.Sprintf("%s is not a public address (see --allow-network)", e.addr)
}

func newGuard(allow []netip.Prefix) *guard {
	return &guard{allow: allow, check: ssrf.New(ssrf.WithAnyPort())}
}

// control implements [net.Dialer.ControlContext].
func (g *guard) control(_ context.Context, network, address string, c syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return &refusedError{address}
	}
	addr := to.Addr().WithZone("").Unmap()
	if opened(g.allow, addr) {
		return nil
	}
	if addr == wireServer {
		return &refusedError{addr.String()}
	}
	plain := "tcp6"
	if addr.Is4() {
		plain = "tcp4"
	}
	if g.check.Safe(plain, netip.AddrPortFrom(addr, to.Port()).String(), c) != nil {
		return &refusedError{addr.String()}
	}
	return nil
}

// public reports whether callbacks may go to the address.
func (g *guard) public(addr netip.Addr) bool {
	return g.control(context.Background(), "tcp", netip.AddrPortFrom(addr, 443).String(), nil) == nil
}

func opened(allow []netip.Prefix, addr netip.Addr) bool {
	for _, p := range allow {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
