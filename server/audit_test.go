package server_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/recapito/recapito/server"
)

// TestEachChangeIsToldOnce: a line at INFO with who, what and the request, and a count;
// nothing for what was refused, read, or so before. No line has a secret, or more of a
// callback URL than its host.
func TestEachChangeIsToldOnce(t *testing.T) {
	var counted []server.Change
	s := start(t, func(c *server.Config) { c.OnChange = func(what server.Change) { counted = append(counted, what) } })
	_, key := s.account()
	id := "acc_told"
	put, again := `{"callbackUrl":"https://a.example/?token=hidden"}`, `{"callbackUrl":"https://b.example:8443/?token=hidden"}`
	account, keys := "/accounts/"+id, "/accounts/"+id+"/api-keys"
	var keyID, replayID string
	for i, tt := range []struct {
		method, path, body string
		as                 string // the platform, the platform for the account, or the account
		status             int
		line               string // without its beginning; empty: there is none
		change             server.Change
	}{
		{"PUT", account, "", "platform", 201, "by=platform account=acc_told operation=putAccount request_id=REQ", server.AccountCreated},
		{"PUT", account, "", "platform", 200, "", ""},
		{"POST", keys, "", "platform", 201, "by=platform account=acc_told key=KEY operation=createApiKey request_id=REQ", server.APIKeyCreated},
		{"GET", keys, "", "platform", 200, "", ""},
		{"POST", webhookPath, put, "account", 201, "by=account account=acc_told host=a.example operation=createWebhook request_id=REQ", server.WebhookRegistered},
		{"POST", webhookPath, put, "account", 409, "", ""},
		{"PUT", webhookPath, again, "account", 200, "by=account account=acc_told host=b.example:8443 operation=replaceWebhook request_id=REQ", server.WebhookReplaced},
		{"PUT", webhookPath, `{}`, "account", 400, "", ""},
		{"POST", webhookPath + "/signing-secret", "", "account", 200, "by=account account=acc_told operation=rotateSigningSecret request_id=REQ", server.SecretRotated},
		{"POST", webhookPath + "/deliveries/evt_none/replay", "", "for the account", 404, "", ""},
		{"DELETE", webhookPath, "", "account", 204, "by=account account=acc_told operation=deleteWebhook request_id=REQ", server.WebhookRemoved},
		{"DELETE", webhookPath, "", "account", 404, "", ""},
		{"POST", webhookPath, put, "for the account", 201, "by=platform account=acc_told host=a.example operation=createWebhook request_id=REQ", server.WebhookRegistered},
		{"GET", webhookPath, "", "for the account", 200, "", ""},
		{"POST", webhookPath + "/test-event", "", "for the account", 200, "by=platform account=acc_told operation=sendTestEvent request_id=REQ", ""},
		{"POST", webhookPath + "/test-event", "", "account", 200, "", ""},
		{"POST", webhookPath + "/replays", "{}", "account", 202, "by=account account=acc_told replay=REPLAY operation=startReplay request_id=REQ", server.ReplayBegun},
		{"POST", webhookPath + "/replays", "{}", "account", 409, "", ""},
		{"DELETE", webhookPath + "/replays/REPLAY", "", "for the account", 200, "by=platform account=acc_told replay=REPLAY operation=stopReplay request_id=REQ", server.ReplayStopped},
		{"DELETE", webhookPath + "/replays/REPLAY", "", "account", 200, "", ""},
		{"POST", "/replays", `{"filters":{}}`, "platform", 202, "by=platform replay=REPLAY operation=startAccountReplay request_id=REQ", server.ReplayBegun},
		{"DELETE", "/replays/REPLAY", "", "platform", 200, "by=platform replay=REPLAY operation=stopAccountReplay request_id=REQ", server.ReplayStopped},
		{"DELETE", "/replays/REPLAY", "", "platform", 200, "", ""},
		{"POST", "/webhooks/operations", put, "platform", 201, "by=platform host=a.example operation=createOperationsWebhook request_id=REQ", server.WebhookRegistered},
		{"DELETE", "/webhooks/operations", "", "platform", 204, "by=platform operation=deleteOperationsWebhook request_id=REQ", server.WebhookRemoved},
		{"POST", "/events", batch(event("evt_1", id)), "platform", 202, "", ""},
		{"DELETE", keys + "/KEY", "", "platform", 204, "by=platform account=acc_told key=KEY operation=deleteApiKey request_id=REQ", server.APIKeyRevoked},
		{"DELETE", keys + "/KEY", "", "platform", 404, "", ""},
		{"DELETE", account, "", "platform", 204, "by=platform account=acc_told operation=deleteAccount request_id=REQ", server.AccountErased},
		{"DELETE", account, "", "platform", 404, "", ""},
	} {
		s.log.Reset()
		counted = nil
		request := fmt.Sprint("req_", i)
		c := call{method: tt.method, path: strings.NewReplacer("KEY", keyID, "REPLAY", replayID).Replace(tt.path), body: tt.body, platform: tt.as != "account", header: map[string]string{"X-Request-Id": request}}
		switch tt.as {
		case "account":
			c.apiKey = key
		case "for the account":
			c.header["X-Account-Id"] = id
		}
		got := s.do(c)
		got.want(t, tt.status)
		if tt.status == 201 && tt.path == keys {
			var made = regexp.MustCompile(`"(key_\w+)"`).FindStringSubmatch(got.body)
			keyID, key = made[1], regexp.MustCompile(`"(rcp_\w+)"`).FindStringSubmatch(got.body)[1]
		}
		if id := regexp.MustCompile(`"(rp[lg]_\w+)"`).FindStringSubmatch(got.body); id != nil {
			replayID = id[1]
		}
		text := strings.ToLower(strings.ReplaceAll(string(tt.change), "_", " "))
		if tt.change == "" {
			text = "done for an account"
		}
		want := strings.NewReplacer("REQ", request, "KEY", keyID, "REPLAY", replayID).Replace(`level=INFO msg="` + text + `" ` + tt.line + "\n")
		if tt.line == "" {
			want = ""
		}
		if line := regexp.MustCompile(`time=\S+ `).ReplaceAllString(s.log.String(), ""); line != want {
			t.Errorf("%s %s as %s, %d: log:\n got %q\nwant %q", tt.method, tt.path, tt.as, tt.status, line, want)
		}
		if is, once := fmt.Sprint(counted), fmt.Sprint([]server.Change{tt.change}); is != once && (tt.change != "" || is != "[]") {
			t.Errorf("%s %s as %s, %d: counted %s, want %s", tt.method, tt.path, tt.as, tt.status, is, once)
		}
	}
}

