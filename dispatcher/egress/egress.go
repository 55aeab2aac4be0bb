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
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
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
	// writeBuffer holds a request's header and the longest URL: nothing is
	// written before Request.Proceed has been asked.
	writeBuffer = 16 << 10
	idlePerHost = 64 // as many as one lane has attempts at a time
)

// Client makes requests. It is safe for concurrent use.
type Client struct {
	transport *http.Transport
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
	t := &http.Transport{
		Proxy:                  nil, // a proxy would dial for us, unguarded
		DialContext:            dialer.DialContext,
		Protocols:              protocols,
		TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1024)},
		TLSHandshakeTimeout:    or(cfg.TLSTimeout, 5*time.Second),
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConnsPerHost:    idlePerHost,
		MaxIdleConns:           8192,
		IdleConnTimeout:        or(cfg.IdleTimeout, 45*time.Second),
		WriteBufferSize:        writeBuffer,
	}
	return &Client{transport: t}
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
	body := &proceedingBody{body: r.Body, proceed: r.Proceed}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, body)
	if err != nil {
		return Result{Kind: ResponseInvalid, Err: err}
	}
	req.Header = r.Header.Clone()
	req.ContentLength = int64(len(r.Body))
	resp, err := c.transport.RoundTrip(req)
	if refusal := body.refusal(); refusal != nil {
		closeBody(resp)
		return Result{Kind: Withdrawn, Err: refusal}
	}
	if err != nil {
		return Result{Kind: classify(ctx, err), Err: err}
	}
	return read(ctx, resp)
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

// proceedingBody asks whether to proceed when net/http first reads the body:
// the header is in the write buffer then, and no byte is on the wire. It has
// no GetBody, so net/http cannot send it twice.
type proceedingBody struct {
	body    []byte
	proceed func() error

	mu      sync.Mutex
	asked   bool
	refused error
}

// Read implements [io.Reader].
func (b *proceedingBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.asked {
		b.asked = true
		if b.proceed != nil {
			b.refused = b.proceed()
		}
	}
	if b.refused != nil {
		return 0, b.refused
	}
	if len(b.body) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.body)
	b.body = b.body[n:]
	return n, nil
}

// Close implements [io.Closer].
func (b *proceedingBody) Close() error { return nil }

func (b *proceedingBody) refusal() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused
}

// CloseIdle closes connections that are not in use. net/http cannot tell
// those to one URL from the others, so all are closed.
func (c *Client) CloseIdle(string) { c.transport.CloseIdleConnections() }

// Close ends the client; requests under way go on to their deadline.
func (c *Client) Close() { c.transport.CloseIdleConnections() }
