package egress_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

// clientAuthority signs certificates of clients.
func clientAuthority(name string) (roots *x509.CertPool, client *tls.Certificate) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	cert := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))))
	roots = x509.NewCertPool()
	roots.AddCert(cert)
	leaf := leafTemplate()
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	own := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return roots, &tls.Certificate{Certificate: [][]byte{must(x509.CreateCertificate(rand.Reader, leaf, cert, own.Public(), key))}, PrivateKey: own}
}

// demanding is a receiver that wants a certificate of an authority of roots.
func demanding(t *testing.T, version uint16, roots *x509.CertPool) *receiver {
	t.Helper()
	cfg := goodTLS().Clone()
	cfg.ClientAuth, cfg.ClientCAs, cfg.MaxVersion = tls.RequireAndVerifyClientCert, roots, version
	return listenTLS(t, cfg, hostile.Answering(hostile.OK200))
}

// The operator's certificate is shown to an endpoint that asks for one, and what is
// wrong with it is told.
func TestClientCertificate(t *testing.T) {
	roots, own := clientAuthority("ours")
	strangers, _ := clientAuthority("another")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			r := demanding(t, version, roots)
			c := newClient(t)
			want := func(what, url, want string) {
				t.Helper()
				res := post(t, c, newRequest(url))
				if got := fmt.Sprint(res.Kind, " ", res.Detail); got != want {
					t.Errorf("%s: got %s (%v), want %s", what, got, res.Err, want)
				}
			}
			want("without one", r.url(), "TLS_FAILED CLIENT_CERTIFICATE_REQUIRED")
			c.Trust(testCA().pool, own)
			want("with one", r.url(), "ACKNOWLEDGED ")
			want("of an authority that is not named", demanding(t, version, strangers).url(), "TLS_FAILED CLIENT_CERTIFICATE_REQUIRED")
			choosy := serverTLS(nil)
			choosy.ClientAuth, choosy.MaxVersion = tls.RequireAnyClientCert, version
			choosy.VerifyConnection = func(tls.ConnectionState) error { return errors.New("not that one") }
			want("that is refused", listenTLS(t, choosy, hostile.Answering(hostile.OK200)).url(), "TLS_FAILED CLIENT_CERTIFICATE_REFUSED")
			want("not asked for", listenTLS(t, goodTLS(), hostile.Answering(hostile.OK200)).url(), "ACKNOWLEDGED ")
		})
	}
}

// No connection and no session outlives the certificate with which it was made.
func TestTrustChanges(t *testing.T) {
	roots, own := clientAuthority("ours")
	r := demanding(t, tls.VersionTLS13, roots)
	c := newClient(t)
	c.Trust(testCA().pool, own)
	wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
	c.Trust(testCA().pool, nil)
	wantKind(t, post(t, c, newRequest(r.url())), egress.TLSFailed)
	c.Trust(x509.NewCertPool(), nil)
	wantKind(t, post(t, c, newRequest(listenTLS(t, goodTLS(), hostile.Answering(hostile.OK200)).url())), egress.NoAuthorities)
}
