package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"syscall"
	"time"
)

// conn is a connection to one host. It is used by one request at a time, whose
// goroutine writes and reads itself.
type conn struct {
	net.Conn                 // TLS
	plain    net.Conn        // below TLS
	raw      syscall.RawConn // of its socket
	at       string          // host and port
	addr     string          // see [Result]
	made     time.Time       // before its name was looked up
	dies     time.Time       // no request begins then, or later
	meter    meter
	deadline time.Time
	trust    *trust // in which its certificate was verified
	reusable bool   // after an exchange
	// certificate: in the handshake the other side asked for ours; what is wrong with it
	// if the session fails. Empty: it did not ask.
	certificate Detail
	// keepAlive is how long the receiver said that it keeps it; 0: not told.
	keepAlive time.Duration

	// Of its present request:
	phases Phases
	reused bool   // there was one before
	header []byte // of its failed answer, see [answer]
	state  *tls.ConnectionState

	// The pool's, while it is idle:
	expires time.Time
	place   int // among the pool's expiries
}

// lifeSpread is the part of its life by which that of a connection is cut at
// most.
const lifeSpread = 0.25

// dial makes a connection whose request may begin. If it cannot, the connection
// still tells how far it came.
func (c *Client) dial(ctx context.Context, u *url.URL, r *Request) (*conn, error) {
	c.dials.Add(1)
	made := &conn{at: hostPort(u), made: time.Now()}
	// Those that were made together do not end together.
	made.dies = made.made.Add(c.life - time.Duration(c.jitter()*lifeSpread*float64(c.life)))
	if !r.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, r.Deadline)
		defer cancel()
	}
	if err := c.reach(ctx, made, u); err != nil {
		return made, &failure{phase: connecting, err: err}
	}
	var err error
	if tcp, ok := socket(made.plain).(*net.TCPConn); ok {
		made.raw, err = tcp.SyscallConn()
	}
	if err == nil {
		err = c.handshake(ctx, made, u.Hostname(), r.Test)
	}
	if err == nil && !made.begin(r.patience()) {
		err = &failure{phase: securing, err: context.DeadlineExceeded}
	}
	if err != nil {
		made.close()
	}
	return made, err
}

// handshake makes the TLS session. One of a test is not resumed, so that the other
// side shows its certificates.
func (c *Client) handshake(ctx context.Context, made *conn, name string, test bool) error {
	made.trust = c.trust.Load()
	cfg := made.trust.tls.Clone()
	cfg.ServerName = name
	if test {
		cfg.ClientSessionCache = nil
	}
	cfg.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return made.trust.show(made, asked)
	}
	began := time.Now()
	t := &turn{Conn: made.plain, turns: c.turns, ctx: ctx, left: c.tlsTimeout}
	defer func() { made.phases.TLS = since(began) - t.waited }()
	if err := t.take(); err != nil {
		return err
	}
	defer t.end()
	session := tls.Client(t, cfg)
	made.Conn = session
	err := session.HandshakeContext(ctx)
	if test {
		made.state = shown(session.ConnectionState(), err)
	}
	switch {
	case t.none: // TLS says only that ctx ended
		return errNoTurn
	case err != nil:
		if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok && made.trust.rootless {
			err = x509.SystemRootsError{Err: err}
		}
		return &failure{phase: securing, certificate: made.certificate, err: err}
	case session.ConnectionState().DidResume:
		c.resumed.Add(1)
	}
	return nil
}

// shown is the state of a session, with the certificates that were refused.
func shown(state tls.ConnectionState, err error) *tls.ConnectionState {
	if refused, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		state.PeerCertificates = refused.UnverifiedCertificates
	}
	return &state
}

// describe tells of the present request.
func (c *conn) describe(res *Result) {
	res.Phases, res.Reused, res.Address, res.TLS = c.phases, c.reused, c.addr, c.state
	if c.header != nil {
		res.Header, c.header = lines(c.header), nil
	}
}

// socket is what a connection is made of in the end.
func socket(c net.Conn) net.Conn {
	if t, ok := c.(*tunnel); ok {
		return t.tcp
	}
	return c
}

// since is more than zero: there was such a phase.
func since(began time.Time) time.Duration { return max(time.Since(began), 1) }

// silent reports whether not a byte of an answer came.
func (c *conn) silent() bool { return c.meter.left == maxHeader }

// begin sets the deadline of a request. It fails if the connection does.
func (c *conn) begin(deadline time.Time) bool {
	c.deadline = deadline
	c.reusable = false
	return c.SetDeadline(deadline) == nil
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// cancel ends what is going on, from another goroutine.
func (c *conn) cancel() { _ = c.SetDeadline(past) } // fails if it is closed, which is as well

// close sends no close_notify of TLS: it could block, and nobody needs it.
func (c *conn) close() {
	_ = c.plain.Close() // nothing to be done about it
}

// quiet reports whether an idle connection is open and has received nothing
// unasked.
func (c *conn) quiet() bool {
	if c.raw == nil {
		return false
	}
	quiet := false
	err := c.raw.Read(func(fd uintptr) bool {
		quiet = nothingToRead(fd)
		return true
	})
	return err == nil && quiet
}

// drained reports whether neither the buffer nor TLS has read beyond an answer.
// What is still in the socket, quiet finds.
func (c *conn) drained(in *bufio.Reader) bool {
	if in.Buffered() > 0 || c.SetReadDeadline(past) != nil {
		return false
	}
	_, err := in.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// meter reads a bounded number of bytes from a connection.
type meter struct {
	conn  *conn
	left  int
	began time.Time // zero once the first byte has come
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errTooLarge
	}
	n, err := m.conn.Read(p[:min(len(p), m.left)])
	if n > 0 {
		m.time()
	}
	m.left -= n
	return n, err
}

// time ends the phase that is the wait for the first byte.
func (m *meter) time() {
	if !m.began.IsZero() {
		m.conn.phases.FirstByte = since(m.began)
		m.began = time.Time{}
	}
}
