// Package egress is the only part of Recapito that dials. It makes the HTTP
// requests that carry callbacks, and says which URLs may be called. It promises:
//
//   - No request reaches an address outside the public Internet, unless the
//     operator opened its range, or has a proxy that looks names up.
//   - One call is one request at most. It follows no redirect. Only a request that
//     a kept connection took without a byte of an answer is made once more.
//   - A call ends by its deadline whatever the receiver does, in bounded memory.
//   - A [Result] can be shown to the account, except its Err.
//
// It leaves out when to call, how often, and what an answer means for a
// delivery (package dispatcher).
package egress

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"
)

// Config is everything a [Client] can be told.
type Config struct {
	Allow []netip.Prefix // see [Destinations], as are
	Deny  []netip.Prefix
	Ports []uint16
	// RootCAs are trusted. Default: the system's. Certificate is shown to endpoints that
	// ask for one. Default: none. See [Client.Trust].
	RootCAs     *x509.CertPool
	Certificate *tls.Certificate
	// Resolver looks names up. Default: Go's, with the system's configuration.
	Resolver *net.Resolver
	// Proxy is the way of all requests. Default: none, whatever the environment says.
	Proxy *Proxy
	// Source are the addresses of this machine that connections come from, one of each
	// family at most; an endpoint is reached at addresses of theirs alone. Default:
	// the system chooses.
	Source []netip.Addr
	// ConnectTimeout and TLSTimeout bound how long the other side may make those
	// phases of an attempt wait. Default: 5 s each.
	ConnectTimeout, TLSTimeout time.Duration
	// IdleTimeout is how long a connection is kept for the next request.
	// Default: 45 s.
	IdleTimeout time.Duration
	// ConnectionLife is how old a connection is at most when a request begins on
	// it. Default: 60 s; a reused connection asks neither the resolver nor the
	// guard again.
	ConnectionLife time.Duration
	// Jitter returns numbers in [0, 1) that spread the ends of connections;
	// default math/rand/v2's Float64.
	Jitter func() float64
}

// Client makes requests. It is safe for concurrent use.
type Client struct {
	dialer         dialer
	resolver       resolver
	proxy          *Proxy // of the dialer; nil: none
	source         []netip.Addr
	connectTimeout time.Duration // of the name and all its addresses
	trust          atomic.Pointer[trust]
	tlsTimeout     time.Duration
	turns          turns
	pool           *pool
	life           time.Duration // of a connection
	jitter         func() float64

	dials, resumed, reused, wayless atomic.Uint64
}

// New returns a client that keeps connections alive between requests.
func New(cfg Config) *Client {
	c := &Client{
		proxy:          cfg.Proxy,
		source:         cfg.Source,
		resolver:       cmp.Or(cfg.Resolver, net.DefaultResolver),
		connectTimeout: or(cfg.ConnectTimeout, 5*time.Second),
		tlsTimeout:     or(cfg.TLSTimeout, 5*time.Second),
		turns:          newTurns(),
		pool:           newPool(or(cfg.IdleTimeout, 45*time.Second)),
		life:           or(cfg.ConnectionLife, time.Minute),
		jitter:         cfg.Jitter,
	}
	c.trust.Store(newTrust(cfg.RootCAs, cfg.Certificate))
	if c.jitter == nil {
		c.jitter = rand.Float64
	}
	g := newGuard(Destinations{Deny: cfg.Deny, Allow: cfg.Allow, Ports: cfg.Ports})
	if cfg.Proxy == nil {
		c.dialer = newSources(cfg.Source, &net.Dialer{ControlContext: g.control})
	} else {
		c.dialer = newTunnels(cfg.Proxy, newSources(cfg.Source, &net.Dialer{Resolver: cfg.Resolver}), g, &c.trust)
	}
	return c
}

// Stats count since the client was made, but for Idle.
type Stats struct {
	Dials   uint64 // begun, whatever came of them
	Resumed uint64 // of these, TLS sessions that were resumed
	Reused  uint64 // requests on a connection that was kept
	Idle    int    // connections that are kept now
	Wayless uint64 // requests that ended as [NoWayOut]
}

