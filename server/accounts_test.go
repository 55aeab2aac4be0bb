package server_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

func TestAccountLife(t *testing.T) {
	s := start(t)
	do := func(method string) answer {
		return s.do(call{method: method, path: "/accounts/a.b_c~d:e@f-1", platform: true})
	}
	do("GET").want(t, http.StatusNotFound)
	do("DELETE").want(t, http.StatusNotFound)

	created := do("PUT").want(t, http.StatusCreated)
	if got, want := created.header.Get("Location"), "/accounts/a.b_c~d:e@f-1"; got != want {
		t.Errorf("Location: got %q, want %q", got, want)
	}
	s.setNow(epoch.Add(time.Hour))
	want := gen.Account{ID: "a.b_c~d:e@f-1", CreatedAt: shown(epoch)}
	for _, method := range []string{"PUT", "GET"} {
		if diff := cmp.Diff(want, decode[gen.Account](t, do(method).want(t, http.StatusOK))); diff != "" {
			t.Errorf("%s: account (-want +got):\n%s", method, diff)
		}
	}
	do("DELETE").want(t, http.StatusNoContent)
	do("GET").want(t, http.StatusNotFound)
}

func TestAPIKeyLife(t *testing.T) {
	s := start(t)
	s.do(call{method: "POST", path: "/accounts/acc/api-keys", platform: true}).want(t, http.StatusNotFound)
	s.do(call{method: "GET", path: "/accounts/acc/api-keys", platform: true}).want(t, http.StatusNotFound)
	s.do(call{method: "PUT", path: "/accounts/acc", platform: true}).want(t, http.StatusCreated)

	first := s.makeKey(t, "acc", "")
	second := s.makeKey(t, "acc", "{}")
	keys := decode[gen.APIKeyList](t, s.do(call{method: "GET", path: "/accounts/acc/api-keys", platform: true}).want(t, http.StatusOK))
	var ids []string
	for _, k := range keys.APIKeys {
		ids = append(ids, k.ID+" "+*k.Hint)
	}
	if diff := cmp.Diff([]string{first.ID + " " + hint(first), second.ID + " " + hint(second)}, ids); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}

	s.do(call{method: "GET", path: webhookPath, apiKey: *first.Key}).want(t, http.StatusNotFound)
	s.do(call{method: "DELETE", path: "/accounts/acc/api-keys/" + first.ID, platform: true}).want(t, http.StatusNoContent)
	s.do(call{method: "GET", path: webhookPath, apiKey: *first.Key}).want(t, http.StatusUnauthorized)
	s.do(call{method: "GET", path: webhookPath, apiKey: *second.Key}).want(t, http.StatusNotFound)
	s.do(call{method: "DELETE", path: "/accounts/acc/api-keys/" + first.ID, platform: true}).want(t, http.StatusNotFound)
	s.do(call{method: "PUT", path: "/accounts/other", platform: true}).want(t, http.StatusCreated)
	s.do(call{method: "DELETE", path: "/accounts/other/api-keys/" + second.ID, platform: true}).want(t, http.StatusNotFound)
}

// makeKey asks for a key and checks that it can be used where it belongs.
func (s *service) makeKey(t *testing.T, account, body string) gen.APIKeyCreated {
	t.Helper()
	got := s.do(call{method: "POST", path: "/accounts/" + account + "/api-keys", platform: true, body: body}).want(t, http.StatusCreated)
	k := decode[gen.APIKeyCreated](t, got)
	if k.Key == nil || !strings.HasPrefix(*k.Key, "rcp_") || k.Hint == nil || *k.Hint != hint(k) {
		t.Fatalf("key: got %s, want a key and its last four characters", got.body)
	}
	if want := "/accounts/" + account + "/api-keys/" + k.ID; got.header.Get("Location") != want {
		t.Errorf("Location: got %q, want %q", got.header.Get("Location"), want)
	}
	return k
}

func hint(k gen.APIKeyCreated) string { return (*k.Key)[len(*k.Key)-4:] }

