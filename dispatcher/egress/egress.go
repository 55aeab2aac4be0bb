// Package egress is the only part of Recapito that dials: it makes the HTTP
// requests that carry callbacks, and says which URLs may be called.
//
// It promises that no request reaches an address outside the public Internet,
// unless the operator opened its range; that one call is at most one request,
// never followed, never repeated; that it ends by its deadline whatever the
// receiver does, in bounded memory; and that a [Result] can be told to an
// account but for its Err.
//
// It leaves out when to call, how often, and what an answer means for a
// delivery (package dispatcher).
package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"time"
)

// Config is everything a [Client] can be told.
type Config struct {
	// Allow opens ranges of addresses that are not public. Default: none.
	Allow []netip.Prefix
	// RootCAs are trusted. Default: the system's.
	RootCAs *x509.CertPool
	// Resolver looks names up. Default: Go's, with the system's configuration.
	Resolver *net.Resolver
	// ConnectTimeout and TLSTimeout bound the phases of an attempt. Default:
	// 5 s each.
	ConnectTimeout, TLSTimeout time.Duration
	// IdleTimeout is how long a connection is kept for the next request.
	// Default: 45 s; a reused connection asks neither the resolver nor the
	// guard again.
	IdleTimeout time.Duration
}

const (
	maxHeader   = 32 << 10 // of an answer
	maxBody     = 64 << 10 // read of an answer, so that the connection can be reused
	excerptSize = 1 << 10  // kept of a failed answer's body
	// drainTime is how long a body may take after the header.
	drainTime = time.Second
	// idlePerHost: many accounts may share a host, as behind an API gateway, and
	// a connection closed for want of a place costs a handshake of 0.7 ms.
	idlePerHost = 1024
)

// Client makes requests. It is safe for concurrent use.
type Client struct {
	pool *pool
}

// New returns a client that keeps connections alive between requests.
func New(cfg Config) *Client {
	guard := newGuard(cfg.Allow)
	dialer := &net.Dialer{
		Timeout:        or(cfg.ConnectTimeout, 5*time.Second),
		Resolver:       cfg.Resolver,
		ControlContext: guard.control,
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // HTTP/2 repeats POSTs by itself
	sessions := tls.NewLRUClientSessionCache(1024)
	return &Client{pool: newPool(func() *http.Transport {
		return &http.Transport{
			Proxy:                  nil, // a proxy would dial for us, unguarded
			DialContext:            dialer.DialContext,
			Protocols:              protocols,
			TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12, ClientSessionCache: sessions},
			TLSHandshakeTimeout:    or(cfg.TLSTimeout, 5*time.Second),
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
			MaxIdleConnsPerHost:    idlePerHost,
			IdleConnTimeout:        or(cfg.IdleTimeout, 45*time.Second),
		}
	})}
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Request is one POST.
type Request struct {
	URL    string
	Header http.Header // complete; it is not changed
	Body   []byte
	// Proceed is asked once, at the last moment before the first byte is
	// written; its error ends the attempt with nothing sent. Nil: yes.
	Proceed func() error
}

// Result says how a request ended.
type Result struct {
	Kind       Kind
	StatusCode int    // 0: no answer
	RetryAfter string // the header's value, as it came
	Excerpt    []byte // the first KiB of a failed answer's body
	// Err is for the log alone: it may name addresses of the inside.
	Err error
}

// Post makes one POST and ends by ctx's deadline. It never follows a redirect
// and never tries again.
func (c *Client) Post(ctx context.Context, r *Request) Result {
	var refusal error
	if r.Proceed != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
			if refusal = r.Proceed(); refusal != nil {
				sever(got.Conn)
			}
		}})
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, nil)
	if err != nil {
		return Result{Kind: ResponseInvalid, Err: err}
	}
	req.Header = r.Header.Clone()
	// Without GetBody, and not NoBody: net/http cannot send it twice.
	req.Body = io.NopCloser(bytes.NewReader(r.Body))
	req.ContentLength = int64(len(r.Body))
	resp, err := c.pool.transport(req.URL).RoundTrip(req)
	if refusal != nil {
		closeBody(resp)
		return Result{Kind: Withdrawn, Err: refusal}
	}
	if err != nil {
		return Result{Kind: classify(ctx, err), Err: err}
	}
	return read(ctx, resp)
}

// sever ends a connection below TLS, so that nothing that net/http is about to
// write leaves. It has no gentler way to take back a request: it writes the
// header even when the context is done.
func sever(conn net.Conn) {
	if session, ok := conn.(*tls.Conn); ok {
		conn = session.NetConn()
	}
	_ = conn.Close() // all that matters is that it is closed
}

// read takes in an answer whose header is complete.
func read(ctx context.Context, resp *http.Response) Result {
	res := Result{Kind: HTTPStatus, StatusCode: resp.StatusCode, RetryAfter: resp.Header.Get("Retry-After")}
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		res.Kind = Acknowledged
	}
	if resp.StatusCode < 200 {
		res.Kind = ResponseInvalid // 101: not what was asked; 000: not a status
		closeBody(resp)
		return res
	}
	excerpt := drain(ctx, resp)
	if res.Kind != Acknowledged && len(excerpt) > 0 {
		res.Excerpt = excerpt
	}
	return res
}

// drain reads the body, for its beginning and so that the connection can be
// used again, and closes it. A receiver that takes its time loses the
// connection, not the acknowledgement.
func drain(ctx context.Context, resp *http.Response) []byte {
	if resp.ContentLength == 0 {
		closeBody(resp)
		return nil
	}
	until := time.Now().Add(drainTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	stop := time.AfterFunc(time.Until(until), func() { closeBody(resp) })
	defer stop.Stop()
	excerpt := make([]byte, excerptSize)
	n, err := io.ReadFull(resp.Body, excerpt)
	if err == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxBody-excerptSize)
	}
	closeBody(resp)
	return excerpt[:n]
}

func closeBody(resp *http.Response) {
	if resp != nil {
		_ = resp.Body.Close() // nothing to be done about it
	}
}

// CloseIdle closes the connections to a URL's host and port that are not in
// use; those in use are closed after their request. The next request dials.
func (c *Client) CloseIdle(callbackURL string) {
	if u, err := url.Parse(callbackURL); err == nil {
		c.pool.drop(u)
	}
}

// Close ends the client; requests under way go on to their deadline.
func (c *Client) Close() { c.pool.close() }
