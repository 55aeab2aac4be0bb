// Package e2e looks at Recapito from outside: the built binary, real TLS, real
// sockets, a browser, and other people's verifiers, clients and tools. It also
// holds the documents against what there is.
package e2e

import (
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
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/recapito/recapito/verify/rig"
)

// TestMain runs the tests in the top of the repository, where the paths of the
// documents begin.
func TestMain(m *testing.M) {
	if at := os.Getenv("LOCAL_PROGRAM"); at != "" {
		localProgram(at)
	}
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	var err error
	if programs, err = os.MkdirTemp("", "recapito-e2e-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(programs)
	os.Exit(code)
}

const platformKey = "platform-key-of-the-tests"

// programs is the folder of the binaries that the tests share.
var programs string

// static and racing are the binary as it is released, and one with the race detector, as the
// Makefile's RACE has it. Each is built once for all tests.
var (
	static = sync.OnceValues(func() (string, error) { return rig.Build(programs) })
	racing = sync.OnceValues(func() (string, error) {
		bin := filepath.Join(programs, "recapito-race")
		cmd := exec.Command("go", "build", "-race", "-gcflags=modernc.org/sqlite/lib=-race=false", "-o", bin, ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return bin, nil
	})
)

// build returns the binary as it is released: static; or, where there is a C compiler, one
// with the race detector.
func build(t *testing.T, race bool) string {
	t.Helper()
	which := static
	if _, err := exec.LookPath("cc"); race && err == nil {
		which = racing
	}
	bin, err := which()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// authority is a certificate authority for the receivers of one test.
type authority struct {
	file string // its certificate, for --callback-ca
	leaf tls.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "recapito tests"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &authority{file: file, leaf: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}

// arrival is one callback that the sink got.
type arrival struct {
	At       time.Time
	ID       string
	Attempt  string
	Body     string
	From     string // the sender's address
	Verified error
}

// sink receives the callbacks of every account at /ACCOUNT, over TLS.
type sink struct {
	server *httptest.Server
	mu     sync.Mutex
	// by account
	arrivals map[string][]arrival
	secrets  map[string]*standardwebhooks.Webhook
	answer   func(account string, w http.ResponseWriter, r *http.Request)
	open     atomic.Int64 // connections
}

func newSink(t *testing.T, ca *authority) *sink {
	t.Helper()
	s := &sink{arrivals: map[string][]arrival{}, secrets: map[string]*standardwebhooks.Webhook{}}
	s.server = httptest.NewUnstartedServer(s)
	s.server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.leaf}}
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0) // kills break handshakes
	s.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.open.Add(-1)
		}
	}
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	return s
}

func (s *sink) url(account string) string { return s.server.URL + "/" + account }

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	account := strings.TrimPrefix(r.URL.Path, "/")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut by a kill
	}
	s.mu.Lock()
	from, _, _ := strings.Cut(r.RemoteAddr, ":") // of IPv4
	a := arrival{At: time.Now(), ID: r.Header.Get("webhook-id"), Attempt: r.Header.Get("webhook-attempt"), Body: string(body), From: from}
	if v := s.secrets[account]; v != nil {
		a.Verified = v.Verify(body, r.Header)
	}
	s.arrivals[account] = append(s.arrivals[account], a)
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		answer(account, w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// count is the number of arrivals for the account, or for all ("").
func (s *sink) count(account string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if account != "" {
		return len(s.arrivals[account])
	}
	n := 0
	for _, a := range s.arrivals {
		n += len(a)
	}
	return n
}

func (s *sink) of(account string) []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]arrival(nil), s.arrivals[account]...)
}

