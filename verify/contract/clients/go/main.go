// Command go walks through the life of a webhook with the generated Go client
// and prints what it sees: the scenario of docs/contract.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/recapito/recapito/gen/client"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	first, second := os.Getenv("RECAPITO_CALLBACK")+"/first", os.Getenv("RECAPITO_CALLBACK")+"/second"
	account, err := connect("X-API-Key", os.Getenv("RECAPITO_API_KEY"))
	if err != nil {
		return err
	}
	created, err := account.CreateWebhookWithResponse(ctx, client.WebhookInput{CallbackURL: first})
	if err != nil {
		return err
	}
	fmt.Println("register:", created.StatusCode(), created.JSON201.Status, created.JSON201.CallbackURL == first)

	read, err := account.GetWebhookWithResponse(ctx)
	if err != nil {
		return err
	}
	fmt.Println("read:", read.StatusCode(), read.JSON200.Status, read.JSON200.ID == created.JSON201.ID)

	conflict, err := account.CreateWebhookWithResponse(ctx, client.WebhookInput{CallbackURL: second})
	if err != nil {
		return err
	}
	fmt.Println("conflict:", conflict.StatusCode(), conflict.ApplicationProblemJSON409.Title)

	replaced, err := account.ReplaceWebhookWithResponse(ctx, client.WebhookInput{CallbackURL: second})
	if err != nil {
		return err
	}
	fmt.Println("replace:", replaced.StatusCode(), replaced.JSON200.CallbackURL == second)

	refused, err := account.ReplaceWebhookWithResponse(ctx, client.WebhookInput{CallbackURL: "https://10.0.0.1/"})
	if err != nil {
		return err
	}
	fmt.Println("bad URL:", refused.StatusCode(), (*refused.ApplicationProblemJSON400.Errors)[0].Pointer)

	rotated, err := account.RotateSigningSecretWithResponse(ctx)
	if err != nil {
		return err
	}
	fmt.Println("rotate:", rotated.StatusCode(), rotated.JSON200.SigningSecret != created.JSON201.SigningSecret)

	test, err := account.SendTestEventWithResponse(ctx, client.TestEventInput{Sample: new(client.TestSampleInputRCSREAD)})
	if err != nil {
		return err
	}
	fmt.Println("test:", test.StatusCode(), test.JSON200.Verdict, test.JSON200.Payload.EventType, *test.JSON200.Attempt.StatusCode)

	list, err := account.ListDeliveriesWithResponse(ctx, &client.ListDeliveriesParams{State: &[]client.DeliveryState{client.DeliveryStateDELIVERED}})
	if err != nil {
		return err
	}
	newest := list.JSON200.Deliveries[0]
	fmt.Println("list:", list.StatusCode(), len(list.JSON200.Deliveries), newest.EventID, newest.State)

	detail, err := account.GetDeliveryWithResponse(ctx, newest.EventID)
	if err != nil {
		return err
	}
	fmt.Println("delivery:", detail.StatusCode(), detail.JSON200.Payload.Status, *detail.JSON200.Attempts[0].StatusCode)

	attempts, err := account.ListAttemptsWithResponse(ctx, &client.ListAttemptsParams{Outcome: new(client.AttemptOutcomeACKNOWLEDGED)})
	if err != nil {
		return err
	}
	attempt := attempts.JSON200.Attempts[0]
	fmt.Println("attempts:", attempts.StatusCode(), attempt.EventID, *attempt.StatusCode)

	feed, err := account.ReadEventsWithResponse(ctx, &client.ReadEventsParams{Limit: new(int32(10))})
	if err != nil {
		return err
	}
	oldest := feed.JSON200.Events[0]
	rest, err := account.ReadEventsWithResponse(ctx, &client.ReadEventsParams{After: &feed.JSON200.NextCursor})
	if err != nil {
		return err
	}
	fmt.Println("events:", feed.StatusCode(), len(feed.JSON200.Events), oldest.EventID, oldest.Payload.Status, len(rest.JSON200.Events) == 0)

	if err := again(ctx, account, newest.EventID); err != nil {
		return err
	}
	platform, err := connect("Authorization", "Bearer "+os.Getenv("RECAPITO_PLATFORM_KEY"))
	if err != nil {
		return err
	}
	if err := several(ctx, platform); err != nil {
		return err
	}
	if err := provision(ctx, platform, first); err != nil {
		return err
	}
	if err := operations(ctx, platform, first, second); err != nil {
		return err
	}
	deleted, err := account.DeleteWebhookWithResponse(ctx)
	if err != nil {
		return err
	}
	gone, err := account.GetWebhookWithResponse(ctx)
	if err != nil {
		return err
	}
	fmt.Println("delete:", deleted.StatusCode(), gone.StatusCode(), gone.ApplicationProblemJSON404.Title)

	told, err := platform.ListOperationsDeliveriesWithResponse(ctx, &client.ListOperationsDeliveriesParams{AccountID: new("acc")})
	if err != nil {
		return err
	}
	removed, err := platform.DeleteOperationsWebhookWithResponse(ctx)
	if err != nil {
		return err
	}
	event := told.JSON200.Deliveries[0].Payload
	fmt.Println("told:", told.StatusCode(), event.EventType, event.AccountID, removed.StatusCode())

	stranger, err := connect("X-API-Key", "wrong")
	if err != nil {
		return err
	}
	unauthorized, err := stranger.GetWebhookWithResponse(ctx)
	if err != nil {
		return err
	}
	fmt.Println("wrong key:", unauthorized.StatusCode(), *unauthorized.ApplicationProblemJSON401.Detail)
	return nil
}

