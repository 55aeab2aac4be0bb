package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/gen/client"
)

type webhookCmd struct {
	Show    webhookShowCmd    `cmd:"" default:"withargs" help:"Show the callback URL, its status and the secrets that sign. The default."`
	Set     webhookSetCmd     `cmd:"" help:"Set the callback URL. The first time, the signing secret is shown, this once."`
	Rotate  webhookRotateCmd  `cmd:"" help:"Make a new signing secret and show it, this once. The old one signs beside it for 24 h."`
	Sources webhookSourcesCmd `cmd:"" help:"Show the networks that callbacks come from, to open your firewall to."`
	Delete  webhookDeleteCmd  `cmd:"" help:"Remove the webhook, and cancel what is PENDING."`
}

// errNoWebhook says what to do.
var errNoWebhook = errors.New("the account has no webhook: set one with recapito webhook set https://…")

// refusedWebhook makes an error of an answer about the webhook.
func refusedWebhook(s *api.Server, r *http.Response, body []byte) error {
	if api.CodeOf(body) == client.ProblemCodeWEBHOOKNOTFOUND {
		return errNoWebhook
	}
	return s.Refused(r, body)
}

type webhookShowCmd struct {
	serverFlags
	outputFlags
}

// Run never shows a secret: the server does not.
func (c *webhookShowCmd) Run(ctx context.Context, std Streams) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	r, err := s.GetWebhookWithResponse(ctx)
	switch {
	case err != nil:
		return s.Failed(err)
	case r.JSON200 == nil:
		return refusedWebhook(s, r.HTTPResponse, r.Body)
	}
	return c.print(std, r.Body, r.JSON200, "")
}

// print prints an answer; secret is empty where none is shown.
func (f *outputFlags) print(std Streams, answer []byte, w *client.Webhook, secret string) error {
	if f.forPrograms(std) {
		return asGiven(std, answer)
	}
	fields := [][2]string{{"callback URL", w.CallbackURL}, {"status", webhookStatus(w.Status)}}
	if secret != "" {
		fields = append(fields, [2]string{"signing secret", secret}, [2]string{"", "shown only now: keep it where your endpoint finds it"})
	}
	fields = append(fields, [2]string{"secrets", secretsInWords(w.Secrets)}, [2]string{"id", w.ID},
		[2]string{"created", local(w.CreatedAt)}, [2]string{"updated", local(w.UpdatedAt)})
	return terminal.Fields(std.Out, fields)
}

func webhookStatus(s client.WebhookStatus) string {
	if s == client.WebhookStatusSUSPENDED {
		return "SUSPENDED: your endpoint answered 410; set the URL again when it is repaired"
	}
	return string(s)
}

// secretsInWords says how many sign, and until when.
func secretsInWords(secrets []client.SecretInUse) string {
	var ends []string
	for _, s := range secrets {
		if s.Until != nil {
			ends = append(ends, local(*s.Until))
		}
	}
	if len(ends) == 0 {
		return "one signs"
	}
	return fmt.Sprintf("%d sign; old ones until %s", len(secrets), strings.Join(ends, ", "))
}

func local(at time.Time) string { return at.Local().Format(time.DateTime) }

type webhookSetCmd struct {
	URL  string `arg:"" help:"Where callbacks go: https, a public host."`
	Test bool   `help:"Then send a signed test event, and say what is wrong with the endpoint, as test-event does."`
	serverFlags
	outputFlags
}

// Run sets the URL, and then tests it if it is to.
func (c *webhookSetCmd) Run(ctx context.Context, std Streams) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	if err := c.set(ctx, s, std); err != nil || !c.Test {
		return err
	}
	return sendTestEvent(ctx, s, "", std, c.outputFlags)
}

