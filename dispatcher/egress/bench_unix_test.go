//go:build unix

package egress_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/recapito/recapito/verify/rig/hostile"
)

// BenchmarkPost compares a request over a kept connection with net/http's, by
// the CPU time of both ends; the receiver is the same.
func BenchmarkPost(b *testing.B) {
	r := listenTLS(b, goodTLS(), hostile.Answering(hostile.OK200))
	b.Run("egress", func(b *testing.B) {
		c := newClient(b)
		measure(b, func() {
			req := newRequest(r.url())
			req.Deadline = time.Now().Add(10 * time.Second)
			if res := c.Post(b.Context(), req); res.StatusCode != http.StatusOK {
				b.Fatalf("Post: %v (%v), want 200", res.Kind, res.Err)
			}
		})
	})
	b.Run("net/http", func(b *testing.B) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: testCA().pool}}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
		measure(b, func() {
			want := newRequest(r.url())
			req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, want.URL, bytes.NewReader(want.Body))
			if err != nil {
				b.Fatal(err)
			}
			for _, f := range want.Header {
				req.Header.Set(f.Name, f.Value)
			}
			resp, err := client.Do(req)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				b.Fatal(err)
			}
			if err := resp.Body.Close(); err != nil {
				b.Fatal(err)
			}
		})
	})
}

func measure(b *testing.B, request func()) {
	request() // the handshake
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		request()
	}
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// cpu is the time that the process has had.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
