package egress_test

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

func testRequest(url string) *egress.Request {
	r := newRequest(url)
	r.Test = true
	return r
}

// A test goes through all phases whatever connections and sessions there are, and
// leaves nothing that others would use.
func TestTestDialsAnew(t *testing.T) {
	r := listenTLS(t, goodTLS(), hostile.Answering(hostile.OK200))
	c := newClient(t)
	wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
	before := c.Stats()
	for range 2 {
		res := post(t, c, testRequest(r.url()))
		wantKind(t, res, egress.Acknowledged)
		if got, want := happened(res.Phases), "connect, TLS, first byte"; got != want || res.Reused {
			t.Errorf("phases: got %s, reused %v, want %s, false", got, res.Reused, want)
		}
		if s := res.TLS; s == nil || s.Version != tls.VersionTLS13 || s.DidResume || len(s.PeerCertificates) != 1 || len(s.VerifiedChains) != 1 {
			t.Errorf("TLS: got %+v, want a whole handshake of TLS 1.3 with a certificate that was verified", s)
		}
	}
	after := c.Stats()
	if after.Idle != before.Idle || after.Resumed != before.Resumed || after.Dials != before.Dials+2 {
		t.Errorf("two tests made of %+v %+v, want two dials and nothing else", before, after)
	}
	if res := post(t, c, newRequest(r.url())); !res.Reused || res.TLS != nil {
		t.Errorf("a request after them: reused %v, TLS %v, want the first one's connection and nothing told", res.Reused, res.TLS)
	}
}

// The certificates that a test was shown are told where they are refused.
func TestTestTellsWhatWasRefused(t *testing.T) {
	expired := serverTLS(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	r := listenTLS(t, expired, hostile.Answering(hostile.OK200))
	res := post(t, newClient(t), testRequest(r.url()))
	if res.Detail != egress.CertificateExpired || res.TLS == nil || len(res.TLS.PeerCertificates) != 1 || res.TLS.VerifiedChains != nil || res.TLS.Version == 0 {
		t.Errorf("got %v %s (%v) and %+v, want CERTIFICATE_EXPIRED, that one, and the version", res.Kind, res.Detail, res.Err, res.TLS)
	}
}

// An answer after the deadline is what a delivery would have got, with its status.
func TestTestWaitsForALateAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		status int
	}{
		"success": {hostile.OK200, 200},
		"failure": {hostile.Answer("500 Oops", "Content-Length: 0"), 500},
		"none":    {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var deadline atomic.Int64 // of the present try
			r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
				if s.Request() == nil {
					return
				}
				time.Sleep(time.Until(time.Unix(0, deadline.Load()).Add(10 * time.Millisecond))) // so late is this receiver
				s.Say(tt.answer)
			})
			c, req := newClient(t), testRequest(r.url())
			var res egress.Result
			for limit := brief; limit < patience; limit *= 2 { // a busy machine may be later
				req.Deadline = time.Now().Add(limit)
				deadline.Store(req.Deadline.UnixNano())
				if res = c.Post(t.Context(), req); res.StatusCode == tt.status {
					break
				}
			}
			if res.Kind != egress.Timeout || res.Detail != egress.NoAnswer || res.StatusCode != tt.status {
				t.Errorf("got %v %s with status %d (%v), want TIMEOUT NO_ANSWER with %d", res.Kind, res.Detail, res.StatusCode, res.Err, tt.status)
			}
		})
	}
}
