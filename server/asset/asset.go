// Package asset serves the files of the binary that everybody may read: compressed to
// clients that accept it, and revalidated by their ETag. What a page may do is its
// Content-Security-Policy, which the caller states.
package asset

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kind is what the header of an answer says of a file.
type Kind struct {
	ContentType string
	Language    string // empty: it has none
	Policy      string // Content-Security-Policy
	// Immutable says that the file's address changes with its content, so that a client
	// need not ask for it again.
	Immutable bool
}

// File is one.
type File struct {
	Kind
	etag string // without quotes
	// Made when they are first asked for: to compress all files takes longer than the
	// rest of a start.
	zipped, plain func() []byte
}

// New keeps a text.
func New(kind Kind, text []byte) *File {
	return &File{
		Kind: kind, etag: digest(text), plain: func() []byte { return text },
		zipped: sync.OnceValue(func() []byte {
			var zipped bytes.Buffer
			w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
			if err != nil {
				panic(err) // it is a level
			}
			if _, err := w.Write(text); err != nil {
				panic(err) // a buffer takes everything
			}
			if err := w.Close(); err != nil {
				panic(err)
			}
			return zipped.Bytes()
		}),
	}
}

// Zipped keeps a compressed text.
func Zipped(kind Kind, zipped []byte) *File {
	return &File{
		Kind: kind, etag: digest(zipped), zipped: func() []byte { return zipped },
		plain: sync.OnceValue(func() []byte { // for the few who do not take gzip
			r, err := gzip.NewReader(bytes.NewReader(zipped))
			if err != nil {
				panic(fmt.Errorf("an asset is not gzip: %w", err))
			}
			text, err := io.ReadAll(r)
			if err != nil {
				panic(fmt.Errorf("an asset is not gzip: %w", err))
			}
			return text
		}),
	}
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Size is how many bytes are sent to a client that takes gzip.
func (f *File) Size() int { return len(f.zipped()) }

// ServeHTTP answers GET, and If-None-Match with it.
func (f *File) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", f.Policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Content-Type", f.ContentType)
	if f.Immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache") // kept, but revalidated each time
	}
	h.Add("Vary", "Accept-Encoding")
	if f.Language != "" {
		h.Set("Content-Language", f.Language)
	}
	var body []byte
	if takesGzip(r.Header.Values("Accept-Encoding")) {
		body = f.zipped()
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		h.Set("ETag", `"`+f.etag+`-gzip"`)
	} else {
		body = f.plain()
		h.Set("ETag", `"`+f.etag+`"`)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// takesGzip reads Accept-Encoding (RFC 9110, section 12.5.3).
func takesGzip(accept []string) bool {
	for coding := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		_, q, weighted := strings.Cut(weight, "=")
		value, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
		return !weighted || err == nil && value > 0
	}
	return false
}

// Redirect leads to a page, with the query of the request.
func Redirect(page string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		address := page
		if r.URL.RawQuery != "" {
			address += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", address)
		w.WriteHeader(http.StatusFound)
	}
}
