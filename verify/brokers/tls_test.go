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

// TestNATSOverTLS: what does not fit the broker's certificate, its demand for one, or its
// password is refused, and /readyz and the log say why. What fits feeds. When the broker
// is set right, feed goes on by itself. Neither password nor platform key can be seen.
func TestNATSOverTLS(t *testing.T) {
	w, ca, other := newWorld(t), newAuthority(t), newAuthority(t)
	ca.issue("broker", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	ca.issue("feeder", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	s := newNATSWith(t, fmt.Sprintf("tls {cert_file: %q, key_file: %q, ca_file: %q, verify: true}\n", ca.file("broker.pem"), ca.file("broker.key"), ca.file("ca.pem")),
		nats.RootCAs(ca.file("ca.pem")), nats.ClientCert(ca.file("feeder.pem"), ca.file("feeder.key")))
	const newPassword = "password-of-tomorrow"
	write(t, filepath.Join(s.dir, "new-password"), newPassword)

	flags := func(root, password string, more ...string) []string {
		return append([]string{"--from", "natss://" + s.addr + "/STATUS", "--dead-letter", "dead", "--log-level", "debug", "--broker-ca", root,
			"--broker-user", "feeder", "--broker-password-file", filepath.Join(s.dir, password)}, more...)
	}
	own := []string{"--broker-cert", ca.file("feeder.pem"), "--broker-key", ca.file("feeder.key")}
	refused := func(says string, flags ...string) *feeder {
		t.Helper()
		f := w.feed(flags...)
		if err := rig.Await(limit, "/readyz and the log to say "+says, func() bool { // the client writes it in two ways
			_, ready := f.get("/readyz")
			return strings.Contains(strings.ToLower(ready), says) && strings.Contains(strings.ToLower(string(must(os.ReadFile(f.log)))), says)
		}); err != nil {
			t.Fatal(err)
		}
		unseen(t, f, natsPassword, newPassword)
		return f
	}
	refused("x509: certificate signed by unknown authority", flags(other.file("ca.pem"), "password", own...)...).kill()
	refused("certificate", // demanded; how that shows is a matter of timing
		flags(ca.file("ca.pem"), "password")...).kill()
	early := refused("authorization violation", flags(ca.file("ca.pem"), "new-password", own...)...)

	bodies, keys := traffic()
	right := w.feed(flags(ca.file("ca.pem"), "password", own...)...)
	right.awaitReady(t)
	s.publish(t, bodies[:10], keys)
	w.await(10)
	unseen(t, right, natsPassword)
	if err := right.stop(t); err != nil {
		t.Errorf("feed ended with %v, want no error", err)
	}
	s.publish(t, bodies[10:20], keys[10:])
	s.demand(newPassword)
	s.restart()
	w.await(20)
	early.awaitReady(t)
}

// unseen fails the test if one of these passwords, or the platform key, is in what others
// can see of a feeder.
func unseen(t *testing.T, f *feeder, secrets ...string) {
	t.Helper()
	secrets = append(secrets, rig.PlatformKey)
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
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s has the secret %s", where, secret)
			}
		}
	}
}