// Stats tells them.
func (c *Client) Stats() Stats {
	return Stats{Dials: c.dials.Load(), Resumed: c.resumed.Load(), Reused: c.reused.Load(), Idle: c.pool.idle(), Wayless: c.wayless.Load()}
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Request is one POST.
type Request struct {
	URL      string
	Header   []Field // complete, but for Host and Content-Length
	Body     []byte
	Deadline time.Time // the request ends by then, with its answer or without; zero: never
	// MadeSince: its connection was made then or later. Zero: any will do.
	MadeSince time.Time
	// Proceed is asked at the last moment before the first byte is written, and
	// again before the first on a second connection; its error ends the attempt
	// with nothing (more) sent. Nil: yes.
	Proceed func() error
	// Sent is called when the request has been written, as far as that was possible,
	// before its answer is awaited. Nil: nobody is told.
	Sent func()
	// Test makes the request find out what it can: on a connection of its own, with
	// a whole handshake of which the result tells, and with a wait for a late answer
	// of once more what was left until Deadline when it was connected, 10 s at most.
	Test bool
}

// maxPatience is how long after its deadline a test waits for a late answer at
// most.
const maxPatience = 10 * time.Second

// patience is when a request ends that has a connection.
func (r *Request) patience() time.Time {
	if !r.Test || r.Deadline.IsZero() {
		return r.Deadline
	}
	return r.Deadline.Add(min(time.Until(r.Deadline), maxPatience))
}

// late gives what came to a test after its deadline the kind and detail that any
// other request would have got by then. The status stays.
func (r *Request) late(res *Result) {
	if r.Test && !r.Deadline.IsZero() && time.Now().After(r.Deadline) && res.Kind != Timeout && res.Kind != Interrupted {
		res.Kind, res.Detail = Timeout, NoAnswer
	}
}

// Field is a line of a request's header.
type Field struct{ Name, Value string }

// Result says how a request ended.
type Result struct {
	Kind       Kind
	Detail     Detail
	StatusCode int    // 0: no answer
	RetryAfter string // a failed answer's, as it came
	Location   string // a redirect's, as text that can be shown
	Header     string // the first KiB of a failed answer's status line and header, likewise
	Excerpt    []byte // the first KiB of a failed answer's body
	Phases     Phases
	Reused     bool // its connection was kept from an earlier request
	// Address, with its port, is where its connection went, or the one that could
	// not be made. Empty: the request did not get as far, callbacks may not go
	// there, or the proxy looked the name up.
	Address string
	// ByProxy: the failure is what the operator's proxy said, or that it said nothing
	// in time. It may be the proxy's own.
	ByProxy bool
	// TLS is a test's, also of a handshake that failed; nil: none began. Its
	// PeerCertificates are those that came, trusted or not.
	TLS *tls.ConnectionState
	// Err is for the log alone: it may name addresses of the inside.
	Err error
}

// Phases are how long the parts of a request took, the one that failed up to its
// failure. Zero: it had no such part. The time that a request waits for this
// process is in none of them.
type Phases struct {
	DNS       time.Duration // its host is no address
	Connect   time.Duration // to the proxy, if there is one
	Proxy     time.Duration // which makes the way to the host
	TLS       time.Duration
	FirstByte time.Duration // of the answer, from when it was sent
}

// TimedOut reports whether the time of some phase was over.
func (r *Result) TimedOut() bool {
	switch r.Detail {
	case DNSTimeout, ConnectTimeout, HandshakeTimeout:
		return true
	}
	return r.Kind == Timeout
}

// Post makes one POST and ends by its deadline, or when ctx does. It never
// follows a redirect. It tries again in one case, at once, on a new connection
// and once: a kept connection ended before a byte of the answer, as when the
// receiver closes it while the request is on its way.
func (c *Client) Post(ctx context.Context, r *Request) Result {
	u, err := target(r.URL)
	if err != nil {
		return Result{Kind: ResponseInvalid, Err: err}
	}
	if kept := c.kept(u, r); kept != nil {
		res := c.send(ctx, kept, u, r)
		if res.Kind != ConnectionLost || !kept.silent() {
			return res
		}
	}
	made, err := c.dial(ctx, u, r)
	if err != nil {
		res := failed(ctx, err)
		made.describe(&res)
		c.rest(ctx, &res, r)
		return res
	}
	return c.send(ctx, made, u, r)
}

// send makes the request on a connection.
func (c *Client) send(ctx context.Context, conn *conn, u *url.URL, r *Request) Result {
	if r.Proceed != nil {
		if err := r.Proceed(); err != nil {
			c.pool.put(conn) // nothing was sent on it
			return Result{Kind: Withdrawn, Err: err}
		}
	}
	stop := context.AfterFunc(ctx, conn.cancel)
	res, err := conn.exchange(u, r)
	if err != nil {
		res = failed(ctx, err)
		r.late(&res)
	}
	conn.describe(&res)
	if stop() && err == nil && conn.reusable && !r.Test && conn.trust == c.trust.Load() {
		c.pool.put(conn)
	} else {
		conn.close()
	}
	return res
}

const (
	// exhaustedPause keeps callers from trying again faster than files are closed.
	exhaustedPause = 250 * time.Millisecond
	// waylessPause keeps them from storming a proxy that is down.
	waylessPause = time.Second
)

// rest delays the end of a request that failed for want of something of ours.
func (c *Client) rest(ctx context.Context, res *Result, r *Request) {
	switch res.Kind {
	case Exhausted:
		c.pool.shed()
		pause(ctx, exhaustedPause)
	case NoWayOut:
		c.wayless.Add(1)
		if !r.Test { // which is made once
			pause(ctx, waylessPause)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// kept takes an idle connection, or returns nil.
func (c *Client) kept(u *url.URL, r *Request) *conn {
	if r.Test {
		return nil
	}
	at := hostPort(u)
	for conn := c.pool.take(at, r.MadeSince); conn != nil; conn = c.pool.take(at, r.MadeSince) {
		if conn.trust == c.trust.Load() && conn.begin(r.Deadline) && conn.quiet() {
			c.reused.Add(1)
			conn.reused, conn.phases = true, Phases{}
			return conn
		}
		conn.close()
	}
	return nil
}

// Close ends the client; requests under way go on to their deadline.
func (c *Client) Close() { c.pool.close() }

// Shed closes the idle connections now: their files are needed elsewhere.
func (c *Client) Shed() { c.pool.shed() }
