package egress

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// FuzzReadAnswer holds readAnswer against net/http's parser: what that takes is
// taken, with the same status; and an answer that lets its connection be used
// again ends, by both, in the same place.
func FuzzReadAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 204\nA:b\n\n", "HTTP/1.0 200 OK\r\nConnection: a, Keep-Alive\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n", "HTTP/1.1  304  x\r\nContent-Length: 7\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n",
		"HTTP/1.1 500 x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 200 OK\r\nConnection: close\r\nX : y\r\n\tz\r\n\r\n", "ICY 200 OK\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in := bytes.NewReader(text)
		b := &buffers{in: bufio.NewReaderSize(in, bufferSize)}
		a, err := readAnswer(b)
		theirs := bufio.NewReader(bytes.NewReader(text))
		resp, refused := http.ReadResponse(theirs, nil)
		if refused == nil {
			defer func() { _ = resp.Body.Close() }()
		}
		if refused == nil && resp.StatusCode >= 100 && (err != nil || a.status != resp.StatusCode) && !strings.ContainsAny(resp.Status[:3], "+") {
			t.Errorf("status %d (%v), want %d", a.status, err, resp.StatusCode)
		}
		if err == nil && (a.status < 100 || a.status > 999) {
			t.Errorf("status %d, want 100 to 999", a.status)
		}
		if err != nil || a.status < 200 || !a.reusable() {
			return
		}
		if refused != nil || resp.Close {
			t.Fatalf("%+v is reusable, want it closed: %v", a, refused)
		}
		got := []bool{a.bodyless(), a.chunked && !a.bodyless()}
		want := []bool{resp.Body == http.NoBody, slices.Contains(resp.TransferEncoding, "chunked")}
		if !slices.Equal(got, want) || !a.bodyless() && a.length != resp.ContentLength {
			t.Errorf("%+v: without body, chunked: %v, want %v and length %d", a, got, want, resp.ContentLength)
		}
		rest, _ := io.ReadAll(b.in)
		if a.bodyless() {
			if left, _ := io.ReadAll(theirs); !bytes.Equal(rest, left) {
				t.Errorf("%+v ends before %q, want before %q", a, rest, left)
			}
		}
	})
}