// TestReasonIsTold: the line of what the platform changes has its reason, on one line and no
// longer than it may be; that of an account has none.
func TestReasonIsTold(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	for _, tt := range []struct {
		c            call
		reason, want string
	}{
		{call{method: "POST", path: "/accounts/" + id + "/console-links", platform: true}, "ticket 17", `reason="ticket 17"`},
		{call{method: "POST", path: webhookPath + "/test-event", platform: true, header: map[string]string{"X-Account-Id": id}}, "perch%C3%A9%0Ano", "reason=\"perch\u00e9\uFFFDno\""},
		{call{method: "POST", path: webhookPath + "/test-event", platform: true, header: map[string]string{"X-Account-Id": id}}, "100% " + strings.Repeat("x", 300), `reason="100% ` + strings.Repeat("x", 251) + `"`},
		{call{method: "POST", path: webhookPath + "/signing-secret", apiKey: key}, "none", ""},
	} {
		s.log.Reset()
		if tt.c.header == nil {
			tt.c.header = map[string]string{}
		}
		tt.c.header["X-Reason"] = tt.reason
		if got := s.do(tt.c); got.status >= 300 {
			t.Fatalf("%s: %d %s", tt.c.path, got.status, got.body)
		}
		line := s.log.String()
		if is := strings.Contains(line, "reason="); strings.Count(line, "\n") != 1 || !strings.Contains(line, tt.want) || is != (tt.want != "") {
			t.Errorf("%s, because of %q: log %q, want one line with %q", tt.c.path, tt.reason, line, tt.want)
		}
	}
}

// TestChangeThatMayHaveHappenedIsTold: the line of the failure says by whom and of
// whom, and nothing is counted.
func TestChangeThatMayHaveHappenedIsTold(t *testing.T) {
	s := start(t, func(c *server.Config) {
		c.Store = &lost{c.Store}
		c.OnChange = func(what server.Change) {
			if what == server.WebhookRemoved {
				t.Errorf("counted %s, want nothing", what)
			}
		}
	})
	id, _ := s.subscriber()
	s.log.Reset()
	s.do(call{method: "DELETE", path: webhookPath, platform: true, header: map[string]string{"X-Account-Id": id}}).want(t, http.StatusInternalServerError)
	line := s.log.String()
	for _, want := range []string{"level=ERROR", "operation=deleteWebhook", "by=platform", "account=" + id} {
		if strings.Count(line, want) != 1 {
			t.Errorf("log: got %s, want one line with %s", line, want)
		}
	}
}

// TestEveryChangeIsAnOperationOfTheContract.
func TestEveryChangeIsAnOperationOfTheContract(t *testing.T) {
	known := map[string]bool{}
	for _, o := range loadContract(t).operations(t) {
		known[o.id] = true
	}
	for id := range server.Changes {
		if !known[id] {
			t.Errorf("%s: the document has no such operation", id)
		}
	}
}
