package e2e

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/recapito/recapito/verify/rig/hostile"
)

// forge is an authority that signs certificates with any fault.
type forge struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newForge(t *testing.T, name string) *forge {
	t.Helper()
	f := &forge{}
	cert := f.issue(t, func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid, c.KeyUsage = name, true, true, x509.KeyUsageCertSign
	})
	f.cert, f.key = cert.Leaf, cert.PrivateKey.(*ecdsa.PrivateKey)
	return f
}

// issue makes a certificate for 127.0.0.1 that is good for 90 days, unless it is
// changed; signed by itself if the authority has no key yet.
func (f *forge) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "receiver"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if f.key != nil {
		parent, signer = f.cert, f.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// file writes the authority's certificate, for --callback-ca.
func (f *forge) file(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// endpoint listens on loopback and gives each connection to serve.
func endpoint(t *testing.T, serve func(net.Conn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	ended := make(chan struct{})
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				stop := make(chan struct{})
				defer close(stop)
				defer c.Close()
				running.Go(func() {
					select {
					case <-ended:
						_ = c.Close()
					case <-stop:
					}
				})
				serve(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); close(ended); running.Wait() })
	return "https://" + l.Addr().String() + "/"
}

// secured is an endpoint behind TLS.
func secured(t *testing.T, cfg *tls.Config, behave hostile.Behaviour) string {
	return endpoint(t, func(c net.Conn) {
		conn := tls.Server(c, cfg)
		if conn.Handshake() == nil {
			behave(&hostile.Session{Conn: conn, In: bufio.NewReader(conn)})
		}
	})
}

// saying answers what comes first with some bytes.
func saying(t *testing.T, text string) string {
	return endpoint(t, func(c net.Conn) {
		buf := make([]byte, 4096)
		if _, err := c.Read(buf); err == nil {
			_, _ = c.Write([]byte(text))
		}
	})
}

// diagnosed is what an account sees of a test.
type diagnosed struct {
	Verdict, Advice string
	Payload         struct{ EventID, EventType, AccountID string }
	Attempt         struct {
		StatusCode                                       int
		Error, Detail, Address, Response, ResponseHeader string
		Phases                                           map[string]int64
	}
	TLS *struct {
		Version      string
		Certificates []struct{ Subject string }
		ExpiresAt    *time.Time
	}
}

// came is how it ended, in words.
func (d *diagnosed) came() string {
	words := []string{d.Attempt.Error, d.Attempt.Detail}
	if d.Attempt.StatusCode != 0 {
		words = append(words, strconv.Itoa(d.Attempt.StatusCode))
	}
	return strings.Join(slices.DeleteFunc(append(words, d.Verdict), func(w string) bool { return w == "" }), " ")
}

// testEvent sends a test, when it may.
func (s *service) testEvent(t *testing.T, key, body string) diagnosed {
	t.Helper()
	for {
		code, answer := s.api("POST", hook+"/test-event", key, body)
		if code == http.StatusTooManyRequests {
			time.Sleep(time.Second)
			continue
		}
		var d diagnosed
		if err := json.Unmarshal(answer, &d); err != nil || code != http.StatusOK {
			t.Fatalf("POST test-event: %d %s", code, answer)
		}
		return d
	}
}

// The deadline of an attempt at endpoints that let it pass, and at the others.
const (
	hanging = 2 * time.Second
	willing = time.Minute
)

// sick is an endpoint that is ill in one way, and what a test finds.
type sick struct {
	name string
	open func(t *testing.T) string
	came string
	// hangs: it lets the deadline pass.
	hangs bool
}

func sickEndpoints(f, other *forge) []sick {
	good := func(t *testing.T) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{f.issue(t, nil)}} }
	behaving := func(b hostile.Behaviour) func(*testing.T) string {
		return func(t *testing.T) string { return secured(t, good(t), b) }
	}
	once := func(answer string) func(*testing.T) string { return behaving(hostile.Once(answer)) }
	showing := func(issue func(*testing.T) tls.Certificate) func(*testing.T) string {
		return func(t *testing.T) string {
			return secured(t, &tls.Config{Certificates: []tls.Certificate{issue(t)}}, hostile.Answering(hostile.OK200))
		}
	}
	faulty := func(change func(*x509.Certificate)) func(*testing.T) string {
		return showing(func(t *testing.T) tls.Certificate { return f.issue(t, change) })
	}
	speaking := func(change func(*tls.Config)) func(*testing.T) string {
		return func(t *testing.T) string {
			cfg := good(t)
			change(cfg)
			return secured(t, cfg, hostile.Answering(hostile.OK200))
		}
	}
	mute := func(c net.Conn) { _, _ = bufio.NewReader(c).WriteTo(new(bytes.Buffer)) }
	late := func(answer string) func(*testing.T) string {
		return behaving(func(s *hostile.Session) {
			if s.Request() != nil {
				time.Sleep(hanging + hanging/4) // so late is this endpoint
				s.Say(answer)
			}
		})
	}
	all := []sick{
		{"well", behaving(hostile.Answering(hostile.OK200)), "200 ACKNOWLEDGED", false},
		{"a body that does not come", once(hostile.Answer("200 OK", "Content-Length: 10")), "200 ACKNOWLEDGED", false},
		{"a gzip bomb", once(hostile.Answer("200 OK", "Content-Encoding: gzip") + hostile.GzipBomb()), "200 ACKNOWLEDGED", false},
		{"certificate ends soon", faulty(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(48 * time.Hour) }), "200 CERTIFICATE_EXPIRES_SOON", false},

		{"nothing listens", func(t *testing.T) string { return "https://" + freeAddr(t) + "/" }, "CONNECT_FAILED CONNECTION_REFUSED NOT_REACHABLE", false},
		{"no way there", func(*testing.T) string { return "https://127.255.255.255/" }, "CONNECT_FAILED UNREACHABLE NOT_REACHABLE", false},
		{"packets are dropped", dropping, "CONNECT_FAILED CONNECT_TIMEOUT NOT_REACHABLE", true},

		{"expired", faulty(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "TLS_FAILED CERTIFICATE_EXPIRED CERTIFICATE_REFUSED", false},
		{"not yet valid", faulty(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), "TLS_FAILED CERTIFICATE_NOT_YET_VALID CERTIFICATE_REFUSED", false},
		{"another name", faulty(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"example.com"} }), "TLS_FAILED CERTIFICATE_OTHER_NAME CERTIFICATE_REFUSED", false},
		{"not for servers", faulty(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), "TLS_FAILED CERTIFICATE_INVALID CERTIFICATE_REFUSED", false},
		{"signed by itself", showing(func(t *testing.T) tls.Certificate { return new(forge).issue(t, nil) }), "TLS_FAILED CERTIFICATE_SELF_SIGNED CERTIFICATE_REFUSED", false},
		{"without its chain", showing(func(t *testing.T) tls.Certificate { return other.issue(t, nil) }), "TLS_FAILED CERTIFICATE_CHAIN_INCOMPLETE CERTIFICATE_REFUSED", false},
		{"of another authority", showing(func(t *testing.T) tls.Certificate {
			cert := other.issue(t, nil)
			cert.Certificate = append(cert.Certificate, other.cert.Raw)
			return cert
		}), "TLS_FAILED CERTIFICATE_UNKNOWN_AUTHORITY CERTIFICATE_REFUSED", false},
		{"TLS 1.1", speaking(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), "TLS_FAILED TLS_VERSION HANDSHAKE_FAILED", false},
		{"wants a certificate", speaking(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }), "TLS_FAILED CLIENT_CERTIFICATE_REQUIRED HANDSHAKE_FAILED", false},
		{"no HTTP/1.1", speaking(func(c *tls.Config) { c.NextProtos = []string{"imap"} }), "TLS_FAILED TLS_PROTOCOL HANDSHAKE_FAILED", false},
		{"closes in the handshake", func(t *testing.T) string { return saying(t, "") }, "TLS_FAILED HANDSHAKE_CLOSED HANDSHAKE_FAILED", false},
		{"hangs in the handshake", func(t *testing.T) string { return endpoint(t, mute) }, "TLS_FAILED HANDSHAKE_TIMEOUT HANDSHAKE_FAILED", true},
		{"plain HTTP", func(t *testing.T) string { return saying(t, hostile.Answer("400 Bad Request", "Content-Length: 0")) }, "TLS_FAILED PLAIN_HTTP PLAIN_HTTP", false},
		{"SSH", func(t *testing.T) string { return saying(t, "SSH-2.0-OpenSSH_9.6\r\n") }, "TLS_FAILED NOT_TLS NOT_TLS", false},

		{"hangs", behaving(func(s *hostile.Session) { s.Request(); s.Hang() }), "TIMEOUT NO_ANSWER NO_ANSWER", true},
		{"drips its header", behaving(hostile.Drip("HTTP/1.1 200 OK\r\n", "X: y\r\n")), "TIMEOUT ANSWER_UNFINISHED ANSWER_UNFINISHED", true},
		{"acknowledges late", late(hostile.OK200), "TIMEOUT NO_ANSWER 200 ANSWERED_LATE", true},
		{"fails late", late(hostile.Answer("500 Oops", "Content-Length: 0")), "TIMEOUT NO_ANSWER 500 ANSWERED_LATE", true},
		{"closes without an answer", behaving(func(s *hostile.Session) { s.Request() }), "CONNECTION_LOST CONNECTION_CLOSED CONNECTION_LOST", false},
		{"resets", behaving(hostile.Reset("")), "CONNECTION_LOST CONNECTION_RESET CONNECTION_LOST", false},
		{"half a header", once("HTTP/1.1 200 OK\r\nA: b"), "CONNECTION_LOST ANSWER_UNFINISHED ANSWER_UNFINISHED", false},
		{"not HTTP", once("220 smtp ready\r\n"), "RESPONSE_INVALID NOT_HTTP RESPONSE_INVALID", false},
		{"status 000", once(hostile.Answer("000 None")), "RESPONSE_INVALID STATUS_INVALID RESPONSE_INVALID", false},
		{"a flood of 1xx", behaving(hostile.Flood("", "HTTP/1.1 102 Processing\r\n\r\n")), "RESPONSE_INVALID HEADER_TOO_LARGE RESPONSE_INVALID", false},
		{"switches", once("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"), "RESPONSE_INVALID PROTOCOL_SWITCHED 101 RESPONSE_INVALID", false},
	}
	for status, verdict := range map[int]string{
		301: "REDIRECTED", 302: "REDIRECTED", 307: "REDIRECTED", 308: "REDIRECTED", 400: "REQUEST_REFUSED", 401: "CALLER_REFUSED", 403: "CALLER_REFUSED",
		404: "PATH_NOT_FOUND", 405: "METHOD_REFUSED", 410: "GONE", 411: "BODY_REFUSED", 413: "BODY_REFUSED", 415: "BODY_REFUSED", 422: "REQUEST_REFUSED",
		429: "RATE_LIMITED", 500: "SERVER_FAILED", 502: "SERVER_FAILED", 503: "SERVER_FAILED", 504: "SERVER_FAILED", 599: "SERVER_FAILED", 999: "STATUS_UNKNOWN",
	} {
		answer := hostile.Answer(fmt.Sprint(status, " So"), "Retry-After: 86400", "Location: https://example.com/", "Content-Length: 2") + "no"
		all = append(all, sick{fmt.Sprint("status ", status), once(answer), fmt.Sprintf("HTTP_STATUS %d %s", status, verdict), false})
	}
	return all
}