// again asks how the endpoint does, and has events sent to it again.
func again(ctx context.Context, account *client.ClientWithResponses, eventID string) error {
	sources, err := account.GetCallbackSourcesWithResponse(ctx)
	if err != nil {
		return err
	}
	fmt.Println("sources:", sources.StatusCode(), sources.JSON200.Stated, len(sources.JSON200.Networks))

	health, err := account.GetHealthWithResponse(ctx)
	if err != nil {
		return err
	}
	fmt.Println("health:", health.StatusCode(), health.JSON200.State, health.JSON200.Pending)

	changes, err := account.ListHealthChangesWithResponse(ctx, nil)
	if err != nil {
		return err
	}
	fmt.Println("changes:", changes.StatusCode(), len(changes.JSON200.Changes))

	minutes, err := account.ListHealthMinutesWithResponse(ctx, nil)
	if err != nil {
		return err
	}
	fmt.Println("minutes:", minutes.StatusCode(), len(minutes.JSON200.Minutes) > 0)

	probe, err := account.ProbeEndpointWithResponse(ctx)
	if err != nil {
		return err
	}
	fmt.Println("probe:", probe.StatusCode(), probe.ApplicationProblemJSON409.Title)

	sent, err := account.ReplayDeliveryWithResponse(ctx, eventID)
	if err != nil {
		return err
	}
	fmt.Println("send again:", sent.StatusCode(), sent.JSON202.EventID, sent.JSON202.State)
	if err := await(func() (bool, error) {
		d, err := account.GetDeliveryWithResponse(ctx, eventID)
		return err == nil && d.JSON200.State == client.DeliveryStateDELIVERED, err
	}); err != nil {
		return err
	}

	started, err := account.StartReplayWithResponse(ctx, client.ReplayFilters{State: &[]client.EndedState{client.EndedStateDELIVERED}})
	if err != nil {
		return err
	}
	var ended *client.GetReplayResponse
	if err := await(func() (bool, error) {
		ended, err = account.GetReplayWithResponse(ctx, started.JSON202.ID)
		return err == nil && ended.JSON200.EndedAt != nil, err
	}); err != nil {
		return err
	}
	fmt.Println("replay:", started.StatusCode(), ended.JSON200.State, ended.JSON200.Matched, ended.JSON200.SentAgain, ended.JSON200.Remaining)

	replays, err := account.ListReplaysWithResponse(ctx)
	if err != nil {
		return err
	}
	stopped, err := account.StopReplayWithResponse(ctx, started.JSON202.ID)
	if err != nil {
		return err
	}
	fmt.Println("replays:", replays.StatusCode(), len(replays.JSON200.Replays) > 0, stopped.JSON200.State)
	return nil
}

// several is what the platform does with accounts.
func several(ctx context.Context, platform *client.ClientWithResponses) error {
	accounts, err := platform.ListAccountsWithResponse(ctx, &client.ListAccountsParams{State: &[]client.EndpointState{client.EndpointStateHEALTHY}})
	if err != nil {
		return err
	}
	worst := accounts.JSON200.Accounts[0]
	fmt.Println("accounts:", accounts.StatusCode(), worst.ID, *worst.State, worst.Pending)

	started, err := platform.StartAccountReplayWithResponse(ctx, client.AccountReplayInput{AccountIds: &[]string{"acc"}})
	if err != nil {
		return err
	}
	var ended *client.GetAccountReplayResponse
	if err := await(func() (bool, error) {
		ended, err = platform.GetAccountReplayWithResponse(ctx, started.JSON202.ID)
		return err == nil && ended.JSON200.EndedAt != nil, err
	}); err != nil {
		return err
	}
	fmt.Println("replay of several:", started.StatusCode(), ended.JSON200.State, ended.JSON200.Accounts.Begun)

	replays, err := platform.ListAccountReplaysWithResponse(ctx)
	if err != nil {
		return err
	}
	stopped, err := platform.StopAccountReplayWithResponse(ctx, started.JSON202.ID)
	if err != nil {
		return err
	}
	fmt.Println("replays of several:", replays.StatusCode(), len(replays.JSON200.Replays) > 0, stopped.JSON200.State)
	return nil
}