func TestImportedKey(t *testing.T) {
	s := start(t)
	const foreign = "partner-key-0001!"
	sum := sha256.Sum256([]byte(foreign))
	digest := hex.EncodeToString(sum[:])
	s.do(call{method: "PUT", path: "/accounts/acc", platform: true}).want(t, http.StatusCreated)
	s.do(call{method: "PUT", path: "/accounts/other", platform: true}).want(t, http.StatusCreated)
	s.do(call{method: "GET", path: webhookPath, apiKey: foreign}).want(t, http.StatusUnauthorized)

	imported := func(account, digest string) answer {
		return s.do(call{method: "POST", path: "/accounts/" + account + "/api-keys", platform: true, body: `{"sha256":"` + digest + `"}`})
	}
	got := imported("acc", strings.ToUpper(digest)).want(t, http.StatusCreated)
	if k := decode[gen.APIKeyCreated](t, got); k.Key != nil || k.Hint != nil {
		t.Errorf("key: got %s, want neither the key nor a hint", got.body)
	}
	s.do(call{method: "GET", path: webhookPath, apiKey: foreign}).want(t, http.StatusNotFound)
	imported("acc", digest).want(t, http.StatusConflict)
	imported("other", digest).want(t, http.StatusConflict)
	imported("nobody", strings.Repeat("0", 64)).want(t, http.StatusNotFound)
}

func TestBadKeyRequests(t *testing.T) {
	s := start(t)
	s.do(call{method: "PUT", path: "/accounts/acc", platform: true}).want(t, http.StatusCreated)
	for _, tt := range []struct {
		name, body string
		header     map[string]string
		want       int
	}{
		{"digest too short", `{"sha256":"abcd"}`, nil, 400},
		{"digest not hexadecimal", `{"sha256":"` + strings.Repeat("g", 64) + `"}`, nil, 400},
		{"digest with a newline", `{"sha256":"` + strings.Repeat("0", 64) + `\n"}`, nil, 400},
		{"digest null", `{"sha256":null}`, nil, 201},
		{"unknown member", `{"key":"x"}`, nil, 400},
		{"null", `null`, nil, 400},
		{"not JSON", `{`, nil, 400},
		{"wrong type", `{}`, map[string]string{"Content-Type": "text/plain"}, 415},
		{"encoded", `{}`, map[string]string{"Content-Encoding": "br"}, 415},
		{"too large", strings.Repeat(" ", 64<<10+1), nil, 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.do(call{method: "POST", path: "/accounts/acc/api-keys", platform: true, body: tt.body, header: tt.header}).want(t, tt.want)
		})
	}
}

func TestEraseTakesEverything(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	other, otherKey := s.subscriber()
	s.accept(t, event("evt_1", id), event("evt_1", other))

	s.do(call{method: "DELETE", path: "/accounts/" + id, platform: true}).want(t, http.StatusNoContent)
	s.do(call{method: "GET", path: webhookPath, apiKey: key}).want(t, http.StatusUnauthorized)
	s.do(call{method: "GET", path: webhookPath + "/deliveries/evt_1", apiKey: otherKey}).want(t, http.StatusOK)

	// Who gets the id again begins with nothing.
	s.do(call{method: "PUT", path: "/accounts/" + id, platform: true}).want(t, http.StatusCreated)
	again := s.makeKey(t, id, "")
	s.do(call{method: "GET", path: webhookPath, apiKey: *again.Key}).want(t, http.StatusNotFound)
	s.do(call{method: "GET", path: webhookPath + "/deliveries/evt_1", apiKey: *again.Key}).want(t, http.StatusNotFound)
	list := decode[gen.DeliveryList](t, s.do(call{method: "GET", path: webhookPath + "/deliveries", apiKey: *again.Key}).want(t, http.StatusOK))
	if len(list.Deliveries) != 0 {
		t.Errorf("deliveries: got %v, want none", list.Deliveries)
	}
}