// trust makes the sink verify the account's callbacks with its secret.
func (s *sink) trust(t *testing.T, account, secret string) {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatalf("secret %q: %v", secret, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[account] = v
}

// service is a running `recapito serve`.
type service struct {
	t        *testing.T
	cmd      *exec.Cmd
	url, ops string
	log      *lockedBuffer
	exited   chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := rig.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// serve starts the binary on a database file, or on the store of a URL, and waits until
// it is ready.
func serve(t *testing.T, bin, db string, flags ...string) *service {
	t.Helper()
	return launch(t, bin, db, append([]string{"--platform-key", platformKey}, flags...)...)
}

// launch is serve without a platform key.
func launch(t *testing.T, bin, db string, flags ...string) *service {
	t.Helper()
	s := serveUnready(t, bin, db, flags...)
	s.awaitReady()
	return s
}

func (s *service) awaitReady() {
	s.t.Helper()
	eventually(s.t, "the service to be ready", func() bool {
		resp, err := http.Get(s.ops + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// serveUnready starts the binary and waits until it answers, ready or not. Callbacks may
// go to loopback.
func serveUnready(t *testing.T, bin, db string, flags ...string) *service {
	t.Helper()
	return serveGuarded(t, bin, db, append([]string{"--allow-network", "127.0.0.0/8"}, flags...)...)
}

// serveGuarded is serveUnready with callbacks to public addresses alone.
func serveGuarded(t *testing.T, bin, db string, flags ...string) *service {
	t.Helper()
	if !strings.Contains(db, "://") {
		db = "sqlite:" + db
	}
	api, ops := freeAddr(t), freeAddr(t)
	s := &service{t: t, url: "http://" + api, ops: "http://" + ops, log: &lockedBuffer{}, exited: make(chan error, 1)}
	s.cmd = exec.Command(bin, append([]string{"serve", "--listen", api, "--ops-listen", ops, "--store", db,
		"--log-level", "warn"}, flags...)...)
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.exited <- s.cmd.Wait() }()
	t.Cleanup(s.end)
	eventually(t, "the service to answer", func() bool {
		resp, err := http.Get(s.ops + "/livez")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return s
}

// kill is kill -9; it returns when the process is gone.
func (s *service) kill() {
	_ = s.cmd.Process.Kill()
	s.exited <- <-s.exited
}

// end kills what still runs, and after a failure shows what the service did.
func (s *service) end() {
	if s.t.Failed() {
		s.showMetrics()
	}
	s.kill()
	if s.t.Failed() {
		s.t.Logf("the service ended with %v; its log:\n%s", s.cmd.ProcessState, s.log)
	}
}

// showMetrics logs what the service counted, if it still answers.
func (s *service) showMetrics() {
	resp, err := http.Get(s.ops + "/metrics")
	if err != nil {
		return
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	counted := regexp.MustCompile(`(?m)^recapito_\S+ 0\n|^recapito_\S+_bucket.*\n|^[^r].*\n`).ReplaceAllString(string(text), "")
	s.t.Logf("the service counted:\n%s", counted)
}

// terminate is SIGTERM, and fails the test if the exit is not clean.
func (s *service) terminate() {
	s.t.Helper()
	_ = s.cmd.Process.Signal(os.Interrupt)
	err := <-s.exited
	s.exited <- err
	if err != nil {
		s.t.Errorf("the service ended with %v; its log:\n%s", err, s.log)
	}
}

// againSoon is for tests that wait for every callback: a handshake takes longer
// than its 5 s on a machine that is very busy, and the default's fourth gap is
// longer than patience.
var againSoon = "--retry-schedule=" + strings.TrimSuffix(strings.Repeat("1s,", 100), ",")

// patience is for what hangs: on a busy machine all takes its time.
const patience = 5 * time.Minute

// eventually polls until the condition holds; it fails the test when it never
// does.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// eventuallyCounts is eventually for a number that grows: it goes on as long as
// the number does.
func eventuallyCounts(t *testing.T, what string, want int, count func() int) {
	t.Helper()
	for n := count(); n < want; n = count() {
		eventually(t, fmt.Sprintf("%s: %d of %d, and one more", what, n, want), func() bool { return count() > n })
	}
}

// api makes a request with a credential: "Bearer …", an API key, or none.
func (s *service) api(method, path, credential, body string) (int, []byte) {
	s.t.Helper()
	code, answer, err := s.try(method, path, credential, body)
	if err != nil {
		s.t.Fatalf("%s %s: %v; log:\n%s", method, path, err, s.log)
	}
	return code, answer
}

// client keeps enough connections for hundreds of callers. Its limit is for an
// answer that never comes: beside other tests the race detector takes long.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}, Timeout: patience}

func (s *service) try(method, path, credential, body string) (int, []byte, error) {
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if strings.HasPrefix(credential, "Bearer ") {
		req.Header.Set("Authorization", credential)
	} else if credential != "" {
		req.Header.Set("X-API-Key", credential)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

const bearer = "Bearer " + platformKey

// account provisions an account and returns an API key.
func (s *service) account(id string) string {
	s.t.Helper()
	if code, answer := s.api("PUT", "/accounts/"+id, bearer, ""); code != 200 && code != 201 {
		s.t.Fatalf("PUT /accounts/%s: %d %s", id, code, answer)
	}
	code, answer := s.api("POST", "/accounts/"+id+"/api-keys", bearer, "")
	if code != 201 {
		s.t.Fatalf("POST api-keys: %d %s", code, answer)
	}
	return field(s.t, answer, "key")
}

const hook = "/webhooks/delivery-status"

// register registers the sink's URL for the account, which the sink then
// verifies.
func (s *service) register(to *sink, account, key string) {
	s.t.Helper()
	code, answer := s.api("POST", hook, key, callback(to.url(account)))
	if code != 201 {
		s.t.Fatalf("POST %s: %d %s", hook, code, answer)
	}
	to.trust(s.t, account, field(s.t, answer, "signingSecret"))
}

func callback(url string) string { return fmt.Sprintf(`{"callbackUrl":%q}`, url) }

func field(t *testing.T, answer []byte, name string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(answer, &m); err != nil {
		t.Fatalf("answer %s: %v", answer, err)
	}
	v, _ := m[name].(string)
	if v == "" {
		t.Fatalf("answer %s has no %s", answer, name)
	}
	return v
}

// event is one input event as JSON.
func event(account, id, message, status string) string {
	return fmt.Sprintf(`{"id":%q,"accountId":%q,"messageId":%q,"channel":"RCS","destination":"+393401234567","status":%q,"timestamp":"2026-11-20T10:30:00Z"}`,
		id, account, message, status)
}

func batch(events []string) string { return `{"events":[` + strings.Join(events, ",") + `]}` }
