package egress_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

// That our machine knows no authority is no fault of a certificate, whatever its
// chain; what is wrong with it in itself still is.
func TestNoAuthoritiesIsNoFaultOfTheCertificate(t *testing.T) {
	c := egress.New(egress.Config{Allow: loopback, RootCAs: x509.NewCertPool(), ConnectTimeout: patience, TLSTimeout: patience})
	t.Cleanup(c.Close)
	key, own := selfSigned()
	for _, tt := range []struct {
		name string
		cfg  *tls.Config
		kind egress.Kind
	}{
		{"a good certificate", goodTLS(), egress.NoAuthorities},
		{"self-signed", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{own.Raw}, PrivateKey: key}}}, egress.NoAuthorities},
		{"expired", serverTLS(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), egress.TLSFailed},
		{"another name", serverTLS(func(c *x509.Certificate) { c.IPAddresses = nil }), egress.TLSFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := post(t, c, newRequest(listenTLS(t, tt.cfg, hostile.Answering(hostile.OK200)).url()))
			wantKind(t, res, tt.kind)
			var roots x509.SystemRootsError
			if got, want := errors.As(res.Err, &roots), tt.kind == egress.NoAuthorities; got != want {
				t.Errorf("error %v: says that there are no roots: %v, want %v", res.Err, got, want)
			}
		})
	}
	if got := egress.NoAuthorities.String(); got != "INTERNAL_ERROR" {
		t.Errorf("its word: got %s, want INTERNAL_ERROR, which blames nobody", got)
	}
}
