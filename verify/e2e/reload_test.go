package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const (
	newPlatformKey = "the-new-platform-key-of-the-tests"
	newSecretKey   = "6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b"
)

// reload is SIGHUP; it returns when the service says that it succeeded, or that it
// did not.
func (s *service) reload(succeeds bool) {
	s.t.Helper()
	told := func(name string) float64 { return metric(s.t, s, "recapito_config_last_reload_"+name) }
	before := told("success_timestamp_seconds")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, fmt.Sprintf("a reload that succeeds: %v", succeeds), func() bool {
		if !succeeds {
			return told("successful") == 0
		}
		return told("successful") == 1 && told("success_timestamp_seconds") > before
	})
}

// certificate writes the authority's own certificate and key, as the API's.
func (a *authority) certificate(t *testing.T, cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(a.leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: a.leaf.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A new connection of a client gets the certificate of the last reload that
// succeeded; one from before goes on.
func TestReloadTakesANewCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	before, after := newAuthority(t), newAuthority(t)
	before.certificate(t, cert, key)
	svc := serve(t, build(t, false), filepath.Join(dir, "recapito.db"), "--tls-cert", cert, "--tls-key", key)
	dial := func() *tls.Conn {
		t.Helper()
		c, err := tls.Dial("tcp", strings.TrimPrefix(svc.url, "http://"), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // compared below
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	want := func(what string, c *tls.Conn, a *authority) {
		t.Helper()
		if got := c.ConnectionState().PeerCertificates[0].Raw; string(got) != string(a.leaf.Certificate[0]) {
			t.Errorf("%s: another certificate than wanted", what)
		}
	}
	old := dial()
	want("at the start", old, before)

	after.certificate(t, cert, key)
	svc.reload(true)
	want("after a reload", dial(), after)
	if _, err := old.Write([]byte("GET /openapi.yaml HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
		t.Errorf("a connection from before: %v", err)
	}
	if n, err := old.Read(make([]byte, 12)); n == 0 || err != nil {
		t.Errorf("a connection from before: read %d bytes, %v, want an answer", n, err)
	}

	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	svc.reload(false)
	want("after a reload that failed", dial(), after)
	if log := svc.log.String(); !strings.Contains(log, "the configuration was not reloaded") || !strings.Contains(log, "--tls-cert") {
		t.Errorf("log:\n%s\nwant a line that says why", log)
	}
	svc.terminate()
}

// Callbacks go to whom the authorities of the last reload vouch for, and to nobody
// else: not even on a connection that is open.
func TestReloadTakesOtherAuthorities(t *testing.T) {
	dir := t.TempDir()
	trusted := filepath.Join(dir, "callback-ca.pem")
	ca, other := newAuthority(t), newAuthority(t)
	to := newSink(t, ca)
	use := func(a *authority) {
		t.Helper()
		text, err := os.ReadFile(a.file)
		if err == nil {
			err = os.WriteFile(trusted, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	use(ca)
	svc := serve(t, build(t, false), filepath.Join(dir, "recapito.db"), "--callback-ca", trusted, againSoon)
	key := svc.account("acc")
	svc.register(to, "acc", key)
	feed(t, svc, 1, [][]string{{event("acc", "e1", "m1", "SENT")}})
	eventually(t, "the first callback", func() bool { return to.count("acc") == 1 })

	use(other)
	svc.reload(true)
	feed(t, svc, 1, [][]string{{event("acc", "e2", "m2", "SENT")}})
	eventually(t, "an attempt that fails", func() bool {
		_, answer := svc.api("GET", hook+"/deliveries/e2", key, "")
		return strings.Contains(string(answer), `"error":"TLS_FAILED"`)
	})
	if n := to.count("acc"); n != 1 {
		t.Errorf("callbacks to whom nobody vouches for: got %d, want 0", n-1)
	}

	use(ca)
	svc.reload(true)
	eventually(t, "the second callback", func() bool { return to.count("acc") == 2 })
	svc.terminate()
}

// Both keys are changed while the platform feeds events and accounts look: not a
// request fails, and not a callback has a wrong signature. Afterwards the old keys are
// worth nothing.
func TestKeysAreChangedWithoutAFailedRequest(t *testing.T) {
	bin, ca := build(t, false), newAuthority(t)
	to, db := newSink(t, ca), filepath.Join(t.TempDir(), "recapito.db")
	platform, secret := keyFile(t, "platform-key", platformKey), keyFile(t, "secret-key", secretKey)
	flags := []string{"--callback-ca", ca.file, "--platform-key-file", platform, "--secret-key-file", secret, againSoon}
	svc := launch(t, bin, db, flags...)
	const accounts = 250
	keys := make([]string, accounts)
	for i := range accounts {
		keys[i] = svc.account(acc(i))
		svc.register(to, acc(i), keys[i])
	}
	rekey := func() (string, error) {
		cmd := exec.Command(bin, "rekey", "--store", "sqlite:"+db, "--secret-key-file", secret)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}

	traffic := newTraffic(t, svc, accounts, keys)
	traffic.passes(20)
	writeKeys(t, platform, newPlatformKey, platformKey)
	writeKeys(t, secret, newSecretKey, secretKey)
	if out, err := rekey(); err == nil || !strings.Contains(out, "reload it (SIGHUP)") {
		t.Errorf("recapito rekey before the service has the key: %v %s, want it refused", err, out)
	}
	svc.reload(true)
	traffic.use(newPlatformKey)
	traffic.passes(20)
	out, err := rekey()
	if err != nil || !strings.Contains(out, "250 webhooks, ") || !strings.Contains(out, "the old key may go") {
		t.Errorf("recapito rekey: %v %s, want it to say that the old key may go", err, out)
	}
	writeKeys(t, platform, newPlatformKey)
	writeKeys(t, secret, newSecretKey)
	svc.reload(true)
	traffic.passes(20)
	sent := traffic.end()

	eventuallyCounts(t, "callbacks", sent, func() int { return to.count("") })
	for i := range accounts {
		for _, a := range to.of(acc(i)) {
			if a.Verified != nil {
				t.Fatalf("a callback of %s: %v", acc(i), a.Verified)
			}
		}
	}
	if code, _ := svc.api("GET", "/accounts", bearer, ""); code != http.StatusUnauthorized {
		t.Errorf("the old platform key: got %d, want 401", code)
	}
	svc.terminate()

	writeKeys(t, secret, secretKey)
	refused := exec.Command(bin, append([]string{"serve", "--store", "sqlite:" + db}, flags...)...)
	if out, err := refused.CombinedOutput(); err == nil || !strings.Contains(string(out), "another --secret-key") {
		t.Errorf("a start with the old secret key: %v %s, want it refused", err, out)
	}
	writeKeys(t, secret, newSecretKey)
	launch(t, bin, db, flags...).terminate()
}

// traffic are the platform and the accounts, which make requests one after the other.
type traffic struct {
	t     *testing.T
	svc   *service
	mu    sync.Mutex
	key   string // the platform's
	round int
	ended bool
	gone  sync.WaitGroup
}

func newTraffic(t *testing.T, svc *service, accounts int, keys []string) *traffic {
	f := &traffic{t: t, svc: svc, key: platformKey}
	f.gone.Go(func() {
		for round := 0; ; round++ {
			f.mu.Lock()
			key, ended := f.key, f.ended
			f.round = round
			f.mu.Unlock()
			if ended {
				return
			}
			i := round % accounts
			id := fmt.Sprintf("e-%d", round)
			if code, answer, err := svc.try("POST", "/events", "Bearer "+key, batch([]string{event(acc(i), id, "m-"+id, "SENT")})); code != 202 || err != nil {
				t.Errorf("POST /events: %d %s %v, want 202", code, answer, err)
			}
			if code, answer, err := svc.try("GET", hook, keys[i], ""); code != 200 || err != nil {
				t.Errorf("GET %s: %d %s %v, want 200", hook, code, answer, err)
			}
		}
	})
	return f
}

// use makes the platform use another key.
func (f *traffic) use(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key = key
}

func (f *traffic) rounds() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.round
}

// passes returns when so many more requests have been answered.
func (f *traffic) passes(rounds int) {
	f.t.Helper()
	from := f.rounds()
	eventually(f.t, fmt.Sprintf("%d more requests", rounds), func() bool { return f.rounds() >= from+rounds })
}

// end returns how many events were accepted.
func (f *traffic) end() int {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	f.gone.Wait()
	return f.rounds()
}
