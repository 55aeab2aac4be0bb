package server_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
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

// The matrix of the four operations: what the account has, what it presents and
// what it sends.
var (
	matrixMethods     = []string{"GET", "POST", "PUT", "DELETE"}
	matrixStates      = []string{"none", "active", "suspended", "removed"}
	matrixCredentials = []string{"valid", "missing", "malformed", "unknown", "revoked"}
	matrixBodies      = map[string]string{
		"good":         `{"callbackUrl":"https://new.example/hook"}`,
		"absent":       "",
		"not JSON":     `{"callbackUrl":`,
		"wrong type":   `[]`,
		"no URL":       `{}`,
		"URL refused":  `{"callbackUrl":"http://new.example/hook"}`,
		"other member": `{"callbackUrl":"https://new.example/hook","status":"ACTIVE"}`,
	}
)

// matrixStatus is the order of the checks: the credential first, then the body, then
// what there is.
func matrixStatus(method, state, credential, body string) int {
	exists := state == "active" || state == "suspended"
	takesBody := method == "POST" || method == "PUT"
	switch {
	case credential != "valid":
		return http.StatusUnauthorized
	case takesBody && body != "good":
		return http.StatusBadRequest
	case method == "POST" && exists:
		return http.StatusConflict
	case method == "POST":
		return http.StatusCreated
	case !exists:
		return http.StatusNotFound
	case method == "DELETE":
		return http.StatusNoContent
	}
	return http.StatusOK
}

func TestWebhookMatrix(t *testing.T) {
	s := start(t)
	for _, method := range matrixMethods {
		for _, state := range matrixStates {
			for _, credential := range matrixCredentials {
				for name, body := range matrixBodies {
					t.Run(strings.Join([]string{method, state, credential, name}, "/"), func(t *testing.T) {
						id, key := s.account()
						s.enter(t, id, state)
						before, beforeErr := s.store.Webhook(t.Context(), id)
						want := matrixStatus(method, state, credential, name)
						got := s.do(call{method: method, path: webhookPath, apiKey: s.present(t, id, key, credential), body: body}).want(t, want)
						if want >= 400 {
							after, afterErr := s.store.Webhook(t.Context(), id)
							if diff := cmp.Diff(fmt.Sprint(before, beforeErr), fmt.Sprint(after, afterErr)); diff != "" {
								t.Errorf("the webhook changed on %d (-before +after):\n%s", got.status, diff)
							}
						}
					})
				}
			}
		}
	}
}

