package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

const webhookPath = "/webhooks/delivery-status"

// secretOverlap is how long an old secret signs beside the new one.
const secretOverlap = 24 * time.Hour

var (
	errNoWebhook     = &refusal{status: http.StatusNotFound, code: gen.ProblemCodeWEBHOOKNOTFOUND, detail: "The account has no webhook."}
	errWebhookExists = &refusal{
		status: http.StatusConflict, code: gen.ProblemCodeWEBHOOKEXISTS,
		detail: "The account has a webhook already. Use PUT to change its callback URL.",
	}
)

func (s *server) GetWebhook(ctx context.Context, _ gen.GetWebhookRequestObject) (gen.GetWebhookResponseObject, error) {
	w, err := s.Store.Webhook(ctx, accountOf(ctx))
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoWebhook)
	}
	return gen.GetWebhook200JSONResponse(showWebhook(w, s.Now())), nil
}

func (s *server) CreateWebhook(ctx context.Context, r gen.CreateWebhookRequestObject) (gen.CreateWebhookResponseObject, error) {
	w, err := s.register(ctx, accountOf(ctx), r.Body.CallbackURL)
	if err != nil {
		// The account was erased after the key was looked up, so the key is not
		// valid any more.
		err = when(err, store.ErrNotFound, errNoAPIKey)
		return nil, when(err, store.ErrConflict, errWebhookExists)
	}
	return gen.CreateWebhook201JSONResponse{
		Body:    showSecret(w, w.CreatedAt),
		Headers: gen.CreateWebhook201ResponseHeaders{Location: s.BasePath + webhookPath},
	}, nil
}

// register makes a webhook with a new secret.
func (s *server) register(ctx context.Context, account, callbackURL string) (store.Webhook, error) {
	now := s.Now()
	noteHost(ctx, callbackURL)
	return s.Store.CreateWebhook(ctx, store.Webhook{
		AccountID: account, ID: store.NewID("wh_"), CallbackURL: callbackURL,
		Status: store.Active, Secret: store.NewSecret(), Version: 1, CreatedAt: now, UpdatedAt: now,
	})
}

func (s *server) ReplaceWebhook(ctx context.Context, r gen.ReplaceWebhookRequestObject) (gen.ReplaceWebhookResponseObject, error) {
	now := s.Now()
	noteHost(ctx, r.Body.CallbackURL)
	w, err := s.Store.ReplaceCallbackURL(ctx, accountOf(ctx), r.Body.CallbackURL, now)
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoWebhook)
	}
	return gen.ReplaceWebhook200JSONResponse(showWebhook(w, now)), nil
}

func (s *server) DeleteWebhook(ctx context.Context, _ gen.DeleteWebhookRequestObject) (gen.DeleteWebhookResponseObject, error) {
	if err := s.Store.DeleteWebhook(ctx, accountOf(ctx), s.Now()); err != nil {
		return nil, when(err, store.ErrNotFound, errNoWebhook)
	}
	return gen.DeleteWebhook204Response{}, nil
}

func (s *server) RotateSigningSecret(ctx context.Context, _ gen.RotateSigningSecretRequestObject) (gen.RotateSigningSecretResponseObject, error) {
	w, err := s.rotate(ctx, accountOf(ctx))
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoWebhook)
	}
	return gen.RotateSigningSecret200JSONResponse(w), nil
}

// rotate makes a new secret, if there are not too many old ones.
func (s *server) rotate(ctx context.Context, account string) (gen.WebhookWithSecret, error) {
	now := s.Now()
	w, err := s.Store.RotateSecret(ctx, account, store.NewSecret(), now.Add(secretOverlap), now)
	if errors.Is(err, store.ErrTooMany) {
		err = s.tooManySecrets(ctx, account, now)
	}
	return showSecret(w, now), err
}

// tooManySecrets says when the first of the old secrets ends.
func (s *server) tooManySecrets(ctx context.Context, account string, now time.Time) error {
	w, err := s.Store.Webhook(ctx, account)
	if err != nil {
		return err
	}
	first := now.Add(time.Second)
	if n := len(w.OldSecrets); n > 0 {
		first = w.OldSecrets[n-1].Until
	}
	return &refusal{
		status: http.StatusTooManyRequests, code: gen.ProblemCodeTOOMANYSECRETS,
		detail: fmt.Sprintf("%d old secrets sign already. Rotate again after Retry-After, when the oldest ends.", store.MaxOldSecrets),
		header: map[string]string{"Retry-After": strconv.Itoa(max(1, int(math.Ceil(first.Sub(now).Seconds()))))},
	}
}

func showWebhook(w store.Webhook, now time.Time) gen.Webhook {
	return gen.Webhook{
		ID: w.ID, CallbackURL: w.CallbackURL, Status: gen.WebhookStatus(w.Status),
		CreatedAt: showTime(w.CreatedAt), UpdatedAt: showTime(w.UpdatedAt), Secrets: showSecrets(w, now),
	}
}

// showSecrets shows when those that sign end.
func showSecrets(w store.Webhook, now time.Time) []gen.SecretInUse {
	secrets := []gen.SecretInUse{{}}
	for _, old := range w.OldSecrets {
		if now.Before(old.Until) {
			secrets = append(secrets, gen.SecretInUse{Until: showOptionalTime(old.Until)})
		}
	}
	return secrets
}

func showSecret(w store.Webhook, now time.Time) gen.WebhookWithSecret {
	return gen.WebhookWithSecret{
		ID: w.ID, CallbackURL: w.CallbackURL, Status: gen.WebhookStatus(w.Status),
		CreatedAt: showTime(w.CreatedAt), UpdatedAt: showTime(w.UpdatedAt), Secrets: showSecrets(w, now),
		SigningSecret: store.SecretText(w.Secret),
	}
}

func showTime(t time.Time) gen.Time { return gen.Time(t) }

// showOptionalTime shows the zero time as null.
func showOptionalTime(t time.Time) *gen.Time {
	if t.IsZero() {
		return nil
	}
	shown := showTime(t)
	return &shown
}

// GetCallbackSources tells what the operator states, whether there is a webhook or not.
func (s *server) GetCallbackSources(context.Context, gen.GetCallbackSourcesRequestObject) (gen.GetCallbackSourcesResponseObject, error) {
	networks := make([]string, len(s.CallbackSources))
	for i, n := range s.CallbackSources {
		networks[i] = n.String()
	}
	return gen.GetCallbackSources200JSONResponse{Stated: len(networks) > 0, Networks: networks}, nil
}