// provision makes an account, hands in an event of it, and erases it.
func provision(ctx context.Context, platform *client.ClientWithResponses, callback string) error {
	const id = "acc_new"
	made, err := platform.PutAccountWithResponse(ctx, id)
	if err != nil {
		return err
	}
	found, err := platform.GetAccountWithResponse(ctx, id)
	if err != nil {
		return err
	}
	fmt.Println("account:", made.StatusCode(), found.StatusCode(), found.JSON200.ID)

	key, err := platform.CreateAPIKeyWithResponse(ctx, id, client.APIKeyInput{})
	if err != nil {
		return err
	}
	keys, err := platform.ListAPIKeysWithResponse(ctx, id)
	if err != nil {
		return err
	}
	fmt.Println("keys:", key.StatusCode(), keys.StatusCode(), keys.JSON200.APIKeys[0].ID == key.JSON201.ID)

	link, err := platform.CreateConsoleLinkWithResponse(ctx, id, client.ConsoleLinkInput{Minutes: new(int32(5))})
	if err != nil {
		return err
	}
	fmt.Println("console:", link.StatusCode(), strings.HasPrefix(link.JSON201.Path, "/console#"))

	account, err := connect("X-API-Key", *key.JSON201.Key)
	if err != nil {
		return err
	}
	if _, err := account.CreateWebhookWithResponse(ctx, client.WebhookInput{CallbackURL: callback}); err != nil {
		return err
	}
	handed, err := platform.SendEventsWithResponse(ctx, client.EventBatch{Events: []client.EventInput{{
		ID: "evt_new", AccountID: id, MessageID: "m-new", Channel: client.ChannelSMS, Destination: new("+393401234567"),
		Status: client.MessageStatusDELIVERED, Timestamp: time.Now(),
	}}})
	if err != nil {
		return err
	}
	fmt.Println("hand in:", handed.StatusCode(), handed.JSON202.Accepted, len(handed.JSON202.Skipped))

	revoked, err := platform.DeleteAPIKeyWithResponse(ctx, id, key.JSON201.ID)
	if err != nil {
		return err
	}
	refused, err := account.GetWebhookWithResponse(ctx)
	if err != nil {
		return err
	}
	fmt.Println("revoke:", revoked.StatusCode(), refused.StatusCode())

	erased, err := platform.DeleteAccountWithResponse(ctx, id)
	if err != nil {
		return err
	}
	fmt.Println("erase:", erased.StatusCode())
	return nil
}

// operations asks how the service does, and registers the platform's own webhook.
func operations(ctx context.Context, platform *client.ClientWithResponses, first, second string) error {
	status, err := platform.GetStatusWithResponse(ctx)
	if err != nil {
		return err
	}
	fmt.Println("status:", status.StatusCode(), status.JSON200.Attempting)

	own, err := platform.CreateOperationsWebhookWithResponse(ctx, client.WebhookInput{CallbackURL: first})
	if err != nil {
		return err
	}
	read, err := platform.GetOperationsWebhookWithResponse(ctx)
	if err != nil {
		return err
	}
	fmt.Println("platform:", own.StatusCode(), own.JSON201.Status, read.JSON200.ID == own.JSON201.ID)

	replaced, err := platform.ReplaceOperationsWebhookWithResponse(ctx, client.WebhookInput{CallbackURL: second})
	if err != nil {
		return err
	}
	rotated, err := platform.RotateOperationsSecretWithResponse(ctx)
	if err != nil {
		return err
	}
	fmt.Println("platform's own:", replaced.StatusCode(), rotated.StatusCode(), rotated.JSON200.SigningSecret != own.JSON201.SigningSecret)
	return nil
}

// await asks until it is so, for a minute at most.
func await(so func() (bool, error)) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if is, err := so(); is || err != nil {
			return err
		}
	}
	return errors.New("waited for a minute in vain")
}

func connect(header, key string) (*client.ClientWithResponses, error) {
	return client.NewClientWithResponses(os.Getenv("RECAPITO_URL"),
		client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set(header, key)
			return nil
		}))
}
