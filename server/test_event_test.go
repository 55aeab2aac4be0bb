package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

const testPath = webhookPath + "/test-event"

// tester is an engine that answers tests as it is told, and keeps them.
type tester struct {
	mu      sync.Mutex
	sent    []sentTest
	result  store.Attempt
	session *tls.ConnectionState
	probing store.Probing
	pace    *store.Pace // nil: nobody attempts
	during  func()      // called while a test is under way; may be nil
}

type sentTest struct {
	webhook store.Webhook
	id      string
	body    []byte
}

func (e *tester) Waits(_ string, w *store.Webhook, pending []store.Delivery, now time.Time) []store.Wait {
	waits := make([]store.Wait, len(pending))
	for i := range pending {
		waits[i] = pending[i].Wait(w, now)
	}
	return waits
}

func (e *tester) Probe(string, time.Time) store.Probing { return e.probing }

func (e *tester) Pace(w *store.Webhook, next, _ time.Time) store.Pace {
	if e.pace != nil {
		return *e.pace
	}
	return w.Pace(next)
}

func (e *tester) Test(_ context.Context, w *store.Webhook, id string, body []byte) (store.Attempt, *tls.ConnectionState) {
	if e.during != nil {
		e.during()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sent = append(e.sent, sentTest{*w, id, body})
	return e.result, e.session
}

func startTester(t *testing.T) (*service, *tester) {
	e := &tester{result: store.Attempt{Number: 1, At: epoch, StatusCode: 204}}
	return start(t, func(c *server.Config) { c.Engine = e }), e
}

// TestOfAnotherURL: a test goes to the URL of the request, which is not registered by that,
// and is signed as a callback of the account would be.
func TestOfAnotherURL(t *testing.T) {
	s, e := startTester(t)
	id, key := s.subscriber()
	before := s.do(call{method: "GET", path: webhookPath, apiKey: key}).want(t, http.StatusOK).body
	const url = "https://new.example.com/hook"
	s.do(call{method: "POST", path: testPath, apiKey: key, body: `{"callbackUrl":"` + url + `"}`}).want(t, http.StatusOK)
	registered, err := s.store.Webhook(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	sent := e.sent[0].webhook
	if sent.CallbackURL != url || !cmp.Equal(sent.Secret, registered.Secret) {
		t.Errorf("sent to %s, with the account's secret: %v; want %s, true", sent.CallbackURL, cmp.Equal(sent.Secret, registered.Secret), url)
	}
	if after := s.do(call{method: "GET", path: webhookPath, apiKey: key}).want(t, http.StatusOK).body; after != before {
		t.Errorf("the webhook is %s after it, was %s", after, before)
	}
	s.do(call{method: "DELETE", path: webhookPath, apiKey: key}).want(t, http.StatusNoContent)
	s.do(call{method: "POST", path: testPath, apiKey: key}).want(t, http.StatusNotFound)
	s.do(call{method: "POST", path: testPath, apiKey: key, body: `{"callbackUrl":"` + url + `"}`}).want(t, http.StatusOK)
	if sent := e.sent[1].webhook; sent.CallbackURL != url || len(sent.Secret) == 0 || cmp.Equal(sent.Secret, registered.Secret) {
		t.Errorf("without a webhook: sent to %s, a secret of %d bytes, the old one: %v; want %s, a new one", sent.CallbackURL, len(sent.Secret), cmp.Equal(sent.Secret, registered.Secret), url)
	}
	s.do(call{method: "POST", path: testPath, apiKey: key, body: `{"callbackUrl":"https://user@example.com/"}`}).want(t, http.StatusBadRequest)
}

// TestSamplesAreTheExamples: each sample is the document's example, but for what
// says that it is a test and keeps it from being taken for a message.
func TestSamplesAreTheExamples(t *testing.T) {
	s, e := startTester(t)
	tried := 0
	for name, want := range examples(t) {
		tried++
		t.Run(name, func(t *testing.T) {
			id, key := s.subscriber()
			var sample strings.Builder // SMS_DELIVERED of SmsDelivered
			for i, r := range name {
				if i > 0 && r < 'a' {
					sample.WriteByte('_')
				}
				sample.WriteRune(r)
			}
			word := strings.ToUpper(sample.String())
			got := decode[gen.Diagnosis](t, s.do(call{method: "POST", path: testPath, apiKey: key, body: `{"sample":"` + word + `"}`}).want(t, http.StatusOK))
			sent := e.sent[len(e.sent)-1]
			if string(got.Sample) != word || string(got.Payload) != string(sent.body) || sent.webhook.AccountID != id {
				t.Errorf("got sample %s of %s and payload %s, want %s of %s and what was sent: %s", got.Sample, sent.webhook.AccountID, got.Payload, word, id, sent.body)
			}
			if !strings.HasPrefix(sent.id, "test_") {
				t.Errorf("id: got %q, want one that begins with test_", sent.id)
			}
			want["eventId"], want["messageId"], want["eventType"], want["accountId"] = sent.id, sent.id, "TEST", id
			want["customerMessageId"] = "test-" + fmt.Sprint(want["customerMessageId"])
			want["timestamp"], want["receivedAt"] = "2026-11-20T09:00:00.123Z", "2026-11-20T09:00:00.123Z"
			var payload map[string]any
			if err := json.Unmarshal(got.Payload, &payload); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(normal(t, want), payload); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
		})
	}
	if want := len(loadContract(t).doc.Components.Schemas["TestSample"].Value.Enum); tried != want || want != 8 {
		t.Errorf("samples: %d examples and %d values, want 8", tried, want)
	}
}

// TestTestEventOfEachState: a body is not needed, a webhook is, and its status does
// not matter. Nothing is stored.
func TestTestEventOfEachState(t *testing.T) {
	s, e := startTester(t)
	for _, state := range matrixStates {
		t.Run(state, func(t *testing.T) {
			id, key := s.account()
			s.enter(t, id, state)
			want := http.StatusNotFound
			if state == "active" || state == "suspended" {
				want = http.StatusOK
			}
			before, beforeErr := s.store.Webhook(t.Context(), id)
			for _, body := range []string{"", "{}", `{"sample":null}`} {
				got := s.do(call{method: "POST", path: testPath, apiKey: key, body: body}).want(t, want)
				if want == http.StatusOK && decode[gen.Diagnosis](t, got).Sample != gen.TestSampleSMSDELIVERED {
					t.Errorf("with the body %q: got %s, want SMS_DELIVERED", body, got.body)
				}
			}
			after, afterErr := s.store.Webhook(t.Context(), id)
			if diff := cmp.Diff(fmt.Sprint(before, beforeErr), fmt.Sprint(after, afterErr)); diff != "" {
				t.Errorf("the webhook changed (-before +after):\n%s", diff)
			}
			if page, err := s.store.Deliveries(t.Context(), store.DeliveryQuery{AccountID: id, Limit: 10}); err != nil || len(page.Deliveries) != 0 {
				t.Errorf("deliveries after the test: got %v (%v), want none", page.Deliveries, err)
			}
		})
	}
	_, key := s.subscriber()
	for _, body := range []string{`{"sample":"NONE"}`, `{"sample":1}`, `[]`, `{"sample":`} {
		s.do(call{method: "POST", path: testPath, apiKey: key, body: body}).want(t, http.StatusBadRequest)
	}
	s.do(call{method: "POST", path: testPath, apiKey: store.NewKey()}).want(t, http.StatusUnauthorized)
	if len(e.sent) != 6 {
		t.Errorf("tests sent: got %d, want 6", len(e.sent))
	}
}

// TestTestEventsAreFew: ten at once and then ten a minute, one at a time, for each
// account by itself.
func TestTestEventsAreFew(t *testing.T) {
	s, e := startTester(t)
	_, key := s.subscriber()
	_, other := s.subscriber()
	send := func(key string) answer { return s.do(call{method: "POST", path: testPath, apiKey: key}) }
	limited := func(a answer, from, to int) {
		t.Helper()
		a.want(t, http.StatusTooManyRequests)
		if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < from || after > to {
			t.Errorf("Retry-After: got %q, want %d to %d", a.header.Get("Retry-After"), from, to)
		}
	}
	e.during = sync.OnceFunc(func() {
		limited(send(key), 1, 1) // the first is under way, and this one does not count
	})
	for range 10 {
		send(key).want(t, http.StatusOK)
	}
	limited(send(key), 6, 6)
	send(other).want(t, http.StatusOK)
	s.setNow(epoch.Add(6 * time.Second))
	send(key).want(t, http.StatusOK)
	limited(send(key), 6, 6)
	s.setNow(epoch.Add(time.Hour))
	for range 10 {
		send(key).want(t, http.StatusOK)
	}
	limited(send(key), 6, 6)
	if len(e.sent) != 22 {
		t.Errorf("tests sent: got %d, want 22", len(e.sent))
	}
}

// TestDiagnosis shows what a test tells, and of certificates no more than fits.
func TestDiagnosis(t *testing.T) {
	s, e := startTester(t)
	_, key := s.subscriber()
	get := func() gen.Diagnosis {
		t.Helper()
		s.setNow(s.now.Load().Add(time.Minute))
		return decode[gen.Diagnosis](t, s.do(call{method: "POST", path: testPath, apiKey: key}).want(t, http.StatusOK))
	}
	end := epoch.Add(90 * 24 * time.Hour).Truncate(time.Second)
	leaf := &x509.Certificate{
		Subject: pkix.Name{CommonName: "hooks.example.com"}, Issuer: pkix.Name{CommonName: "R11"}, NotBefore: epoch, NotAfter: end.Add(time.Hour),
		DNSNames: []string{"hooks.example.com"}, IPAddresses: []net.IP{net.IPv4(203, 0, 113, 7)},
	}
	authority := &x509.Certificate{Subject: pkix.Name{CommonName: "R11"}, NotBefore: epoch, NotAfter: end}
	e.result = store.Attempt{Number: 1, At: epoch, Duration: time.Second, StatusCode: 204, Phases: store.Phases{TLS: time.Millisecond, FirstByte: time.Second}, Address: "203.0.113.7:443"}
	e.session = &tls.ConnectionState{
		Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{leaf},
		VerifiedChains: [][]*x509.Certificate{{leaf, {NotAfter: end.Add(-time.Hour)}}, {leaf, authority}},
	}
	got := get()
	want := gen.Diagnosis{
		Verdict: gen.VerdictACKNOWLEDGED, Advice: "Your endpoint works: nothing is to be done.", Sample: gen.TestSampleSMSDELIVERED, Payload: got.Payload,
		Attempt: gen.Attempt{Number: 1, At: shown(epoch), DurationMs: 1000, StatusCode: new(int32(204)), Reused: new(false), Address: new("203.0.113.7:443"),
			Phases: &gen.AttemptPhases{TLSMs: new(int64(1)), FirstByteMs: new(int64(1000))}},
		TLS: &gen.TLSSession{Version: new("TLS 1.3"), ExpiresAt: new(shown(end)), Certificates: []gen.Certificate{{
			Subject: "CN=hooks.example.com", Issuer: "CN=R11", Names: []string{"hooks.example.com", "203.0.113.7"}, NotBefore: shown(epoch), NotAfter: shown(end.Add(time.Hour)),
		}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("diagnosis (-want +got):\n%s", diff)
	}

	huge := &x509.Certificate{NotBefore: epoch, NotAfter: epoch, Subject: pkix.Name{CommonName: strings.Repeat("\u202e\x00", 1000)}, DNSNames: slices.Repeat([]string{strings.Repeat("\xff", 1000)}, 30_000)}
	e.result = store.Attempt{Number: 1, At: epoch, Error: store.TLSFailed, Detail: "CERTIFICATE_INVALID"}
	e.session = &tls.ConnectionState{PeerCertificates: slices.Repeat([]*x509.Certificate{huge}, 100)}
	got = get() // the harness holds it against the document
	if got.Verdict != gen.VerdictCERTIFICATEREFUSED || got.TLS.Version != nil || got.TLS.ExpiresAt != nil || len(got.TLS.Certificates) != 10 || len(got.TLS.Certificates[0].Names) != 20 {
		t.Errorf("a huge chain: got %s, version %v, %d certificates, want CERTIFICATE_REFUSED and ten of twenty names", got.Verdict, got.TLS.Version, len(got.TLS.Certificates))
	}
	e.session = nil
	if got = get(); got.TLS != nil {
		t.Errorf("without TLS: got %+v, want none", got.TLS)
	}
}