// set replaces the URL, or makes the webhook if there is none.
func (c *webhookSetCmd) set(ctx context.Context, s *api.Server, std Streams) error {
	input := client.WebhookInput{CallbackURL: c.URL}
	put, err := s.ReplaceWebhookWithResponse(ctx, input)
	switch {
	case err != nil:
		return s.Failed(err)
	case put.JSON200 != nil:
		return c.print(std, put.Body, put.JSON200, "")
	case api.CodeOf(put.Body) != client.ProblemCodeWEBHOOKNOTFOUND:
		return refusedURL(s, put.HTTPResponse, put.Body)
	}
	made, err := s.CreateWebhookWithResponse(ctx, input)
	switch {
	case err != nil:
		return s.Failed(err)
	case made.JSON201 == nil:
		return refusedURL(s, made.HTTPResponse, made.Body)
	}
	return c.print(std, made.Body, withoutSecret(made.JSON201), made.JSON201.SigningSecret)
}

// refusedURL says what is wrong with the URL, if that is it.
func refusedURL(s *api.Server, r *http.Response, body []byte) error {
	problem := api.ProblemOf(body)
	if problem == nil || problem.Code != client.ProblemCodeBODYINVALID || len(api.OrNone(problem.Errors)) == 0 {
		return s.Refused(r, body)
	}
	return fmt.Errorf("the server refuses the URL: %s", (*problem.Errors)[0].Detail)
}

func withoutSecret(w *client.WebhookWithSecret) *client.Webhook {
	return &client.Webhook{CallbackURL: w.CallbackURL, CreatedAt: w.CreatedAt, ID: w.ID, Secrets: w.Secrets, Status: w.Status, UpdatedAt: w.UpdatedAt}
}

type webhookRotateCmd struct {
	serverFlags
	outputFlags
}

// Run prints the new secret.
func (c *webhookRotateCmd) Run(ctx context.Context, std Streams) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	r, err := s.RotateSigningSecretWithResponse(ctx)
	switch {
	case err != nil:
		return s.Failed(err)
	case r.JSON200 == nil:
		return refusedWebhook(s, r.HTTPResponse, r.Body)
	}
	return c.print(std, r.Body, withoutSecret(r.JSON200), r.JSON200.SigningSecret)
}

type webhookSourcesCmd struct {
	serverFlags
	outputFlags
}

// Run prints one network a line.
func (c *webhookSourcesCmd) Run(ctx context.Context, std Streams) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	r, err := s.GetCallbackSourcesWithResponse(ctx)
	switch {
	case err != nil:
		return s.Failed(err)
	case r.JSON200 == nil:
		return s.Refused(r.HTTPResponse, r.Body)
	case c.forPrograms(std):
		return asGiven(std, r.Body)
	}
	text := "the operator has not stated where callbacks come from: ask the operator before you filter by address"
	if r.JSON200.Stated {
		text = strings.Join(r.JSON200.Networks, "\n")
	}
	_, err = fmt.Fprintln(std.Out, text)
	return err
}

type webhookDeleteCmd struct {
	serverFlags
	Yes bool `help:"Do not ask."`
}

// Run asks first: what is PENDING is lost.
func (c *webhookDeleteCmd) Run(ctx context.Context, std Streams) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	if !c.Yes {
		if err := confirmDelete(ctx, s, std); err != nil {
			return err
		}
	}
	r, err := s.DeleteWebhookWithResponse(ctx)
	switch {
	case err != nil:
		return s.Failed(err)
	case r.StatusCode() != http.StatusNoContent:
		return refusedWebhook(s, r.HTTPResponse, r.Body)
	}
	_, err = fmt.Fprintln(std.Out, "the webhook is removed, and what was PENDING is CANCELLED")
	return err
}

func confirmDelete(ctx context.Context, s *api.Server, std Streams) error {
	if !atTerminal(std) {
		return errors.New("what is PENDING would be cancelled: give --yes")
	}
	r, err := s.GetWebhookWithResponse(ctx)
	switch {
	case err != nil:
		return s.Failed(err)
	case r.JSON200 == nil:
		return refusedWebhook(s, r.HTTPResponse, r.Body)
	}
	answer, err := ask(std, bufio.NewReader(std.In), fmt.Sprintf("Remove the webhook to %s, and cancel what is PENDING? Type yes", r.JSON200.CallbackURL), "no")
	if err != nil {
		return err
	}
	if answer != "yes" {
		return errors.New("nothing was removed")
	}
	return nil
}
