package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/recapito/recapito/store"
)

const requestIDHeader = "X-Request-Id"

// edge is the outermost handler. It gives the request an id, serves HEAD as
// GET, turns a panic into a 500 and reports the answer.
type edge struct {
	Config
	next http.Handler
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := e.Now()
	body := &trackedBody{ReadCloser: r.Body, ended: r.ContentLength == 0 || r.ProtoMajor != 1}
	out := &response{ResponseWriter: w, body: body}
	h := w.Header()
	h.Set(requestIDHeader, requestID(r))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	allowOrigin(e.CORSOrigins, h, r)

	// A copy: net/http uses its own request when it finishes the answer.
	r = r.WithContext(r.Context())
	r.Body = body
	if r.Method == http.MethodHead {
		r.Method = http.MethodGet // net/http leaves the body out by itself
	}
	defer func() { e.OnRequest(out.operation, out.status, e.Now().Sub(began)) }()
	defer e.recover(out, r)
	e.next.ServeHTTP(out, r)
}

// recover answers a panic with a 500. An answer that has begun is cut off.
func (e *edge) recover(out *response, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	ref := internalError()
	logFailure(e.Logger, out, r, ref, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	if out.status != 0 {
		panic(http.ErrAbortHandler)
	}
	ref.write(out)
}

// requestID is the request's own id if it is safe in a log, else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get(requestIDHeader)
	if id == "" || len(id) > 128 || strings.ContainsFunc(id, notInID) {
		return store.NewID("req_")
	}
	return id
}

func notInID(c rune) bool {
	alphanumeric := '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
	return !alphanumeric && !strings.ContainsRune("._-", c)
}

// trackedBody knows whether the body was read to its end. It matters in HTTP/1
// only: HTTP/2 does not read on.
type trackedBody struct {
	io.ReadCloser
	ended bool
}

func (b *trackedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended = true
	}
	return n, err
}
