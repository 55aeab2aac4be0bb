package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

const operationsPath = "/webhooks/operations"

// TestOperationsWebhookMatrix is TestWebhookMatrix of the platform's webhook.
func TestOperationsWebhookMatrix(t *testing.T) {
	s := start(t)
	_, key := s.subscriber()
	credentials := map[string]call{"valid": {platform: true}, "missing": {}, "an account's": {apiKey: key}}
	for _, method := range matrixMethods {
		for _, state := range matrixStates {
			for credential, with := range credentials {
				for name, body := range matrixBodies {
					t.Run(strings.Join([]string{method, state, credential, name}, "/"), func(t *testing.T) {
						_ = s.store.DeleteWebhook(t.Context(), store.Operations, epoch)
						s.enter(t, store.Operations, state)
						with.method, with.path, with.body = method, operationsPath, body
						got := s.do(with).want(t, matrixStatus(method, state, credential, name))
						if location := got.header.Get("Location"); got.status == http.StatusCreated && location != operationsPath {
							t.Errorf("Location: got %q, want %q", location, operationsPath)
						}
					})
				}
			}
		}
	}
	rotate := call{method: "POST", path: operationsPath + "/signing-secret", platform: true}
	_ = s.store.DeleteWebhook(t.Context(), store.Operations, epoch)
	s.do(rotate).want(t, http.StatusNotFound)
	s.enter(t, store.Operations, "active")
	for range store.MaxOldSecrets {
		s.do(rotate).want(t, http.StatusOK)
	}
	s.do(rotate).want(t, http.StatusTooManyRequests)
}

// TestOperationsIsNoAccount: no request of an account's reaches the platform's
// webhook, by whatever name.
func TestOperationsIsNoAccount(t *testing.T) {
	s := start(t)
	s.enter(t, store.Operations, "active")
	id, _ := s.subscriber()
	s.do(call{method: "GET", path: webhookPath, platform: true, header: map[string]string{"X-Account-Id": store.Operations}}).want(t, http.StatusUnauthorized)
	name := "/accounts/" + strings.ReplaceAll(store.Operations, "$", "%24")
	for _, c := range []call{
		{method: "GET", path: name}, {method: "PUT", path: name}, {method: "DELETE", path: name},
		{method: "GET", path: name + "/api-keys"}, {method: "POST", path: name + "/api-keys"},
	} {
		c.platform = true
		s.do(c).want(t, http.StatusBadRequest)
	}
	s.hand(event("evt_1", store.Operations)).want(t, http.StatusBadRequest)
	if got := s.do(call{method: "GET", path: "/accounts", platform: true}).want(t, http.StatusOK).body; strings.Contains(got, store.Operations) || !strings.Contains(got, id) {
		t.Errorf("the accounts: got %s, want %s alone", got, id)
	}
}

