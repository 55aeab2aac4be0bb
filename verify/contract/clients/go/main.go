// Command go walks through the life of a webhook with the generated Go client
// and prints what it sees: the scenario of docs/contract.md.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/recapito/recapito/gen/client"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	first, second := os.Getenv("RECAPITO_CALLBACK")+"/first", os.Getenv("RECAPITO_CALLBACK")+"/second"
	account, err := connect(os.Getenv("RECAPITO_API_KEY"))
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
	fmt.Println("attempts:", attempts.StatusCode(), len(attempts.JSON200.Attempts), attempt.EventID, *attempt.StatusCode)

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

	deleted, err := account.DeleteWebhookWithResponse(ctx)
	if err != nil {
		return err
	}
	gone, err := account.GetWebhookWithResponse(ctx)
	if err != nil {
		return err
	}
	fmt.Println("delete:", deleted.StatusCode(), gone.StatusCode(), gone.ApplicationProblemJSON404.Title)

	stranger, err := connect("wrong")
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

func connect(key string) (*client.ClientWithResponses, error) {
	return client.NewClientWithResponses(os.Getenv("RECAPITO_URL"),
		client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("X-API-Key", key)
			return nil
		}))
}
