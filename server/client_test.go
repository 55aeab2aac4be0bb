package server_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/recapito/recapito/gen/client"
	"github.com/recapito/recapito/server"
)

// TestGeneratedClient goes the way of a partner: account, key, webhook, event,
// delivery, each with the generated client.
func TestGeneratedClient(t *testing.T) {
	s := start(t, func(c *server.Config) { c.BasePath = "/api" })
	with := func(name, value string) *client.ClientWithResponses {
		c, err := client.NewClientWithResponses(s.url, client.WithHTTPClient(s.client),
			client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
				r.Header.Set(name, value)
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ctx := t.Context()
	platform := with("Authorization", "Bearer "+platformKey)
	if got, err := platform.PutAccountWithResponse(ctx, "acc:1"); err != nil || got.JSON201 == nil {
		t.Fatalf("put the account: got %v, %v, want 201", got, err)
	}
	key, err := platform.CreateAPIKeyWithResponse(ctx, "acc:1", client.CreateAPIKeyJSONRequestBody{})
	if err != nil || key.JSON201 == nil {
		t.Fatalf("create a key: got %v, %v, want 201", key, err)
	}
	account := with("X-API-Key", *key.JSON201.Key)
	if got, err := account.GetWebhookWithResponse(ctx); err != nil || got.ApplicationProblemJSON404 == nil {
		t.Fatalf("get no webhook: got %v, %v, want 404", got, err)
	}
	hook, err := account.CreateWebhookWithResponse(ctx, client.CreateWebhookJSONRequestBody{CallbackURL: goodURL})
	if err != nil || hook.JSON201 == nil {
		t.Fatalf("create the webhook: got %v, %v, want 201", hook, err)
	}
	sent, err := platform.SendEventsWithResponse(ctx, client.SendEventsJSONRequestBody{Events: []client.EventInput{{
		ID: "evt_1", AccountID: "acc:1", MessageID: "m/1 ?", Channel: client.ChannelRCS, Status: client.MessageStatusREAD,
		RecipientID: new("user"), Timestamp: epoch,
	}}})
	if err != nil || sent.JSON202 == nil || sent.JSON202.Accepted != 1 {
		t.Fatalf("send an event: got %v, %v, want it accepted", sent, err)
	}
	list, err := account.ListDeliveriesWithResponse(ctx, &client.ListDeliveriesParams{
		State: &[]client.DeliveryState{client.DeliveryStatePENDING, client.DeliveryStateFAILED}, MessageID: new("m/1 ?"), From: new(epoch.In(time.FixedZone("", 3600))), Limit: new(int32(1)),
	})
	if err != nil || list.JSON200 == nil || len(list.JSON200.Deliveries) != 1 {
		t.Fatalf("list deliveries: got %v, %v, want one", list, err)
	}
	one, err := account.GetDeliveryWithResponse(ctx, "evt_1")
	if err != nil || one.JSON200 == nil || one.JSON200.Payload.EventType != client.EventTypeREAD || one.JSON200.Payload.Sequence != 1 {
		t.Fatalf("get the delivery: got %v, %v, want its payload", one, err)
	}
	attempts, err := account.ListAttemptsWithResponse(ctx, &client.ListAttemptsParams{Outcome: new(client.AttemptOutcomeFAILED), StatusClass: new(client.StatusClassN5XX), To: new(epoch)})
	if err != nil || attempts.JSON200 == nil || len(attempts.JSON200.Attempts) != 0 {
		t.Fatalf("list attempts: got %v, %v, want none", attempts, err)
	}
	feed, err := account.ReadEventsWithResponse(ctx, &client.ReadEventsParams{Limit: new(int32(1))})
	if err != nil || feed.JSON200 == nil || len(feed.JSON200.Events) != 1 || feed.JSON200.Events[0].Payload.EventID != "evt_1" {
		t.Fatalf("read the feed: got %v, %v, want evt_1", feed, err)
	}
	accounts, err := platform.ListAccountsWithResponse(ctx, &client.ListAccountsParams{IDPrefix: new("acc:")})
	if err != nil || accounts.JSON200 == nil || len(accounts.JSON200.Accounts) != 1 || accounts.JSON200.Accounts[0].ID != "acc:1" {
		t.Fatalf("list accounts: got %v, %v, want acc:1", accounts, err)
	}
	support, err := client.NewClientWithResponses(s.url, client.WithHTTPClient(s.client), client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+platformKey)
		r.Header.Set("X-Account-Id", "acc:1")
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := support.GetDeliveryWithResponse(ctx, "evt_1"); err != nil || got.JSON200 == nil {
		t.Fatalf("get the delivery for the account: got %v, %v, want it", got, err)
	}
}
