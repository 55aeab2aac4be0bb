package server

import (
	"bytes"
	"net/http"
	"strings"
)

// response is the answer under way. One request's goroutine owns it.
type response struct {
	http.ResponseWriter
	body      *trackedBody
	operation string // empty: none was met
	status    int    // 0: not begun
	verbatim  bool   // not made by encoding/json
}

// Unwrap is for http.ResponseController.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *response) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
		r.complete()
	}
	r.ResponseWriter.WriteHeader(status)
}

// complete sets the headers that no operation sets.
func (r *response) complete() {
	h := r.Header()
	if !r.body.ended {
		// Otherwise net/http waits for the rest of the body before it sends the
		// answer.
		h.Set("Connection", "close")
	}
	if allow := h.Get("Allow"); strings.Contains(allow, http.MethodGet) {
		h.Set("Allow", allow+", "+http.MethodHead)
	}
}

func (r *response) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if r.verbatim {
		return r.ResponseWriter.Write(p)
	}
	if _, err := r.ResponseWriter.Write(unescapeHTML(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// unescapeHTML writes &, < and > of a JSON text unescaped, so that a callback
// URL is shown as it was given. encoding/json, which the generated code uses,
// escapes them for HTML. The generated code writes a text in one piece, so no
// escape is cut.
func unescapeHTML(text []byte) []byte {
	if !bytes.Contains(text, []byte(`\u00`)) {
		return text
	}
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		i := bytes.IndexByte(text, '\\')
		if i < 0 || i+1 == len(text) {
			break
		}
		out = append(out, text[:i]...)
		text = text[i:]
		if c, ok := htmlEscape(text); ok {
			out, text = append(out, c), text[len(`\u0026`):]
		} else { // another escape, perhaps of a backslash
			out, text = append(out, text[:2]...), text[2:]
		}
	}
	return append(out, text...)
}

func htmlEscape(text []byte) (byte, bool) {
	switch {
	case bytes.HasPrefix(text, []byte(`\u0026`)):
		return '&', true
	case bytes.HasPrefix(text, []byte(`\u003c`)):
		return '<', true
	case bytes.HasPrefix(text, []byte(`\u003e`)):
		return '>', true
	}
	return 0, false
}