func dropping(t *testing.T) string {
	addr, end, err := hostile.FullBacklog([4]byte{127, 0, 0, 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	return "https://" + addr + "/"
}

// TestTestEventFindsWhatIsIll: a test of an endpoint that is ill in any way tells
// in which, and what to do, in the words of the manual. It leaves no delivery, and
// the webhook as it was.
func TestTestEventFindsWhatIsIll(t *testing.T) {
	f, other := newForge(t, "known"), newForge(t, "unknown")
	bin, manual := build(t, false), read(t, "docs/receiving.md")
	start := func(limit time.Duration) *service {
		return serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", f.file(t), "--attempt-timeout", limit.String())
	}
	services := map[bool]*service{false: start(willing), true: start(hanging)}
	for i, tt := range sickEndpoints(f, other) {
		t.Run(tt.name, func(t *testing.T) {
			svc, account := services[tt.hangs], fmt.Sprint("acc_", i)
			key := svc.account(account)
			if code, answer := svc.api("POST", hook, key, callback(tt.open(t))); code != http.StatusCreated {
				t.Fatalf("register: %d %s", code, answer)
			}
			got := svc.testEvent(t, key, "")
			for tries := 1; tt.hangs && got.came() != tt.came && tries < 8; tries++ {
				got = svc.testEvent(t, key, "") // on a busy machine the deadline passes earlier
			}
			if got.came() != tt.came {
				t.Fatalf("got %s, want %s", got.came(), tt.came)
			}
			if row := fmt.Sprintf("| `%s` | %s |\n", got.Verdict, got.Advice); !strings.Contains(manual, row) {
				t.Errorf("docs/receiving.md does not say %q", row)
			}
			got.check(t, account)
			if code, answer := svc.api("GET", hook, key, ""); code != http.StatusOK || field(t, answer, "status") != "ACTIVE" {
				t.Errorf("the webhook after the test: %d %s, want it ACTIVE", code, answer)
			}
			if code, answer := svc.api("GET", hook+"/deliveries", key, ""); code != http.StatusOK || strings.Contains(string(answer), "eventId") {
				t.Errorf("deliveries after the test: %d %s, want none", code, answer)
			}
		})
	}
}

// check looks at what is told beside the verdict.
func (d *diagnosed) check(t *testing.T, account string) {
	t.Helper()
	if p := d.Payload; p.EventType != "TEST" || p.AccountID != account || !strings.HasPrefix(p.EventID, "test_") {
		t.Errorf("payload: %+v, want a TEST of %s", p, account)
	}
	if d.Attempt.Address == "" || !d.has("connectMs") {
		t.Errorf("attempt: to %q, phases %v, want where it went and how long that took", d.Attempt.Address, d.Attempt.Phases)
	}
	if began := d.has("tlsMs"); began != (d.TLS != nil) {
		t.Errorf("TLS: %+v with phases %v, want it told if it began", d.TLS, d.Attempt.Phases)
	}
	refused := d.Verdict == "CERTIFICATE_REFUSED"
	if (d.Attempt.StatusCode != 0 || refused) && (len(d.TLS.Certificates) == 0 || d.TLS.Version == "" || (d.TLS.ExpiresAt == nil) != refused) {
		t.Errorf("TLS: %+v, want the version, the chain, and until when it is good if it is", d.TLS)
	}
	if failed := d.Attempt.Error == "HTTP_STATUS"; failed != (d.Attempt.Response == "no") || failed && !strings.HasPrefix(d.Attempt.ResponseHeader, "HTTP/1.1 "+strconv.Itoa(d.Attempt.StatusCode)) {
		t.Errorf("answer: %q, %q, want what the endpoint said", d.Attempt.ResponseHeader, d.Attempt.Response)
	}
}

func (d *diagnosed) has(phase string) bool {
	_, has := d.Attempt.Phases[phase]
	return has
}

// TestTestEventIsACallback: a test verifies as any callback does, is sent while the
// webhook is suspended, and does not end that.
func TestTestEventIsACallback(t *testing.T) {
	ca := newAuthority(t)
	to := newSink(t, ca)
	to.answer = func(_ string, w http.ResponseWriter, r *http.Request) {
		status := http.StatusNoContent
		if !strings.HasPrefix(r.Header.Get("webhook-id"), "test_") {
			status = http.StatusGone
		}
		w.WriteHeader(status)
	}
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file, "--attempt-timeout", willing.String())
	key := svc.account("acc")
	svc.register(to, "acc", key)
	if code, answer := svc.api("POST", "/events", bearer, batch([]string{event("acc", "evt_1", "m", "SENT")})); code != http.StatusAccepted {
		t.Fatalf("POST /events: %d %s", code, answer)
	}
	status := func() string {
		_, answer := svc.api("GET", hook, key, "")
		return field(t, answer, "status")
	}
	eventually(t, "the webhook to be suspended", func() bool { return status() == "SUSPENDED" })
	got := svc.testEvent(t, key, `{"sample":"WHATSAPP_READ_BY_USER"}`)
	arrived := to.of("acc")
	last := arrived[len(arrived)-1]
	if got.came() != "204 ACKNOWLEDGED" || last.ID != got.Payload.EventID || last.Attempt != "1" || last.Verified != nil {
		t.Errorf("got %s, arrived %+v, want an acknowledged test that verifies", got.came(), last)
	}
	if len(arrived) != 2 || status() != "SUSPENDED" {
		t.Errorf("after the test: %d callbacks, webhook %s, want the first event, the test, and SUSPENDED", len(arrived), status())
	}
}
