package server_test

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/recapito/recapito/gen"
)

// vector is a signed call as a document shows it.
var vector = regexp.MustCompile(`(?s)webhook-id: (\S+)\s+webhook-timestamp: (\d+)\s+webhook-signature: (\S+)\s+(?:webhook-attempt: 1\s+)?(\{[^\n]+\})\n`)

// TestTheExampleSignatureVerifies wherever it is shown, with the secret that is
// shown; and the bytes are those that are sent for the document's example.
func TestTheExampleSignatureVerifies(t *testing.T) {
	c := loadContract(t)
	created := c.doc.Components.Examples["WebhookCreated"].Value.Value.(map[string]any)
	secret := created["signingSecret"].(string)
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	receiving, err := os.ReadFile("../docs/receiving.md")
	if err != nil {
		t.Fatal(err)
	}
	sent := sentForTheExample(t)
	for name, text := range map[string]string{"openapi.yaml": string(spec(t)), "openapi.it.yaml": string(gen.Italian), "receiving.md": string(receiving)} {
		found := vector.FindStringSubmatch(text)
		if found == nil || !strings.Contains(text, secret) {
			t.Errorf("%s: got no signed call, or not its secret; want both", name)
			continue
		}
		h := http.Header{}
		for i, header := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
			h.Set(header, found[i+1])
		}
		if err := verifier.VerifyIgnoringTimestamp([]byte(found[4]), h); err != nil {
			t.Errorf("%s: got %v, want a genuine call", name, err)
		}
		if found[4] != sent {
			t.Errorf("%s: got the body %s, want %s as it is sent", name, found[4], sent)
		}
	}
	call := c.doc.Paths.Value(webhookPath).Post.Callbacks["statusEvent"].Value.Value("{$request.body#/callbackUrl}").Post
	if got, want := call.Parameters.GetByInAndName("header", "webhook-signature").Example, vector.FindStringSubmatch(string(spec(t)))[3]; got != want {
		t.Errorf("the parameter's example: got %v, want %s", got, want)
	}
}

// sentForTheExample hands in the event of the document's first example, as the
// second of its message, and returns what is sent.
func sentForTheExample(t *testing.T) string {
	t.Helper()
	s := start(t)
	s.do(call{method: "PUT", path: "/accounts/acc_1", platform: true}).want(t, http.StatusCreated)
	key := decode[gen.APIKeyCreated](t, s.do(call{method: "POST", path: "/accounts/acc_1/api-keys", platform: true}).want(t, http.StatusCreated))
	s.do(call{method: "POST", path: webhookPath, apiKey: *key.Key, body: `{"callbackUrl":"` + goodURL + `"}`}).want(t, http.StatusCreated)
	example := loadContract(t).doc.Components.Examples["SmsDelivered"].Value.Value.(map[string]any)
	at, err := time.Parse(time.RFC3339, example["receivedAt"].(string))
	if err != nil {
		t.Fatal(err)
	}
	s.setNow(at)
	id := example["eventId"].(string)
	given := map[string]any{"id": id}
	for name := range loadContract(t).doc.Components.Schemas["EventInput"].Value.Properties {
		if v, ok := example[name]; ok && name != "final" {
			given[name] = v
		}
	}
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	s.accept(t, strings.Replace(string(text), id, "evt_before", 1), string(text))
	got := s.do(call{method: "GET", path: webhookPath + "/deliveries/" + id, apiKey: *key.Key}).want(t, http.StatusOK)
	return string(decode[struct{ Payload json.RawMessage }](t, got).Payload)
}
