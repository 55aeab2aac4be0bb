package egress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	maxHeader   = 32 << 10 // of an answer, those of 1xx before it included
	maxBody     = 64 << 10 // read of an answer, so that the connection can be reused
	excerptSize = 1 << 10  // kept of a failed answer's body, and of its header
	maxLocation = 2 << 10  // bytes kept of a redirect's
	// drainTime is how long a body may take after the header; an
	// acknowledgement's only so long that its endpoint is not taken for a slow one.
	drainTime      = time.Second
	briefDrainTime = 250 * time.Millisecond
	bufferSize     = 4 << 10
)

// buffers are what an exchange needs beside its connection. An idle connection
// has none.
type buffers struct {
	out  []byte
	in   *bufio.Reader
	skip [bufferSize]byte
}

var bufferPool = sync.Pool{New: func() any { return &buffers{in: bufio.NewReaderSize(nil, bufferSize)} }}

// exchange sends a request and reads its answer. An error means that there was
// no answer.
func (c *conn) exchange(u *url.URL, r *Request) (Result, error) {
	b, _ := bufferPool.Get().(*buffers)
	b.in.Reset(&c.meter)
	defer func() {
		b.in.Reset(nil)
		bufferPool.Put(b)
	}()
	var err error
	if b.out, err = appendRequest(b.out[:0], u, r); err != nil {
		return Result{}, err
	}
	began := time.Now()
	_, unsent := c.Write(b.out)
	if r.Sent != nil {
		r.Sent()
	}
	// A receiver may answer and close without reading all.
	a, err := c.await(b, began)
	c.header = a.header
	if err != nil {
		c.meter.time()
		return Result{}, c.unanswered(unsent, err)
	}
	res := Result{Kind: HTTPStatus, StatusCode: a.status, RetryAfter: a.retryAfter, Location: a.location}
	switch {
	case a.status == http.StatusSwitchingProtocols:
		res.Kind, res.Detail = ResponseInvalid, ProtocolSwitched // not what was asked
		return res, nil
	case a.acknowledges():
		res.Kind = Acknowledged
	}
	r.late(&res)
	excerpt, complete := c.readBody(&a, b)
	if len(excerpt) > 0 {
		res.Excerpt = excerpt
	}
	c.keepAlive = a.keepAlive
	c.reusable = complete && unsent == nil && c.drained(b.in)
	return res, nil
}

// await reads an answer up to its body; those of 1xx before it are none.
func (c *conn) await(b *buffers, began time.Time) (answer, error) {
	for c.meter = (meter{conn: c, left: maxHeader, began: began}); ; {
		a, err := readAnswer(b)
		if err != nil || a.status >= http.StatusOK || a.status == http.StatusSwitchingProtocols {
			return a, err
		}
	}
}

// appendRequest writes a whole request, so that it can be sent at once.
func appendRequest(b []byte, u *url.URL, r *Request) ([]byte, error) {
	target := u.RequestURI()
	if !httpguts.ValidHeaderFieldValue(target) || !httpguts.ValidHostHeader(u.Host) {
		return b, errNotCallable
	}
	b = append(append(b, "POST "...), target...)
	b = append(append(b, " HTTP/1.1\r\nHost: "...), u.Host...)
	b = append(b, "\r\nAccept: */*\r\nAccept-Encoding: identity"...)
	for _, f := range r.Header {
		if !httpguts.ValidHeaderFieldName(f.Name) || !httpguts.ValidHeaderFieldValue(f.Value) {
			return b, fmt.Errorf("header %q cannot be sent", f.Name)
		}
		b = append(append(b, "\r\n"...), f.Name...)
		b = append(append(b, ": "...), f.Value...)
	}
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(r.Body)), 10)
	return append(append(b, "\r\n\r\n"...), r.Body...), nil
}

// unanswered says in which phase an exchange failed; both errors are of the
// connection if the request was not sent whole.
func (c *conn) unanswered(unsent, err error) error {
	f := &failure{phase: waiting, certificate: c.certificate, err: err}
	switch {
	case c.meter.left < maxHeader:
		f.phase = answering
	case unsent != nil && isTimeout(unsent):
		f.phase = sending
	}
	return f
}

// readBody reads a body: a failed answer's for its beginning, and any that lets
// the connection be used again to its end. A receiver that takes its time loses
// the connection, not the acknowledgement.
func (c *conn) readBody(a *answer, b *buffers) (excerpt []byte, complete bool) {
	reusable, patience := a.reusable(), drainTime
	switch {
	case a.bodyless():
		return nil, reusable
	case !a.acknowledges():
		excerpt = make([]byte, 0, excerptSize)
	case reusable:
		patience = briefDrainTime
	default:
		return nil, false
	}
	until := time.Now().Add(patience)
	if (c.deadline.IsZero() || until.Before(c.deadline)) && c.SetReadDeadline(until) != nil {
		return nil, false
	}
	c.meter.left = maxBody
	body := io.Reader(b.in) // to the end of the connection
	switch {
	case a.chunked:
		body = httputil.NewChunkedReader(b.in)
	case a.length >= 0:
		body = io.LimitReader(b.in, a.length)
	}
	for read := int64(0); reusable || len(excerpt) < cap(excerpt); {
		n, err := body.Read(b.skip[:])
		read += int64(n)
		excerpt = append(excerpt, b.skip[:min(n, cap(excerpt)-len(excerpt))]...)
		if err != nil {
			ended := errors.Is(err, io.EOF) && (read == a.length || a.chunked && b.trailer() == nil)
			return excerpt, ended && reusable
		}
	}
	return excerpt, false
}
