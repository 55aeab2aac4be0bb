package egress

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	// attemptDelay is how long an address is dialled alone before the next one is
	// dialled beside it (RFC 8305, section 5).
	attemptDelay = 250 * time.Millisecond
	// maxAddrs bounds the addresses of a name that are dialled: as many as
	// there is time for if none answers.
	maxAddrs = 20
	// maxRacing bounds the addresses that are dialled at a time: each takes a
	// file. If a name has more, each has only so many delays.
	maxRacing = 8
)

// dialer is *[net.Dialer], for one address at a time.
type dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// resolver is *[net.Resolver].
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// reach makes a TCP connection to one of the host's addresses, or has the proxy make
// it. The guard decides on each.
func (c *Client) reach(ctx context.Context, made *conn, u *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, c.connectTimeout)
	defer cancel()
	places, err := c.places(ctx, made, u)
	if err != nil {
		return err
	}
	limit := c.connectTimeout
	if len(places) > maxRacing {
		limit = maxRacing * attemptDelay
	}
	began := time.Now()
	made.plain, err = race(ctx, len(places), func(ctx context.Context, i int) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return c.dialer.DialContext(ctx, "tcp", places[i])
	})
	made.phases.Connect = since(began)
	if err != nil {
		made.dialled(err)
		return err
	}
	if t, ok := made.plain.(*tunnel); ok {
		made.tunnelled(t)
	} else {
		made.addr = addrPort(made.plain.RemoteAddr())
	}
	made.Conn = made.plain
	return nil
}

// places are where a host may be dialled: its addresses, or its name if the proxy
// looks it up.
func (c *Client) places(ctx context.Context, made *conn, u *url.URL) ([]string, error) {
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil && c.proxy != nil && c.proxy.Resolves {
		return []string{hostPort(u)}, nil
	}
	addrs, err := c.lookup(ctx, made, host)
	if err == nil && c.proxy == nil {
		addrs, err = c.sourced(addrs)
	}
	if err != nil {
		return nil, err
	}
	addrs = interleave(addrs)
	addrs = addrs[:min(len(addrs), maxAddrs)]
	places := make([]string, len(addrs))
	for i, a := range addrs {
		places[i] = netip.AddrPortFrom(a, port(u)).String()
	}
	return places, nil
}

// tunnelled notes where a proxy made a way to, or made none, and how long it took.
func (c *conn) tunnelled(t *tunnel) {
	c.phases.Connect, c.phases.Proxy = max(c.phases.Connect-t.took, 1), t.took
	if at, err := netip.ParseAddrPort(t.to); err == nil {
		c.addr = at.String()
	}
}

// dialled notes the address that an error of a dialer is about. What the guard
// refused is not told: a resolver of the inside may know more than the public. Neither
// is where the proxy is.
func (c *conn) dialled(err error) {
	var refused *refusedError
	var way *wayError
	var made *tunnelError
	var op *net.OpError
	switch {
	case errors.As(err, &refused), errors.As(err, &way):
	case errors.As(err, &made):
		c.tunnelled(made.tunnel)
	case errors.As(err, &op):
		c.addr = addrPort(op.Addr)
	}
}

func addrPort(at net.Addr) string {
	tcp, ok := at.(*net.TCPAddr)
	if !ok {
		return ""
	}
	a := tcp.AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()).String()
}

// lookup resolves a host as an absolute name, without the system's search list.
func (c *Client) lookup(ctx context.Context, made *conn, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	if isLocalhost(host) {
		return []netip.Addr{loopback4, netip.IPv6Loopback()}, nil
	}
	addrs, err := c.resolver.LookupNetIP(ctx, "ip", host+".")
	made.phases.DNS = since(made.made)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}

// isLocalhost: a name is this machine by its definition (RFC 6761, section 6.3). A
// name server need not know it, and an absolute name is not what /etc/hosts has.
func isLocalhost(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// interleave alternates between the families of addresses, beginning with the
// one that the resolver prefers (RFC 8305, section 4).
func interleave(addrs []netip.Addr) []netip.Addr {
	var families [2][]netip.Addr
	for _, a := range addrs {
		i := 0
		if a.Is4() != addrs[0].Is4() {
			i = 1
		}
		families[i] = append(families[i], a)
	}
	out := addrs[:0:0]
	for i := range addrs {
		for _, f := range families {
			if i < len(f) {
				out = append(out, f[i])
			}
		}
	}
	return out
}

// race dials the first of n addresses, the next one when the one before has
// failed or attemptDelay has passed, and returns the first connection, or the
// first error if there is none. Every dial has ended when it returns.
func race(ctx context.Context, n int, dial func(ctx context.Context, i int) (net.Conn, error)) (won net.Conn, first error) {
	type result struct {
		conn net.Conn
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result)
	delay := time.NewTimer(attemptDelay)
	defer delay.Stop()
	next, running := 0, 0
	start := func() {
		if won != nil || next == n || running == maxRacing || ctx.Err() != nil {
			return
		}
		i := next
		next++
		running++
		delay.Reset(attemptDelay)
		go func() {
			conn, err := dial(ctx, i)
			results <- result{conn, err}
		}()
	}
	for start(); running > 0; {
		select {
		case <-delay.C:
			start()
		case r := <-results:
			running--
			switch {
			case r.err != nil:
				if first == nil {
					first = r.err
				}
				start()
			case won != nil:
				_ = r.conn.Close() // nobody wants it
			default:
				won = r.conn
				cancel()
			}
		}
	}
	if won != nil {
		return won, nil
	}
	if first == nil {
		first = cmp.Or(ctx.Err(), errNotCallable)
	}
	return nil, first
}
