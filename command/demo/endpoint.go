package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/command/feed"
	"github.com/recapito/recapito/command/receiver"
	"github.com/recapito/recapito/gen/client"
)

// endpoint is one account with its callback URL, the events that it is to get
// and the callbacks that it got.
type endpoint struct {
	account string
	key     string // its API key
	lines   feed.Batch
	events  []client.EventInput // of lines
	fails   int                 // answers 503 to so many callbacks at first

	mu       sync.Mutex
	secret   receiver.Secret
	got      []receiver.Callback
	missing  map[string]bool // ids of events not acknowledged yet
	complete chan struct{}   // closed when none is missing
}

func newEndpoint(account string, lines feed.Batch, fails int) (*endpoint, error) {
	e := &endpoint{account: account, lines: lines, fails: fails, missing: make(map[string]bool), complete: make(chan struct{})}
	for _, l := range lines {
		var event client.EventInput
		if err := json.Unmarshal(l.Text, &event); err != nil {
			return nil, fmt.Errorf("line %d: %w", l.Number, err)
		}
		e.events = append(e.events, event)
		e.missing[event.ID] = true
	}
	return e, nil
}

// ofFirstMessages keeps the events of the first n messages.
func ofFirstMessages(lines feed.Batch, n int) feed.Batch {
	var messages []string
	return slices.DeleteFunc(slices.Clone(lines), func(l feed.Line) bool {
		var e client.EventInput
		if json.Unmarshal(l.Text, &e) != nil {
			return true
		}
		if !slices.Contains(messages, e.MessageID) {
			messages = append(messages, e.MessageID)
		}
		return slices.Index(messages, e.MessageID) >= n
	})
}

// secrets is the one that the registration showed.
func (e *endpoint) secrets() ([][]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.secret == nil {
		return nil, receiver.ErrUnverified
	}
	return [][]byte{e.secret}, nil
}

func (e *endpoint) answer(nth int) int {
	if nth <= e.fails {
		return http.StatusServiceUnavailable
	}
	return http.StatusNoContent
}

// saw keeps a callback and signals when the last missing one arrived.
func (e *endpoint) saw(c receiver.Callback) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.got = append(e.got, c)
	if c.Status/100 == 2 && e.missing[c.EventID] {
		delete(e.missing, c.EventID)
		if len(e.missing) == 0 {
			close(e.complete)
		}
	}
}

// verdict is an error if a promise was broken.
func (e *endpoint) verdict() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var err error
	if n := len(e.missing); n > 0 {
		err = fmt.Errorf("%s: %d of %d events did not arrive", e.account, n, len(e.events))
	}
	if s := e.statistics(); s.verified < len(e.got) || s.inOrder < s.messages || s.duplicates > 0 {
		err = errors.Join(err, fmt.Errorf("%s: %d of %d callbacks verified, %d of %d messages in order, %d duplicates",
			e.account, s.verified, len(e.got), s.inOrder, s.messages, s.duplicates))
	}
	return err
}

// register provisions the account, as the platform, and registers the
// endpoint's URL, as the account.
func (d *demo) register(ctx context.Context, e *endpoint) error {
	server, err := client.NewClientWithResponses(d.service.api)
	if err != nil {
		return err
	}
	platform := api.Platform(d.service.platformKey)
	account, err := server.PutAccountWithResponse(ctx, e.account, platform)
	switch {
	case err != nil:
		return err
	case account.JSON200 != nil:
		return fmt.Errorf("the store has an account %s already: give another --store", e.account)
	case account.JSON201 == nil:
		return api.Answered(account.HTTPResponse, account.Body)
	}
	d.accounts = append(d.accounts, e.account)
	d.step("PUT  /accounts/%s  → 201", e.account)

	key, err := server.CreateAPIKeyWithResponse(ctx, e.account, client.APIKeyInput{}, platform)
	if err != nil {
		return err
	}
	if key.JSON201 == nil {
		return api.Answered(key.HTTPResponse, key.Body)
	}
	d.step("POST /accounts/%s/api-keys  → 201  %s", e.account, key.JSON201.ID)
	e.key = api.OrEmpty(key.JSON201.Key)
	return d.registerURL(ctx, server, e, e.key)
}

func (d *demo) registerURL(ctx context.Context, server *client.ClientWithResponses, e *endpoint, key string) error {
	d.mux.Handle("/"+e.account, receiver.New(receiver.Config{Secrets: e.secrets, Answer: e.answer, Saw: func(c receiver.Callback) {
		d.step("%s", c.Line(d.screen, len(indent)))
		e.saw(c)
	}}))
	url := d.url + "/" + e.account
	webhook, err := server.CreateWebhookWithResponse(ctx, client.WebhookInput{CallbackURL: url}, api.Account(key))
	if err != nil {
		return err
	}
	if webhook.JSON201 == nil {
		return api.Answered(webhook.HTTPResponse, webhook.Body)
	}
	d.step("POST /webhooks/delivery-status  → 201  %s", webhook.JSON201.ID)
	d.step("  callback URL: %s", url)
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.secret.UnmarshalText([]byte(webhook.JSON201.SigningSecret))
}

// feed hands the events in and waits until each has been acknowledged.
func (d *demo) feed(ctx context.Context, e *endpoint) error {
	post, err := feed.NewPoster(d.service.api, d.service.platformKey, demoTimeout)
	if err != nil {
		return err
	}
	result, err := post.Send(ctx, e.lines)
	if err != nil {
		return err
	}
	if int(result.Accepted) != len(e.events) {
		return fmt.Errorf("of %d events %d were accepted", len(e.events), result.Accepted)
	}
	select {
	case <-e.complete:
		return nil
	case <-d.service.exited:
		return errors.New("recapito serve ended")
	case <-ctx.Done():
		return e.verdict()
	}
}
