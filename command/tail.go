package command

import (
	"context"
	"fmt"
	"log"
	"net/url"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/command/tail"
	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/dispatcher/signature"
	"github.com/recapito/recapito/gen/client"
)

type tailCmd struct {
	Forward string `placeholder:"URL" help:"POST each event also to a program on this machine, such as http://localhost:3000/hook, as its callback is."`
	All     bool   `help:"Begin with the oldest event that is kept, not with the next one."`
	NoWait  bool   `help:"End where there is no event yet."`

	serverFlags
	outputFlags
}

// Help is shown by tail --help.
func (tailCmd) Help() string {
	return `Shows the account's events in order as the platform hands them in, whatever becomes of
their callbacks. In a pipe, each is a JSON object on a line, as the API has it.

With --forward your own program gets each event as a callback, without a tunnel or a
public address: the same body and headers, signed with a secret for development, which
stays the same. The answer is shown. An event is forwarded once, whatever the answer.
Ctrl-C ends it with a summary.`
}

// Validate is called by the parser.
func (c *tailCmd) Validate() error {
	if u, err := url.Parse(c.Forward); c.Forward != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return fmt.Errorf("--forward %q: must be a URL such as http://localhost:3000/hook", c.Forward)
	}
	return c.serverFlags.Validate()
}

// Run shows until ctx ends.
func (c *tailCmd) Run(ctx context.Context, std Streams) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	forwarder, err := c.forwarder(std)
	if err != nil {
		return err
	}
	if err := hintAtWebhook(ctx, s, std); err != nil {
		return err
	}
	screen, out := terminal.NewScreen(std.Out), log.New(std.Out, "", 0)
	var forwarded, acknowledged int
	err = tail.Follow(ctx, s, tail.Config{
		All: c.All, NoWait: c.NoWait,
		Ready: func() {
			if !c.NoWait {
				note(std, "Events of %s are shown as they come.", s.URL)
			}
		},
		Lost: func(why error) { note(std, "%v; trying again", why) },
		Take: func(e tail.Event) error {
			var answer *tail.Answer
			if forwarder != nil && e.Payload != nil {
				a := forwarder.Forward(ctx, e)
				if ctx.Err() != nil {
					return nil // Ctrl-C cut it short
				}
				answer = &a
				forwarded++
				if a.Acknowledged() {
					acknowledged++
				}
			}
			if !c.forPrograms(std) {
				return out.Output(0, tail.Line(screen, e, answer))
			}
			text, err := tail.Record(e, answer)
			if err != nil {
				return err
			}
			return out.Output(0, string(text))
		},
	})
	if forwarder != nil {
		note(std, "forwarded %d, acknowledged %d", forwarded, acknowledged)
	}
	return err
}

// forwarder is nil without --forward.
func (c *tailCmd) forwarder(std Streams) (*tail.Forwarder, error) {
	if c.Forward == "" {
		return nil, nil
	}
	file, err := api.ConfigFile("forward-secret")
	if err != nil {
		return nil, err
	}
	text, err := tail.KeepSecret(file)
	if err != nil {
		return nil, fmt.Errorf("the secret for development: %w", err)
	}
	secret, err := signature.ParseSecret(text)
	if err != nil {
		return nil, err
	}
	note(std, "Forwarding to %s, signed with the secret that %s keeps:\n\n    %s\n", c.Forward, file, text)
	return tail.NewForwarder(c.Forward, "Recapito/"+version(), secret), nil
}

// hintAtWebhook says why no event may come.
func hintAtWebhook(ctx context.Context, s *api.Server, std Streams) error {
	r, err := s.GetWebhookWithResponse(ctx)
	switch {
	case err != nil:
		return s.Failed(err)
	case api.CodeOf(r.Body) == client.ProblemCodeWEBHOOKNOTFOUND:
		note(std, "The account has no webhook, and its events are skipped until it has: recapito webhook set https://…")
	case r.JSON200 == nil:
		return s.Refused(r.HTTPResponse, r.Body)
	}
	return nil
}
