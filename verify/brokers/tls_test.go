package brokers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/recapito/recapito/verify/rig"
)

// authority signs certificates, and is in a file.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	a.cert = &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.issue("ca", a.cert)
	block, _ := pem.Decode(must(os.ReadFile(a.file("ca.pem"))))
	a.cert = must(x509.ParseCertificate(block.Bytes))
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issue writes a certificate of the authority's own key to NAME.pem, and the key to
// NAME.key.
func (a *authority) issue(name string, template *x509.Certificate) {
	a.t.Helper()
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, a.key.Public(), a.key))
	write(a.t, a.file(name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	key := must(x509.MarshalPKCS8PrivateKey(a.key))
	write(a.t, a.file(name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
}

// pair issues the certificates of a broker at 127.0.0.1, and of a client.
func (a *authority) pair(client string) {
	a.t.Helper()
	a.issue("broker", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	a.issue(client, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// flags are those of a client that has this certificate.
func (a *authority) flags(client string) []string {
	return []string{"--broker-cert", a.file(client + ".pem"), "--broker-key", a.file(client + ".key")}
}

const brokerPassword, newPassword = "password-of-the-broker", "password-of-tomorrow"

// login is the flags of a user, whose password is in a file.
func (w *world) login(user, password string) []string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "password")
	write(w.t, file, password+"\n")
	return []string{"--broker-user", user, "--broker-password-file", file}
}

// refused starts a feeder that the broker does not take, or that does not take the
// broker: /readyz and the log say this, in small letters. No secret can be seen.
func (w *world) refused(says string, flags ...string) *feeder {
	w.t.Helper()
	f := w.feed(flags...)
	var ready, log string
	if err := rig.Await(limit, "/readyz and the log", func() bool { // a client may write it in two ways
		_, ready = f.get("/readyz")
		log = string(must(os.ReadFile(f.log)))
		return strings.Contains(strings.ToLower(ready), says) && strings.Contains(strings.ToLower(log), says)
	}); err != nil {
		w.t.Fatalf("%v: got %q, and the log %q, want %q in both", err, ready, log, says)
	}
	unseen(w.t, f)
	return f
}

// feeds starts a feeder that feeds what is published, the events of traffic up to the
// n-th, and stops it. No secret can be seen.
func (w *world) feeds(n int, publish func(), flags ...string) {
	w.t.Helper()
	f := w.feed(flags...)
	f.awaitReady(w.t)
	publish()
	w.await(n)
	unseen(w.t, f)
	if err := f.stop(w.t); err != nil {
		w.t.Errorf("feed ended with %v, want no error", err)
	}
}

// TestNATSOverTLS: what does not fit the broker's certificate, its demand for one, or its
// password is refused, and /readyz and the log say why. What fits feeds. When the broker
// is set right, feed goes on by itself. Neither password nor platform key can be seen.
func TestNATSOverTLS(t *testing.T) {
	w, ca, other := newWorld(t), newAuthority(t), newAuthority(t)
	ca.pair("feeder")
	s := newNATSWith(t, fmt.Sprintf("tls {cert_file: %q, key_file: %q, ca_file: %q, verify: true}\n", ca.file("broker.pem"), ca.file("broker.key"), ca.file("ca.pem")),
		nats.RootCAs(ca.file("ca.pem")), nats.ClientCert(ca.file("feeder.pem"), ca.file("feeder.key")))
	flags := func(root *authority, more ...[]string) []string {
		return slices.Concat(append(more, []string{"--from", "natss://" + s.addr + "/STATUS", "--dead-letter", "dead", "--log-level", "debug", "--broker-ca", root.file("ca.pem")})...)
	}
	own, login := ca.flags("feeder"), w.login("feeder", brokerPassword)
	w.refused("x509: certificate signed by unknown authority", flags(other, own, login)...).kill()
	w.refused("certificate", // demanded; how that shows is a matter of timing
		flags(ca, login)...).kill()
	early := w.refused("authorization violation", flags(ca, own, w.login("feeder", newPassword))...)

	bodies, keys := traffic()
	w.feeds(10, func() { s.publish(t, bodies[:10], keys) }, flags(ca, own, login)...)
	s.publish(t, bodies[10:20], keys[10:])
	s.demand(newPassword)
	s.restart()
	w.await(20)
	early.awaitReady(t)
}

// unseen fails the test if a password or the platform key is in what others can see of a
// feeder.
func unseen(t *testing.T, f *feeder) {
	t.Helper()
	places := make(map[string]string)
	for _, path := range []string{"/metrics", "/readyz"} {
		_, places[path] = f.get(path)
	}
	proc := fmt.Sprintf("/proc/%d/", f.cmd.Process.Pid)
	for _, file := range []string{f.log, proc + "cmdline", proc + "environ"} {
		text, err := os.ReadFile(file)
		if err != nil || len(text) == 0 {
			t.Fatalf("%s: got %d bytes, %v, want some", file, len(text), err)
		}
		places[file] = string(text)
	}
	for where, text := range places {
		for _, secret := range []string{brokerPassword, newPassword, rig.PlatformKey} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has the secret %s", where, secret)
			}
		}
	}
}
