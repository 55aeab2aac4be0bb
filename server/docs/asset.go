package docs

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

// asset is a file that everybody may read. It is kept compressed, sent
// compressed to clients that accept it, and revalidated by its ETag.
type asset struct {
	contentType, language string
	zipped                []byte
	etag                  string        // without quotes
	plain                 func() []byte // for the few who do not take gzip
}

// newAsset keeps a text.
func newAsset(contentType, language string, text []byte) *asset {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(text); err != nil {
		panic(err) // a buffer takes everything
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return zippedAsset(contentType, language, zipped.Bytes())
}

// zippedAsset keeps a compressed text.
func zippedAsset(contentType, language string, zipped []byte) *asset {
	sum := sha256.Sum256(zipped)
	return &asset{
		contentType: contentType, language: language, zipped: zipped,
		etag: base64.RawURLEncoding.EncodeToString(sum[:12]),
		plain: sync.OnceValue(func() []byte {
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

// serve answers GET, and If-None-Match with it.
func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", "no-cache") // kept, but revalidated each time
	h.Add("Vary", "Accept-Encoding")
	if a.language != "" {
		h.Set("Content-Language", a.language)
	}
	body := a.zipped
	if takesGzip(r.Header.Values("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		h.Set("ETag", `"`+a.etag+`-gzip"`)
	} else {
		body = a.plain()
		h.Set("ETag", `"`+a.etag+`"`)
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
