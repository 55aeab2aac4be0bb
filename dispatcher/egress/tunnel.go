package egress

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/net/proxy"
)

// tunnels is a dialer whose connections go by the proxy.
type tunnels struct {
	proxy *Proxy
	dial  dialer // of the proxy, at whatever address
	guard *guard // of the endpoints
	trust *atomic.Pointer[trust]
	socks socks // nil: it speaks HTTP
}

// socks is the part of golang.org/x/net/proxy that speaks on a connection that there
// is.
type socks interface {
	DialWithConn(ctx context.Context, conn net.Conn, network, address string) (net.Addr, error)
}

func newTunnels(p *Proxy, dial dialer, g *guard, trust *atomic.Pointer[trust]) *tunnels {
	t := &tunnels{proxy: p, dial: dial, guard: g, trust: trust}
	if p.scheme != "socks5" {
		return t
	}
	var auth *proxy.Auth
	if p.user != nil {
		password, _ := p.user.Password()
		auth = &proxy.Auth{User: p.user.Username(), Password: password}
	}
	made, _ := proxy.SOCKS5("tcp", p.address, auth, nil) // never fails
	t.socks, _ = made.(socks)
	return t
}

// tunnel is a connection to an endpoint by the proxy.
type tunnel struct {
	net.Conn          // to the proxy
	tcp      net.Conn // below it
	to       string   // host and port
	took     time.Duration
}

// Close sends nothing, as it could block.
func (t *tunnel) Close() error { return t.tcp.Close() }

// DialContext makes a connection to the proxy, and a way through it to the address.
func (t *tunnels) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := t.permitted(ctx, network, address); err != nil {
		return nil, err
	}
	tcp, err := t.dial.DialContext(ctx, network, t.proxy.address)
	if err != nil {
		return nil, &wayError{"the proxy " + t.proxy.String() + " cannot be reached", err}
	}
	made := &tunnel{Conn: tcp, tcp: tcp, to: address}
	began := time.Now()
	err = t.open(ctx, made)
	made.took = since(began)
	if err != nil {
		_ = tcp.Close() // nothing was sent on it to the endpoint
		return nil, &tunnelError{made, err}
	}
	return made, nil
}

// tunnelError is why there is none.
type tunnelError struct {
	*tunnel
	err error
}

func (e *tunnelError) Error() string { return e.err.Error() }
func (e *tunnelError) Unwrap() error { return e.err }

// permitted asks the guard. It cannot know where a name leads that the proxy looks up.
func (t *tunnels) permitted(ctx context.Context, network, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return notPublic(address)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return t.guard.control(ctx, network, address, nil)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || !t.guard.takes(uint16(number)) {
		return portNotAllowed(uint16(number))
	}
	return nil
}

// open makes the way. The end of ctx ends it.
func (t *tunnels) open(ctx context.Context, made *tunnel) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := made.tcp.SetDeadline(deadline); err != nil {
			return t.failed("closed the connection", err)
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = made.tcp.SetDeadline(past) })
	defer stop()
	var err error
	if t.socks != nil {
		err = t.socksConnect(ctx, made)
	} else {
		err = t.httpConnect(ctx, made)
	}
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err == nil {
		err = made.tcp.SetDeadline(time.Time{})
	}
	return err
}

func (t *tunnels) httpConnect(ctx context.Context, made *tunnel) error {
	if t.proxy.scheme == "https" {
		session := tls.Client(made.tcp, &tls.Config{RootCAs: t.trust.Load().tls.RootCAs, ServerName: t.proxy.host(), MinVersion: tls.VersionTLS12})
		if err := session.HandshakeContext(ctx); err != nil {
			return t.failed("makes no TLS session", err)
		}
		made.Conn = session
	}
	if _, err := made.Write(t.request(made.to)); err != nil {
		return t.failed("does not take CONNECT", err)
	}
	b, _ := bufferPool.Get().(*buffers)
	answers := &bounded{made.Conn, maxHeader}
	b.in.Reset(answers)
	defer func() {
		b.in.Reset(nil)
		bufferPool.Put(b)
	}()
	a, err := readAnswer(b)
	for err == nil && a.status < http.StatusOK && a.status != http.StatusSwitchingProtocols {
		a, err = readAnswer(b)
	}
	switch {
	case isTimeout(err) || ctx.Err() != nil:
		return t.silent()
	case err != nil:
		return t.failed("gives no answer to CONNECT", err)
	case !a.acknowledges():
		return t.refused(&a)
	case b.in.Buffered() > 0:
		return t.failed("sends more than its answer to CONNECT", nil)
	}
	return nil
}

// request is a CONNECT (RFC 9110, section 9.3.6).
func (t *tunnels) request(to string) []byte {
	text := "CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\n"
	if t.proxy.user != nil {
		password, _ := t.proxy.user.Password()
		text += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(t.proxy.user.Username()+":"+password)) + "\r\n"
	}
	return []byte(text + "\r\n")
}

// refused is what an answer other than 2xx means. A 407 that asks for no credentials
// is how Smokescreen denies an endpoint.
func (t *tunnels) refused(a *answer) error {
	why := fmt.Sprintf("the proxy %s answers CONNECT with %d", t.proxy, a.status)
	switch a.status {
	case http.StatusForbidden:
		return &toldError{DestinationRefused, NetworkDenied, why}
	case http.StatusProxyAuthRequired:
		if !a.challenges {
			return &toldError{DestinationRefused, NetworkDenied, why}
		}
	case http.StatusGatewayTimeout:
		return &toldError{ConnectFailed, ConnectTimeout, why}
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable:
		return &toldError{ConnectFailed, "", why}
	}
	return &wayError{why: why}
}

// socksReplies are those that concern the endpoint (RFC 1928, section 6), in the words
// of golang.org/x/net/proxy, which does not export their numbers.
var socksReplies = map[string]toldError{
	"unknown error general SOCKS server failure":      {kind: ConnectFailed},
	"unknown error connection not allowed by ruleset": {kind: DestinationRefused, detail: NetworkDenied},
	"unknown error network unreachable":               {kind: ConnectFailed, detail: Unreachable},
	"unknown error host unreachable":                  {kind: ConnectFailed, detail: Unreachable},
	"unknown error connection refused":                {kind: ConnectFailed, detail: ConnectionRefused},
	"unknown error TTL expired":                       {kind: ConnectFailed, detail: Unreachable},
	"unknown error address type not supported":        {kind: ConnectFailed, detail: Unreachable},
}

func (t *tunnels) socksConnect(ctx context.Context, made *tunnel) error {
	_, err := t.socks.DialWithConn(ctx, made.tcp, "tcp", made.to)
	switch {
	case err == nil:
		return nil
	case isTimeout(err) || ctx.Err() != nil:
		return t.silent()
	}
	for words, told := range socksReplies {
		if says(err, words) {
			told.why = "the proxy " + t.proxy.String() + " says: " + words
			return &told
		}
	}
	return t.failed("makes no way", err)
}

// silent: the proxy is there, and waits for the endpoint, as far as can be told.
func (t *tunnels) silent() error {
	return &toldError{ConnectFailed, ConnectTimeout, "the proxy " + t.proxy.String() + " made no way in time"}
}

func (t *tunnels) failed(what string, err error) error {
	return &wayError{"the proxy " + t.proxy.String() + " " + what, err}
}

// bounded reads a bounded number of bytes.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
