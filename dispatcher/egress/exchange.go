package egress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	maxHeader   = 32 << 10 // of an answer, those of 1xx before it included
	maxBody     = 64 << 10 // read of an answer, so that the connection can be reused
	excerptSize = 1 << 10  // kept of a failed answer's body
	// drainTime is how long a body may take after the header.
	drainTime  = time.Second
	bufferSize = 4 << 10
)

// buffers are what an exchange needs beside its connection: an idle connection
// needs none.
type buffers struct {
	out  []byte
	in   *bufio.Reader
	skip [bufferSize]byte
}

var bufferPool = sync.Pool{New: func() any { return &buffers{in: bufio.NewReaderSize(nil, bufferSize)} }}

// exchange sends a request and takes in its answer. An error says that there
// was none.
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
	_, failed := c.Write(b.out)
	// A receiver may answer and close without reading all.
	resp, err := c.readHeader(b.in) //nolint:bodyclose // closing a body reads all of it; the connection is closed instead
	switch {
	case err != nil && failed != nil:
		return Result{}, failed
	case err != nil:
		return Result{}, err
	}
	res := Result{Kind: HTTPStatus, StatusCode: resp.StatusCode, RetryAfter: resp.Header.Get("Retry-After")}
	switch {
	case resp.StatusCode < 200:
		res.Kind = ResponseInvalid // 101: not what was asked; 000: not a status
		return res, nil
	case resp.StatusCode <= 299:
		res.Kind = Acknowledged
	}
	excerpt, complete := c.readBody(resp, b)
	if res.Kind != Acknowledged && len(excerpt) > 0 {
		res.Excerpt = excerpt
	}
	c.reusable = complete && failed == nil && !resp.Close && c.drained(b.in)
	return res, nil
}

// appendRequest writes a whole request, so that it can be sent at once.
func appendRequest(b []byte, u *url.URL, r *Request) ([]byte, error) {
	target := u.RequestURI()
	if !httpguts.ValidHeaderFieldValue(target) || !httpguts.ValidHostHeader(u.Host) {
		return b, errNotCallable
	}
	b = append(append(b, "POST "...), target...)
	b = append(append(b, " HTTP/1.1\r\nHost: "...), u.Host...)
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

// readHeader reads an answer up to its body; those of 1xx before it are none.
func (c *conn) readHeader(in *bufio.Reader) (*http.Response, error) {
	for c.meter = (meter{conn: c, left: maxHeader}); ; {
		resp, err := http.ReadResponse(in, nil)
		switch {
		case err != nil && c.meter.err != nil:
			return nil, c.meter.err // the parser may take a broken connection for a broken line
		case err != nil:
			return nil, err
		case resp.StatusCode < 100 || resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols:
			return resp, nil
		}
	}
}

// readBody reads the body, for its beginning and so that the connection can be
// used again, if it is complete. A receiver that takes its time loses the
// connection, not the acknowledgement.
func (c *conn) readBody(resp *http.Response, b *buffers) (excerpt []byte, complete bool) {
	if resp.ContentLength == 0 || resp.Body == http.NoBody {
		return nil, true
	}
	until := time.Now().Add(drainTime)
	if c.deadline.IsZero() || until.Before(c.deadline) {
		if c.SetReadDeadline(until) != nil {
			return nil, false
		}
	}
	c.meter.left = maxBody
	if resp.StatusCode > 299 {
		excerpt = make([]byte, 0, excerptSize)
	}
	for {
		n, err := resp.Body.Read(b.skip[:])
		excerpt = append(excerpt, b.skip[:min(n, cap(excerpt)-len(excerpt))]...)
		if err != nil {
			// A body without a length ends with the connection: resp.Close is set.
			return excerpt, errors.Is(err, io.EOF)
		}
	}
}
