//go:build unix

package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// demanding is `openssl s_server` that lets nobody in who shows no certificate of the
// authority in its file. It acknowledges what it gets, one connection after the other.
func demanding(t *testing.T, server *authority, clients string) (url string) {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	server.certificate(t, cert, key)
	cmd := exec.Command("openssl", "s_server", "-accept", addr, "-cert", cert, "-key", key, "-Verify", "1", "-verify_return_error", "-CAfile", clients, "-quiet")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (install openssl)", err)
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		requests := bufio.NewReader(out)
		for {
			r, err := http.ReadRequest(requests)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			if _, err := io.WriteString(in, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-answered
		_ = cmd.Wait() // it was killed
	})
	eventually(t, "openssl", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "https://" + addr + "/status"
}

// clientCertificate writes a certificate, with its key, that the authority of the file
// has signed.
func clientCertificate(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	made := func(name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
		if parent == nil {
			parent, signer = c, own
		} else {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &own.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err = x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c, own
	}
	authority, signer := made("authority of senders", nil, nil)
	leaf, own := made("recapito", authority, signer)
	der, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return write("ca.pem", "CERTIFICATE", authority.Raw), write("cert.pem", "CERTIFICATE", leaf.Raw), write("key.pem", "PRIVATE KEY", der)
}

// A receiver lets in nobody but who shows a certificate. Without one, and with a
// stranger's, the account is told so; a reload takes the right one, and it arrives.
func TestAReceiverDemandsACertificate(t *testing.T) {
	bin, server := build(t, false), newAuthority(t)
	ca, cert, key := clientCertificate(t)
	url := demanding(t, server, ca)
	dir := t.TempDir()
	shownCert, shownKey := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	show := func(cert, key string) {
		t.Helper()
		for from, to := range map[string]string{cert: shownCert, key: shownKey} {
			text, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(to, text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for shown, detail := range map[string]string{"none": "REQUIRED", "a stranger's": "REFUSED"} {
		t.Run(shown, func(t *testing.T) {
			var flags []string
			if shown != "none" {
				flags = []string{"--callback-client-cert", shownCert, "--callback-client-key", shownKey}
			}
			_, strangers, strangersKey := clientCertificate(t)
			show(strangers, strangersKey)
			svc := serve(t, bin, "memory:", append([]string{"--store", "memory:", "--callback-ca", server.file, againSoon}, flags...)...)
			account := svc.account("acc")
			if code, answer := svc.api("POST", hook, account, callback(url)); code != http.StatusCreated {
				t.Fatalf("POST %s: %d %s", hook, code, answer)
			}
			feed(t, svc, 1, [][]string{{event("acc", "e1", "m1", "SENT")}})
			eventually(t, "the attempt to be refused", func() bool {
				return strings.Contains(svc.attempts(account, "e1"), `"TLS_FAILED" "CLIENT_CERTIFICATE_`+detail+`"`)
			})
			if flags != nil {
				show(cert, key)
				svc.reload(true)
				eventually(t, "the callback", func() bool { return strings.Contains(svc.attempts(account, "e1"), `"" ""`) })
			}
			svc.terminate()
		})
	}
}
