package egress_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

// TestMain also proves that every goroutine ends once its client is closed, and
// that a proxy in the environment is nobody's way: net/http reads it once.
func TestMain(m *testing.M) {
	_ = os.Setenv("HTTPS_PROXY", "http://127.0.0.9:9")
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // the fuzzing engine leaves goroutines of its own
	}
	for end := time.Now().Add(10 * time.Second); code == 0 && runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			fmt.Printf("goroutines: got %d, want %d\n%s\n", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
			code = 1
		}
	}
	os.Exit(code)
}

// authority signs the receivers' certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

var testCA = sync.OnceValue(func() *authority {
	key, cert := selfSigned()
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool}
})

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func selfSigned() (*ecdsa.PrivateKey, *x509.Certificate) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := leafTemplate()
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return key, must(x509.ParseCertificate(der))
}

func leafTemplate() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "receiver"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2)},
		DNSNames:     []string{"receiver.example.com"},
	}
}

// serverTLS is a receiver's configuration; change may spoil its certificate.
func serverTLS(change func(*x509.Certificate)) *tls.Config {
	ca := testCA()
	template := leafTemplate()
	if change != nil {
		change(template)
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must(x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key))
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

var goodTLS = sync.OnceValue(func() *tls.Config { return serverTLS(nil) })

// receiver is a socket that behaves as badly as its test says.
type receiver struct {
	addr     string
	conns    atomic.Int32 // accepted
	bytes    atomic.Int64 // of requests, read
	requests atomic.Int32 // read by request
}

func (r *receiver) url() string { return "https://" + r.addr + "/status" }

// listen serves raw TCP at a host; serve owns each connection until it returns.
func listen(t testing.TB, host string, serve func(*receiver, net.Conn)) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	r := &receiver{addr: l.Addr().String()}
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.conns.Add(1)
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			running.Go(func() {
				defer func() { _ = c.Close() }()
				serve(r, c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return r
}

func listenTLS(t testing.TB, cfg *tls.Config, serve func(*hostile.Session)) *receiver {
	t.Helper()
	return listenTLSAt(t, "127.0.0.1", cfg, serve)
}

func listenTLSAt(t testing.TB, host string, cfg *tls.Config, serve func(*hostile.Session)) *receiver {
	t.Helper()
	return listen(t, host, func(r *receiver, c net.Conn) {
		conn := tls.Server(c, cfg)
		if conn.Handshake() != nil {
			return
		}
		serve(&hostile.Session{
			Conn: conn, In: bufio.NewReader(&countedReader{conn, &r.bytes}), Requested: func() { r.requests.Add(1) },
		})
	})
}

// countedReader counts the plain bytes that a receiver gets.
type countedReader struct {
	io.Reader
	n *atomic.Int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func newClient(t testing.TB) *egress.Client {
	t.Helper()
	c := egress.New(egress.Config{Allow: loopback, RootCAs: testCA().pool, ConnectTimeout: patience, TLSTimeout: patience})
	t.Cleanup(c.Close)
	return c
}

const (
	// patience is how long a busy machine may take for what ends by itself.
	patience = time.Minute
	// slack is how much later than its deadline an attempt may end on one.
	slack = 10 * time.Second
	brief = time.Second // a deadline that a test waits for
)

func newRequest(url string) *egress.Request {
	return &egress.Request{
		URL:    url,
		Header: []egress.Field{{Name: "Content-Type", Value: "application/json"}, {Name: "Webhook-Id", Value: "evt_1"}},
		Body:   []byte(`{"status":"DELIVERED"}`),
	}
}

// post makes an attempt that ends by itself.
func post(t testing.TB, c *egress.Client, r *egress.Request) egress.Result {
	t.Helper()
	return postWithin(t, c, r, patience)
}

// postBriefly makes an attempt that ends by its deadline, in a phase that it must
// have reached by then. If the machine was too busy for that, it gets more time.
func postBriefly(t testing.TB, c *egress.Client, r *egress.Request, reached func(egress.Result) bool) egress.Result {
	t.Helper()
	for limit := brief; ; limit *= 2 {
		if res := postWithin(t, c, r, limit); reached(res) || limit >= patience {
			return res
		}
	}
}

// postWithin fails the test if the attempt outlives its deadline.
func postWithin(t testing.TB, c *egress.Client, r *egress.Request, limit time.Duration) egress.Result {
	t.Helper()
	start := time.Now()
	r.Deadline = start.Add(limit)
	res := c.Post(t.Context(), r)
	if took := time.Since(start); took > limit+slack {
		t.Errorf("Post took %v, want at most %v", took, limit+slack)
	}
	return res
}

func wantKind(t testing.TB, res egress.Result, want egress.Kind) {
	t.Helper()
	if res.Kind != want {
		t.Errorf("Post: kind %v (status %d, %v), want %v", res.Kind, res.StatusCode, res.Err, want)
	}
}
