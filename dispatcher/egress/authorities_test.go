package egress_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"runtime"
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

// What was verified by an authority that is not trusted any more is not used again:
// neither a connection, nor a TLS session, nor a connection whose request was under
// way.
func TestAChangeOfAuthoritiesEndsWhatTheyVerified(t *testing.T) {
	answer := make(chan struct{})
	r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		for s.Request() != nil {
			<-answer
			s.Say(hostile.OK200)
		}
	})
	c := newClient(t)
	underWay := make(chan egress.Result)
	go func() { underWay <- c.Post(t.Context(), newRequest(r.url())) }()
	answer <- struct{}{} // the request is there
	wantKind(t, <-underWay, egress.Acknowledged)
	go func() { underWay <- c.Post(t.Context(), newRequest(r.url())) }()
	for r.requests.Load() < 2 {
		runtime.Gosched()
	}

	_, stranger := selfSigned()
	others := x509.NewCertPool()
	others.AddCert(stranger)
	c.Trust(others, nil)
	close(answer)
	if res := <-underWay; res.Kind != egress.Acknowledged || !res.Reused {
		t.Errorf("a request under way: got %v, reused %v, want it acknowledged on the kept connection", res.Kind, res.Reused)
	}
	if idle := c.Stats().Idle; idle != 0 {
		t.Errorf("connections kept: got %d, want 0", idle)
	}
	wantKind(t, post(t, c, newRequest(r.url())), egress.TLSFailed)

	c.Trust(testCA().pool, nil)
	resumed := c.Stats().Resumed
	wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
	if got := c.Stats().Resumed; got != resumed {
		t.Errorf("TLS sessions resumed across two changes: got %d, want 0", got-resumed)
	}
}