func TestListAccounts(t *testing.T) {
	s := start(t)
	var want []string
	for i := range 120 {
		id := fmt.Sprintf("acc_%03d", i)
		s.do(call{method: "PUT", path: "/accounts/" + id, platform: true}).want(t, http.StatusCreated)
		want = append(want, id)
	}
	longest := "z" + strings.Repeat("~", 63)
	for _, id := range []string{"b:1", "b:2", longest[:63] + "x", longest} {
		s.do(call{method: "PUT", path: "/accounts/" + id, platform: true}).want(t, http.StatusCreated)
	}
	list := func(query string) (ids []string, page gen.AccountList) {
		page = decode[gen.AccountList](t, s.do(call{method: "GET", path: "/accounts?" + query, platform: true}).want(t, http.StatusOK))
		for _, a := range page.Accounts {
			ids = append(ids, a.ID)
		}
		return ids, page
	}
	var got []string
	for cursor := ""; ; {
		ids, page := list("idPrefix=acc_&limit=50" + cursor)
		got = append(got, ids...)
		if page.NextCursor == nil {
			break
		}
		cursor = "&cursor=" + *page.NextCursor
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("acc_ (-want +got):\n%s", diff)
	}
	if ids, page := list("idPrefix=b%3A"); !slices.Equal(ids, []string{"b:1", "b:2"}) || !page.Accounts[0].CreatedAt.Equal(shown(epoch)) {
		t.Errorf("b: got %+v, want b:1 and b:2, made at %v", page, epoch)
	}
	_, last := list("idPrefix=z&limit=1")
	if ids, _ := list("idPrefix=z&cursor=" + *last.NextCursor); !slices.Equal(ids, []string{longest}) {
		t.Errorf("after the first of z: got %v, want %s", ids, longest)
	}
	if ids, page := list(""); len(ids) != 50 || page.NextCursor == nil {
		t.Errorf("without a limit: got %d and cursor %v, want 50 and one", len(ids), page.NextCursor)
	}
	_, key := s.subscriber()
	for _, query := range []string{"limit=0", "limit=101", "idPrefix=", "idPrefix=a%2F", "cursor=AAAA", "prefix=a", "cursor=" + s.feedCursor(t, key)} {
		s.do(call{method: "GET", path: "/accounts?" + query, platform: true}).want(t, http.StatusBadRequest)
	}
}

func (s *service) feedCursor(t *testing.T, key string) string {
	t.Helper()
	_, next := s.readFeed(t, key, "")
	return next
}

func TestAccountsAreListedTheWorstFirst(t *testing.T) {
	s := start(t)
	s.do(call{method: "PUT", path: "/accounts/none", platform: true}).want(t, http.StatusCreated)
	well, _ := s.subscriber()
	bad, _ := s.subscriber()
	s.accept(t, event("evt_1", well), event("evt_2", bad), event("evt_3", bad, `messageId:"m-2"`))
	s.record(t, s.stored(t, bad, "evt_2"), store.Outcome{State: store.Pending, Failures: 1, DueAt: epoch.Add(time.Hour), Attempt: &store.Attempt{
		Number: 1, At: epoch, StatusCode: 503, Error: store.HTTPStatus, Response: []byte("down"), Address: "203.0.113.7:443",
	}}, epoch)
	s.change(t, bad, store.HealthFailing, epoch)
	s.setNow(epoch.Add(time.Hour))
	list := func(query string) gen.AccountList {
		return decode[gen.AccountList](t, s.do(call{method: "GET", path: "/accounts?" + query, platform: true}).want(t, http.StatusOK))
	}
	var ids []string
	for query := "limit=1"; ; {
		page := list(query)
		ids = append(ids, page.Accounts[0].ID)
		if page.NextCursor == nil {
			break
		}
		query = "limit=1&cursor=" + *page.NextCursor
	}
	if want := []string{bad, well, "none"}; !slices.Equal(ids, want) {
		t.Errorf("listed %v, want %v", ids, want)
	}
	all := list("")
	since := epoch.UTC().Format("2006-01-02T15:04:05.000Z")
	want := map[string]any{
		"id": bad, "createdAt": since, "state": "FAILING", "since": since, "pending": 2.0, "oldestPendingAt": since, "consecutiveFailures": 1.0,
		"lastFailure":  map[string]any{"at": since, "error": "HTTP_STATUS", "statusCode": 503.0, "address": "203.0.113.7:443"},
		"callbackHost": "example.com",
	}
	if diff := cmp.Diff(want, members(t, all.Accounts[0])); diff != "" {
		t.Errorf("the worst (-want +got):\n%s", diff)
	}
	want = map[string]any{"id": "none", "createdAt": since, "pending": 0.0, "oldestPendingAt": nil, "consecutiveFailures": 0.0}
	if diff := cmp.Diff(want, members(t, all.Accounts[2])); diff != "" {
		t.Errorf("without a webhook (-want +got):\n%s", diff)
	}
	for query, want := range map[string]int{"state=FAILING": 1, "state=FAILING&state=HEALTHY": 2, "state=SUSPENDED": 0, "state=FAILING&idPrefix=none": 0} {
		if got := list(query); len(got.Accounts) != want {
			t.Errorf("%s: %d accounts, want %d", query, len(got.Accounts), want)
		}
	}
	s.do(call{method: "GET", path: "/accounts?state=BROKEN", platform: true}).want(t, http.StatusBadRequest)
}