// enter brings a new account into a state of the matrix.
func (s *service) enter(t *testing.T, account, state string) {
	t.Helper()
	if state == "none" {
		return
	}
	w, err := s.store.CreateWebhook(t.Context(), store.Webhook{
		AccountID: account, ID: store.NewID("wh_"), CallbackURL: goodURL, Status: store.Active,
		Secret: store.NewSecret(), Version: 1, CreatedAt: epoch, UpdatedAt: epoch,
	})
	if err == nil && state == "suspended" {
		err = s.store.SuspendWebhook(t.Context(), w, epoch)
	}
	if err == nil && state == "removed" {
		err = s.store.DeleteWebhook(t.Context(), account, epoch)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// present makes of a valid key the credential of the matrix.
func (s *service) present(t *testing.T, account, key, credential string) string {
	t.Helper()
	switch credential {
	case "missing":
		return ""
	case "malformed":
		return key[:len(key)-1] + "!"
	case "unknown":
		return store.NewKey()
	case "revoked":
		keys, err := s.store.APIKeys(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.store.RevokeAPIKey(t.Context(), account, keys[0].ID); err != nil {
			t.Fatal(err)
		}
	}
	return key
}

func TestWebhookLife(t *testing.T) {
	s := start(t, func(c *server.Config) { c.BasePath = "/api/partner-gateway/v1" })
	id, key := s.account()
	do := func(method, body string) answer {
		return s.do(call{method: method, path: webhookPath, apiKey: key, body: body})
	}
	const odd = `HTTPS://Example.com:8443/hook?a=1&b=<2>`

	created := do("POST", `{"callbackUrl":"`+odd+`"}`).want(t, http.StatusCreated)
	if got, want := created.header.Get("Location"), "/api/partner-gateway/v1"+webhookPath; got != want {
		t.Errorf("Location: got %q, want %q", got, want)
	}
	if !strings.Contains(created.body, odd) {
		t.Errorf("body: got %s, want the URL as it was given: %s", created.body, odd)
	}
	first := decode[gen.WebhookWithSecret](t, created)
	want := gen.Webhook{ID: first.ID, CallbackURL: odd, Status: gen.WebhookStatusACTIVE, Secrets: []gen.SecretInUse{{}},
		CreatedAt: shown(epoch), UpdatedAt: shown(epoch)}
	wantWebhook(t, do("GET", ""), want)

	s.setNow(epoch.Add(time.Hour))
	want.CallbackURL, want.UpdatedAt = goodURL, shown(epoch.Add(time.Hour))
	wantWebhook(t, do("PUT", `{"callbackUrl":"`+goodURL+`"}`), want)
	wantWebhook(t, do("GET", ""), want)

	kept, err := s.store.Webhook(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.store.SuspendWebhook(t.Context(), kept, epoch.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	want.Status = gen.WebhookStatusSUSPENDED
	wantWebhook(t, do("GET", ""), want)
	want.Status = gen.WebhookStatusACTIVE
	wantWebhook(t, do("PUT", `{"callbackUrl":"`+goodURL+`"}`), want)

	if got := do("DELETE", "").want(t, http.StatusNoContent); got.body != "" {
		t.Errorf("body: got %q, want none", got.body)
	}
	do("GET", "").want(t, http.StatusNotFound)
	second := decode[gen.WebhookWithSecret](t, do("POST", `{"callbackUrl":"`+goodURL+`"}`).want(t, http.StatusCreated))
	if second.ID == first.ID || second.SigningSecret == first.SigningSecret {
		t.Errorf("a new webhook: got the id or the secret of the old one: %s", second.ID)
	}
}

// wantWebhook fails unless the answer shows the webhook, without its secret.
func wantWebhook(t *testing.T, a answer, want gen.Webhook) {
	t.Helper()
	a.want(t, http.StatusOK)
	if diff := cmp.Diff(want, decode[gen.Webhook](t, a)); diff != "" {
		t.Errorf("webhook (-want +got):\n%s", diff)
	}
	if strings.Contains(a.body, "whsec_") || strings.Contains(a.body, "signingSecret") {
		t.Errorf("body: got %s, want one without the secret", a.body)
	}
}

func TestConcurrentCreatesHaveOneWinner(t *testing.T) {
	s := start(t)
	_, key := s.account()
	const callers = 16
	statuses := make(chan int, callers)
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			r, err := http.NewRequestWithContext(t.Context(), "POST", s.url+webhookPath, strings.NewReader(`{"callbackUrl":"`+goodURL+`"}`))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("X-API-Key", key)
			r.Header.Set("Content-Type", jsonType)
			resp, err := s.client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
			statuses <- resp.StatusCode
		})
	}
	group.Wait()
	close(statuses)
	got := map[int]int{}
	for status := range statuses {
		got[status]++
	}
	if diff := cmp.Diff(map[int]int{http.StatusCreated: 1, http.StatusConflict: callers - 1}, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func TestRotation(t *testing.T) {
	s := start(t)
	id, key := s.account()
	rotate := call{method: "POST", path: webhookPath + "/signing-secret", apiKey: key}
	s.do(rotate).want(t, http.StatusNotFound)
	created := decode[gen.WebhookWithSecret](t, s.do(call{
		method: "POST", path: webhookPath, apiKey: key, body: `{"callbackUrl":"` + goodURL + `"}`,
	}).want(t, http.StatusCreated))

	s.setNow(epoch.Add(time.Minute))
	rotate.body = `{"not":"looked at"`
	rotated := decode[gen.WebhookWithSecret](t, s.do(rotate).want(t, http.StatusOK))
	if rotated.SigningSecret == created.SigningSecret || rotated.ID != created.ID {
		t.Errorf("rotation: got id %s with the secret changed=%t, want %s and a new secret",
			rotated.ID, rotated.SigningSecret != created.SigningSecret, created.ID)
	}
	w, err := s.store.Webhook(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	secrets := func(at time.Time) (texts []string) {
		for _, secret := range w.SigningSecrets(at) {
			texts = append(texts, store.SecretText(secret))
		}
		return texts
	}
	rotatedAt := epoch.Add(time.Minute)
	if diff := cmp.Diff([]string{rotated.SigningSecret, created.SigningSecret}, secrets(rotatedAt.Add(24*time.Hour-time.Nanosecond))); diff != "" {
		t.Errorf("secrets within 24 h (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{rotated.SigningSecret}, secrets(rotatedAt.Add(24*time.Hour))); diff != "" {
		t.Errorf("secrets after 24 h (-want +got):\n%s", diff)
	}
}

// TestEachOldSecretSignsForItsOwnDay: a second rotation ends nothing, and one
// too many is refused.
func TestEachOldSecretSignsForItsOwnDay(t *testing.T) {
	s := start(t)
	_, key := s.subscriber()
	rotate := call{method: "POST", path: webhookPath + "/signing-secret", apiKey: key}
	for i := range 10 {
		s.setNow(epoch.Add(time.Duration(i) * time.Hour))
		s.do(rotate).want(t, http.StatusOK)
	}
	ends := func(hour int) []int {
		t.Helper()
		s.setNow(epoch.Add(time.Duration(hour) * time.Hour))
		w := decode[gen.Webhook](t, s.do(call{method: "GET", path: webhookPath, apiKey: key}).want(t, http.StatusOK))
		if w.Secrets[0].Until != nil {
			t.Errorf("the present secret: got an end at %v, want none", w.Secrets[0].Until)
		}
		var hours []int
		for _, old := range w.Secrets[1:] {
			hours = append(hours, int(time.Time(*old.Until).Sub(epoch.Truncate(time.Millisecond)).Hours()))
		}
		return hours
	}
	if diff := cmp.Diff([]int{33, 32, 31, 30, 29, 28, 27, 26, 25, 24}, ends(10)); diff != "" {
		t.Errorf("ends of the old secrets, in hours (-want +got):\n%s", diff)
	}
	refused := s.do(rotate).want(t, http.StatusTooManyRequests)
	if got := refused.header.Get("Retry-After"); got != strconv.Itoa(14*3600) {
		t.Errorf("Retry-After: got %s, want the 14 h until the oldest ends", got)
	}
	if got := ends(23); len(got) != 10 {
		t.Errorf("old secrets after 23 h: got %v, want all ten", got)
	}
	if diff := cmp.Diff([]int{33, 32, 31, 30, 29, 28, 27, 26, 25}, ends(24)); diff != "" {
		t.Errorf("ends after 24 h (-want +got):\n%s", diff)
	}
	s.do(rotate).want(t, http.StatusOK)
	if diff := cmp.Diff([]int{48, 33, 32, 31, 30, 29, 28, 27, 26, 25}, ends(24)); diff != "" {
		t.Errorf("ends after one more rotation (-want +got):\n%s", diff)
	}
}

func TestSecretsAreLongEnough(t *testing.T) {
	s := start(t)
	_, key := s.account()
	got := decode[gen.WebhookWithSecret](t, s.do(call{
		method: "POST", path: webhookPath, apiKey: key, body: `{"callbackUrl":"` + goodURL + `"}`,
	}).want(t, http.StatusCreated))
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(got.SigningSecret, "whsec_"))
	if err != nil || len(secret) < 24 || len(secret) > 64 {
		t.Errorf("secret: got %d bytes (%v), want 24 to 64 (Standard Webhooks)", len(secret), err)
	}
}

// TestCallbackSources: an account reads them before it has a webhook, and so does
// the platform for it; who states none says so.
func TestCallbackSources(t *testing.T) {
	stated := func(c *server.Config) {
		c.CallbackSources = []netip.Prefix{netip.MustParsePrefix("203.0.113.16/28"), netip.MustParsePrefix("2001:db8::/64")}
	}
	for name, test := range map[string]struct {
		service *service
		want    string
	}{
		"stated": {start(t, stated), `{"networks":["203.0.113.16/28","2001:db8::/64"],"stated":true}`},
		"none":   {start(t), `{"networks":[],"stated":false}`},
	} {
		id, key := test.service.account()
		for who, c := range map[string]call{"the account": {apiKey: key}, "the platform": {platform: true, header: map[string]string{"X-Account-Id": id}}} {
			c.method, c.path = http.MethodGet, webhookPath+"/sources"
			if got := strings.TrimSpace(test.service.do(c).want(t, http.StatusOK).body); got != test.want {
				t.Errorf("%s, to %s: got %s, want %s", name, who, got, test.want)
			}
		}
	}
}
