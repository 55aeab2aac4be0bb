package server_test

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

func TestRouting(t *testing.T) {
	s := start(t)
	_, key := s.subscriber()
	for _, tt := range []struct {
		method, path string
		status       int
		allow        []string
	}{
		{"PATCH", webhookPath, 405, []string{"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"}},
		{"TRACE", webhookPath, 405, []string{"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"}},
		{"PROPFIND", webhookPath, 405, []string{"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"}},
		{"get", webhookPath, 405, []string{"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"}},
		{"GET", webhookPath + "/signing-secret", 405, []string{"OPTIONS", "POST"}},
		{"HEAD", webhookPath + "/signing-secret", 405, []string{"OPTIONS", "POST"}},
		{"POST", webhookPath + "/deliveries/evt_1", 405, []string{"GET", "HEAD", "OPTIONS"}},
		{"GET", "/events", 405, []string{"OPTIONS", "POST"}},
		{"OPTIONS", webhookPath, 204, []string{"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"}},
		{"OPTIONS", "/events", 204, []string{"OPTIONS", "POST"}},
		{"HEAD", webhookPath, 200, nil},
		{"HEAD", webhookPath + "/deliveries", 200, nil},
		{"HEAD", webhookPath + "/deliveries/evt_1", 404, nil},
		{"GET", "/nowhere", 404, nil},
		{"GET", webhookPath + "/", 404, nil},
		{"GET", "/" + webhookPath, 404, nil},
		{"GET", "/webhooks//delivery-status", 404, nil},
		{"GET", "/webhooks%2Fdelivery-status", 404, nil},
		{"GET", "/webhooks/./delivery-status", 404, nil},
		{"GET", "/x/../webhooks/delivery-status", 404, nil},
		{"GET", "/Webhooks/Delivery-Status", 404, nil},
		{"GET", "/accounts/", 404, nil},
		{"GET", webhookPath + "/deliveries/", 404, nil},
		{"GET", "/docs//", 404, nil},
		{"POST", "/docs/", 405, []string{"GET", "HEAD", "OPTIONS"}},
		{"GET", webhookPath + "/deliveries/evt_1/nowhere", 404, nil},
		{"POST", webhookPath + "/deliveries/evt_1/nowhere", 404, nil},
		{"OPTIONS", webhookPath + "/deliveries/evt_1/nowhere", 404, nil},
		{"DELETE", "/accounts/acc_1/api-keys/key_1/nowhere", 404, nil},
		{"GET", "/accounts/acc_1/nowhere", 404, nil},
		{"GET", webhookPath + "/deliveries/evt_1%2Fnowhere", 400, nil},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			got := s.do(call{method: tt.method, path: tt.path, apiKey: key, platform: true}).want(t, tt.status)
			var allow []string
			if a := got.header.Get("Allow"); a != "" {
				allow = strings.Split(a, ", ")
				slices.Sort(allow)
			}
			if diff := cmp.Diff(tt.allow, allow); diff != "" {
				t.Errorf("Allow (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	s := start(t)
	_, key := s.subscriber()
	get := s.do(call{method: "GET", path: webhookPath, apiKey: key}).want(t, http.StatusOK)
	head := s.do(call{method: "HEAD", path: webhookPath, apiKey: key}).want(t, http.StatusOK)
	for _, name := range []string{"Content-Type", "Content-Length"} {
		if got, want := head.header.Get(name), get.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	s.do(call{method: "HEAD", path: webhookPath}).want(t, http.StatusUnauthorized)
}

func TestBasePath(t *testing.T) {
	s := start(t, func(c *server.Config) { c.BasePath = "/api/v1" })
	_, key := s.subscriber()
	s.do(call{method: "GET", path: webhookPath, apiKey: key}).want(t, http.StatusOK)
	s.url = strings.TrimSuffix(s.url, "/api/v1")
	s.client = &http.Client{Transport: &checked{t: t, contract: loadContract(t), base: webhookPath}} // what was a path is none here
	s.do(call{method: "GET", path: webhookPath, apiKey: key}).want(t, http.StatusNotFound)
}

func TestRequestID(t *testing.T) {
	s := start(t)
	made := regexp.MustCompile(`^req_[a-z0-9]{26}$`)
	for _, tt := range []struct {
		name, sent string
		kept       bool
	}{
		{"usual", "3f0c-AB_9.z", true},
		{"128 characters", strings.Repeat("x", 128), true},
		{"none", "", false},
		{"129 characters", strings.Repeat("x", 129), false},
		{"space", "a b", false},
		{"quote", `a"b`, false},
		{"not ASCII", "è", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := s.do(call{method: "GET", path: "/nowhere", header: map[string]string{"X-Request-Id": tt.sent}}).header.Get("X-Request-Id")
			if tt.kept && got != tt.sent {
				t.Errorf("X-Request-Id: got %q, want the request's own", got)
			}
			if !tt.kept && !made.MatchString(got) {
				t.Errorf("X-Request-Id: got %q, want a new one", got)
			}
		})
	}
}

func TestOnRequest(t *testing.T) {
	type seen struct {
		operation string
		status    int
		duration  time.Duration
	}
	var got []seen
	done := make(chan struct{})
	s := start(t, func(c *server.Config) {
		now := epoch
		c.Now = func() time.Time { now = now.Add(time.Second); return now }
		c.OnRequest = func(operation string, status int, d time.Duration) {
			got = append(got, seen{operation, status, d})
			done <- struct{}{}
		}
	})
	id := "acc_1"
	for _, c := range []call{
		{method: "GET", path: "/nowhere"},
		{method: "PATCH", path: webhookPath},
		{method: "GET", path: webhookPath},
		{method: "HEAD", path: "/accounts/" + id, platform: true},
		{method: "OPTIONS", path: webhookPath},
	} {
		finished := make(chan struct{})
		go func() { <-done; close(finished) }()
		s.do(c)
		<-finished
	}
	want := []seen{
		{"", 404, time.Second}, {"", 405, time.Second}, {"getWebhook", 401, time.Second},
		{"getAccount", 404, time.Second}, {"", 204, time.Second},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(seen{})); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// panicking is a store that does.
type panicking struct{ server.Store }

func (panicking) APIKeyByHash(_ context.Context, _ store.KeyHash) (store.APIKey, error) {
	panic("inner secret")
}

func TestPanicIsABare500(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Store = panicking{} })
	got := s.do(call{method: "GET", path: webhookPath, apiKey: store.NewKey()}).want(t, http.StatusInternalServerError)
	if diff := cmp.Diff(bare500(got), decode[gen.Problem](t, got)); diff != "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
}
