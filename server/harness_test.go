package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
)

const (
	platformKey = "test-platform-key"
	webhookPath = "/webhooks/delivery-status"
	goodURL     = "https://example.com/hook"
	jsonType    = "application/json"
)

// epoch is when the tests take place.
var epoch = time.Date(2026, 11, 20, 9, 0, 0, 123456789, time.UTC)

// service is a server on a real socket, on a memory store. Every answer that
// passes its client is held against the document.
type service struct {
	t      *testing.T
	url    string
	store  store.Store
	client *http.Client
	log    *bytes.Buffer
	now    atomic.Pointer[time.Time]
	serial atomic.Int64
}

// keys gives the platform these keys.
func keys(all ...string) func() []store.KeyHash {
	hashes := make([]store.KeyHash, len(all))
	for i, key := range all {
		hashes[i] = store.HashKey(key)
	}
	return func() []store.KeyHash { return hashes }
}

// start runs a service until the test ends; adjust changes its configuration.
func start(t *testing.T, adjust ...func(*server.Config)) *service {
	t.Helper()
	st := memory.New(memory.Config{})
	s := &service{t: t, store: st, log: &bytes.Buffer{}}
	s.setNow(epoch)
	cfg := server.Config{
		Store: st, Spec: spec(t), PlatformKeys: keys(platformKey), CheckURL: checkURL,
		Logger: slog.New(slog.NewTextHandler(s.log, nil)),
		Now:    func() time.Time { return *s.now.Load() },
	}
	for _, f := range adjust {
		f(&cfg)
	}
	h, err := server.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	socket := httptest.NewServer(h)
	s.url = socket.URL + cfg.BasePath
	s.client = &http.Client{Transport: &checked{t: t, contract: loadContract(t), base: cfg.BasePath}}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		socket.Close()
		if err := st.Close(); err != nil {
			t.Errorf("close the store: got %v, want no error", err)
		}
	})
	return s
}

func (s *service) setNow(at time.Time) { s.now.Store(&at) }

// checked is a transport that holds every answer against the document.
type checked struct {
	t        *testing.T
	contract *contract
	base     string
}

func (c *checked) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if err := resp.Body.Close(); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	path := strings.TrimPrefix(r.URL.EscapedPath(), c.base)
	if err := c.contract.check(r.Method, path, resp.StatusCode, resp.Header, body); err != nil {
		c.t.Errorf("%s %s: the answer is not what the document describes: %v\n%d %s", r.Method, path, err, resp.StatusCode, body)
	}
	return resp, nil
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

// call is a request to be made. Fields that are empty are left out.
type call struct {
	method, path string
	apiKey       string
	platform     bool
	body         string
	header       map[string]string // in place of the usual ones; "" leaves one out
}

func (s *service) do(c call) answer {
	s.t.Helper()
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), c.method, s.url+c.path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	if c.body != "" {
		r.Header.Set("Content-Type", jsonType)
	}
	if c.apiKey != "" {
		r.Header.Set("X-API-Key", c.apiKey)
	}
	if c.platform {
		r.Header.Set("Authorization", "Bearer "+platformKey)
	}
	for name, value := range c.header {
		r.Header.Del(name)
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	return s.send(r)
}

func (s *service) send(r *http.Request) answer {
	s.t.Helper()
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: read the answer: %v", r.Method, r.URL.Path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// account makes an account with an API key. It goes past the API.
func (s *service) account() (id, key string) {
	s.t.Helper()
	id, key = fmt.Sprintf("acc_%d", s.serial.Add(1)), store.NewKey()
	if _, _, err := s.store.PutAccount(s.t.Context(), id, epoch); err != nil {
		s.t.Fatal(err)
	}
	k := store.APIKey{AccountID: id, ID: store.NewID("key_"), Hash: store.HashKey(key), CreatedAt: epoch}
	if err := s.store.AddAPIKey(s.t.Context(), k); err != nil {
		s.t.Fatal(err)
	}
	return id, key
}

// subscriber is an account with a webhook.
func (s *service) subscriber() (id, key string) {
	s.t.Helper()
	id, key = s.account()
	s.do(call{method: "POST", path: webhookPath, apiKey: key, body: `{"callbackUrl":"` + goodURL + `"}`}).want(s.t, http.StatusCreated)
	return id, key
}

// want fails the test if the status is another.
func (a answer) want(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status: got %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// anonymous is the body without what differs from request to request: its id.
func (a answer) anonymous() string {
	return strings.ReplaceAll(a.body, a.header.Get("X-Request-Id"), "ID")
}

// shown is a time as an answer has it.
func shown(at time.Time) gen.Time { return gen.Time(at.Truncate(time.Millisecond)) }

// decode reads an answer's body.
func decode[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("decode %q: %v", a.body, err)
	}
	return v
}

// wantPointers fails the test unless the problem names exactly these places.
func (a answer) wantPointers(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	if p := decode[gen.Problem](t, a); p.Errors != nil {
		for _, e := range *p.Errors {
			got = append(got, e.Pointer)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pointers (-want +got):\n%s\n%s", diff, a.body)
	}
}

// spec is the document that the server answers.
func spec(tb testing.TB) []byte {
	tb.Helper()
	text, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// checkURL stands in for the rules of package egress.
func checkURL(raw string) error {
	if !strings.HasPrefix(strings.ToLower(raw), "https://") {
		return errors.New("must be an https URL")
	}
	if strings.ContainsAny(raw, " \\#@\n") || len(raw) > 2048 || len(raw) < len("https://a") {
		return errors.New("is not accepted by the test's rules")
	}
	return nil
}

// askAndLeave makes a request whose caller does not wait for the answer.
func (s *service) askAndLeave(t *testing.T, key, path string) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
		if err == nil {
			r.Header.Set("X-API-Key", key)
			_, err = http.DefaultClient.Do(r)
		}
		left <- err
	}()
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller who leaves: got %v, want that it was cancelled", err)
	}
}
