package egress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
)

// sources dials from one of the operator's addresses: the first that is of the
// family of where it goes.
type sources []*net.Dialer

func newSources(addrs []netip.Addr, d *net.Dialer) dialer {
	if len(addrs) == 0 {
		return d
	}
	var s sources
	for _, a := range addrs {
		own := *d
		own.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
		s = append(s, &own)
	}
	return s
}

// DialContext implements [dialer].
func (s sources) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var first error
	for _, d := range s {
		conn, err := d.DialContext(ctx, network, address)
		if err == nil {
			return conn, nil
		}
		if unbound(err) {
			err = &wayError{fmt.Sprintf("the source address %s cannot be used", d.LocalAddr), err}
		}
		if !otherFamily(err) {
			first = cmp.Or(first, err)
		}
	}
	return nil, cmp.Or(first, errNoSource)
}

// errNoSource: an endpoint has addresses of another family alone.
var errNoSource = fmt.Errorf("no source address is of the family of the endpoint's: %w", syscall.ENETUNREACH)

// sourced are the addresses that can be dialled from the operator's.
func (c *Client) sourced(addrs []netip.Addr) ([]netip.Addr, error) {
	if len(c.source) == 0 {
		return addrs, nil
	}
	addrs = slices.DeleteFunc(addrs, func(to netip.Addr) bool {
		return !slices.ContainsFunc(c.source, func(from netip.Addr) bool { return from.Is4() == to.Is4() })
	})
	if len(addrs) == 0 {
		return nil, errNoSource
	}
	return addrs, nil
}

// unbound: the machine does not have the source address, or no port of it is free.
func unbound(err error) bool {
	call, ok := errors.AsType[*os.SyscallError](err)
	return ok && call.Syscall == "bind"
}

func otherFamily(err error) bool {
	_, ok := errors.AsType[*net.AddrError](err)
	return ok
}
