package command

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/gen/client"
)

type attemptsCmd struct {
	Outcome     string `enum:",ACKNOWLEDGED,FAILED" default:"" placeholder:"OUTCOME" help:"Only those that ended so: ACKNOWLEDGED or FAILED."`
	StatusClass string `placeholder:"CLASS" help:"Only those that were answered with such a status: 2XX to 5XX; NONE: with none."`
	MessageID   string `name:"message-id" placeholder:"ID" help:"Only of this message."`
	From        moment `placeholder:"TIME" help:"Only from this time on: 2026-11-20T10:30:00Z, 2026-11-20, or how long ago, such as 90m. By when it began."`
	To          moment `placeholder:"TIME" help:"Only before this time."`
	Limit       int    `default:"20" placeholder:"N" help:"At most so many; 0: all. Default: ${default}."`

	serverFlags
	outputFlags
}

// Help is shown by attempts --help.
func (attemptsCmd) Help() string {
	return `Lists every POST to the account's endpoint, the newest first. In a pipe, each attempt is
a JSON object on a line, as the API has it:

  recapito attempts --outcome FAILED --from 1h --limit 0 | jq -r .error`
}

// Validate is called by the parser.
func (c *attemptsCmd) Validate() error {
	if c.Limit < 0 {
		return errors.New("--limit: must not be negative")
	}
	return c.serverFlags.Validate()
}

// Run lists.
func (c *attemptsCmd) Run(ctx context.Context, std Streams) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	return list(std, &c.outputFlags, attemptTable, func(take func(json.RawMessage) error) (bool, error) { return c.pages(ctx, s, take) })
}

// pages takes attempt after attempt, up to the limit; more: there may be others.
func (c *attemptsCmd) pages(ctx context.Context, s *api.Server, take func(json.RawMessage) error) (more bool, err error) {
	params := &client.ListAttemptsParams{
		Outcome: given(client.AttemptOutcome(c.Outcome)), StatusClass: given(client.StatusClass(c.StatusClass)),
		MessageID: given(c.MessageID), From: c.From.at, To: c.To.at,
	}
	return readPages(c.Limit, take, func(limit int32, cursor *string) (page []json.RawMessage, next *string, err error) {
		params.Limit, params.Cursor = &limit, cursor
		r, err := s.ListAttemptsWithResponse(ctx, params)
		switch {
		case err != nil:
			return nil, nil, s.Failed(err)
		case r.JSON200 == nil:
			return nil, nil, s.Refused(r.HTTPResponse, r.Body)
		}
		var all struct{ Attempts []json.RawMessage } // with members that this client does not know
		err = json.Unmarshal(r.Body, &all)
		return all.Attempts, r.JSON200.NextCursor, err
	})
}

// attemptTable lists attempts for people.
func attemptTable(out io.Writer, list []client.DeliveryAttempt, now time.Time) error {
	screen, rows := terminal.NewScreen(out), make([][]terminal.Cell, len(list))
	clock := clockFor(now, list, func(a *client.DeliveryAttempt) time.Time { return a.At })
	for i, a := range list {
		rows[i] = []terminal.Cell{
			{Text: a.At.Local().Format(clock), Paint: screen.Faint}, {Text: a.EventID}, {Text: strconv.Itoa(int(a.Number))},
			{Text: terminal.Brief(time.Duration(a.DurationMs) * time.Millisecond)},
			outcomeOf(screen, a.StatusCode, a.Error, a.Detail, a.Probe), {Text: a.MessageID},
		}
	}
	return screen.Table([]terminal.Heading{
		{Name: "AT"}, {Name: "EVENT", Least: 12}, {Name: "#"}, {Name: "TOOK"}, {Name: "OUTCOME", Least: 18}, {Name: "MESSAGE", Least: 7},
	}, rows)
}