// TestOperationalEventsAreAsTheDocumentSays makes one of each type, and holds it
// against the schema and the example.
func TestOperationalEventsAreAsTheDocumentSays(t *testing.T) {
	s := start(t)
	s.do(call{method: "POST", path: operationsPath, platform: true, body: `{"callbackUrl":"` + goodURL + `"}`}).want(t, http.StatusCreated)
	id, key := s.subscriber()
	s.do(call{method: "PUT", path: webhookPath, apiKey: key, body: `{"callbackUrl":"https://new.example/secret?token=canary"}`}).want(t, http.StatusOK)
	s.accept(t, event("evt_1", id))
	s.record(t, s.stored(t, id, "evt_1"), store.Outcome{State: store.Failed}, epoch)
	w, err := s.store.Webhook(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	health := store.HealthChange{AccountID: id, WebhookID: w.ID, Version: w.Version, To: store.HealthFailing, At: epoch, Error: store.HTTPStatus, StatusCode: 503}
	if err := s.store.RecordHealth(t.Context(), []store.HealthChange{health}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Notify(t.Context(), epoch.Add(store.NoticeDelay), 10); err != nil {
		t.Fatal(err)
	}
	health.To, health.At = store.HealthHealthy, epoch.Add(2*store.NoticeDelay)
	if err = s.store.RecordHealth(t.Context(), []store.HealthChange{health}); err == nil {
		err = s.store.SuspendWebhook(t.Context(), w, epoch.Add(3*store.NoticeDelay))
	}
	if err != nil {
		t.Fatal(err)
	}
	s.setNow(epoch.Add(time.Hour))
	s.do(call{method: "DELETE", path: webhookPath, apiKey: key}).want(t, http.StatusNoContent)

	doc, met := loadContract(t).doc, []string{}
	schema := doc.Components.Schemas["OperationalEvent"].Value
	page, err := s.store.Deliveries(t.Context(), store.DeliveryQuery{AccountID: store.Operations, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	examples := map[string]map[string]any{}
	for _, name := range []string{"WebhookRegistered", "WebhookReplaced", "WebhookRemoved", "DeliveryGivenUp", "EndpointFailing", "EndpointRecovered", "EndpointSuspended"} {
		example := doc.Components.Examples[name].Value.Value.(map[string]any)
		examples[example["eventType"].(string)] = example
	}
	for _, d := range page.Deliveries {
		if strings.Contains(string(d.Body), "canary") {
			t.Errorf("%s tells what may be secret in a URL", d.Body)
		}
		var body map[string]any
		if err := json.Unmarshal(d.Body, &body); err != nil {
			t.Fatal(err)
		}
		if err := schema.VisitJSON(body); err != nil {
			t.Errorf("%s: %v", d.Body, err)
		}
		kind := body["eventType"].(string)
		met = append(met, kind)
		for member := range body {
			if schema.Properties[member] == nil {
				t.Errorf("%s: the document does not know %s", kind, member)
			}
			if examples[kind][member] == nil {
				t.Errorf("%s: its example lacks %s", kind, member)
			}
		}
	}
	want := []string{"WEBHOOK_REMOVED", "ENDPOINT_SUSPENDED", "ENDPOINT_RECOVERED", "ENDPOINT_FAILING", "DELIVERY_GIVEN_UP", "WEBHOOK_REPLACED", "WEBHOOK_REGISTERED"}
	if diff := cmp.Diff(want, met); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if n := len(doc.Components.Schemas["OperationalEventType"].Value.Enum); n != len(want) {
		t.Errorf("the document has %d types, this test makes %d", n, len(want))
	}
}

func TestOperationalEventsAreListed(t *testing.T) {
	s := start(t)
	s.do(call{method: "POST", path: operationsPath, platform: true, body: `{"callbackUrl":"` + goodURL + `"}`}).want(t, http.StatusCreated)
	first, _ := s.subscriber()
	second, key := s.subscriber()
	s.do(call{method: "DELETE", path: webhookPath, apiKey: key}).want(t, http.StatusNoContent)
	registered, err := s.store.Deliveries(t.Context(), store.DeliveryQuery{AccountID: store.Operations, MessageID: first, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.record(t, registered.Deliveries[0], store.Outcome{State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: epoch, StatusCode: 204}}, epoch)
	list := func(query string) (page gen.OperationsDeliveryList, seen []string) {
		page = decode[gen.OperationsDeliveryList](t, s.do(call{method: "GET", path: operationsPath + "/deliveries?" + query, platform: true}).want(t, http.StatusOK))
		for _, d := range page.Deliveries {
			var e gen.OperationalEvent
			if err := json.Unmarshal(*d.Payload, &e); err != nil || e.EventID != d.EventID {
				t.Errorf("%s: %s, %v; want the event", d.EventID, *d.Payload, err)
			}
			seen = append(seen, string(e.EventType)+" "+e.AccountID+" "+string(d.State))
		}
		return page, seen
	}
	want := []string{"WEBHOOK_REMOVED " + second + " PENDING", "WEBHOOK_REGISTERED " + second + " PENDING", "WEBHOOK_REGISTERED " + first + " DELIVERED"}
	page, newest := list("limit=2")
	_, rest := list("limit=2&cursor=" + *page.NextCursor)
	if diff := cmp.Diff(want, append(newest, rest...)); diff != "" {
		t.Errorf("by pages (-want +got):\n%s", diff)
	}
	for query, n := range map[string]int{"accountId=" + second: 2, "state=DELIVERED": 1, "state=FAILED": 0, "to=2026-11-20T09:00:00Z": 0, "from=2026-11-20T09:00:00Z&order=asc": 3} {
		if _, got := list(query); len(got) != n {
			t.Errorf("%s: %v, want %d", query, got, n)
		}
	}
	s.do(call{method: "GET", path: operationsPath + "/deliveries?cursor=AAAA", platform: true}).want(t, http.StatusBadRequest)
	s.do(call{method: "GET", path: operationsPath + "/deliveries", apiKey: key}).want(t, http.StatusUnauthorized)
}
