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

type accountListCmd struct {
	State    []string `enum:"HEALTHY,SLOWED,FAILING,PROBING,SUSPENDED,IDLE" env:"RECAPITO_ACCOUNT_STATE" placeholder:"STATE" help:"Only those whose endpoint is in one of these states: HEALTHY, SLOWED, FAILING, PROBING, SUSPENDED, IDLE."`
	IDPrefix string   `name:"id-prefix" placeholder:"TEXT" help:"Only those whose id begins so."`
	Limit    int      `default:"20" placeholder:"N" help:"At most so many; 0: all. Default: ${default}."`

	Server string `default:"http://127.0.0.1:8080" placeholder:"URL" help:"The running server, its base path included. Default: ${default}."`
	platformKeyFlags
	outputFlags
}

// Help is shown by account list --help.
func (accountListCmd) Help() string {
	return `Lists the accounts of a running server, the worst first: those with the most deliveries
that wait, times how long they have. In a pipe, each account is a JSON object on a line, as
the API has it:

  recapito account list --state FAILING,PROBING,SUSPENDED --limit 0 | jq -r .id`
}

// Validate is called by the parser.
func (c *accountListCmd) Validate() error {
	if c.Limit < 0 {
		return errors.New("--limit: must not be negative")
	}
	return checkServer(c.Server)
}

// Run lists.
func (c *accountListCmd) Run(ctx context.Context, std Streams) error {
	key, err := c.platformKey()
	if err != nil {
		return err
	}
	s, err := api.ForPlatform(c.Server, key)
	if err != nil {
		return err
	}
	return list(std, &c.outputFlags, accountTable, func(take func(json.RawMessage) error) (bool, error) { return c.pages(ctx, s, take) })
}

// pages takes account after account, up to the limit; more: there may be others.
func (c *accountListCmd) pages(ctx context.Context, s *api.Server, take func(json.RawMessage) error) (more bool, err error) {
	params := &client.ListAccountsParams{IDPrefix: given(c.IDPrefix)}
	for _, state := range c.State {
		states := append(api.OrNone(params.State), client.EndpointState(state))
		params.State = &states
	}
	return readPages(c.Limit, take, func(limit int32, cursor *string) (page []json.RawMessage, next *string, err error) {
		params.Limit, params.Cursor = &limit, cursor
		r, err := s.ListAccountsWithResponse(ctx, params)
		switch {
		case err != nil:
			return nil, nil, s.Failed(err)
		case r.JSON200 == nil:
			return nil, nil, s.Refused(r.HTTPResponse, r.Body)
		}
		var all struct{ Accounts []json.RawMessage } // with members that this client does not know
		err = json.Unmarshal(r.Body, &all)
		return all.Accounts, r.JSON200.NextCursor, err
	})
}

// accountTable lists accounts for people.
func accountTable(out io.Writer, list []client.AccountHealth, now time.Time) error {
	screen, rows := terminal.NewScreen(out), make([][]terminal.Cell, len(list))
	ago := func(at *time.Time) string {
		if at == nil {
			return ""
		}
		return terminal.Rough(max(0, now.Sub(*at)))
	}
	for i, a := range list {
		rows[i] = []terminal.Cell{
			{Text: a.ID}, stateCell(screen, a.State), {Text: ago(a.Since), Paint: screen.Faint},
			{Text: strconv.FormatInt(a.Pending, 10)}, {Text: ago(a.OldestPendingAt)}, {Text: strconv.FormatInt(a.ConsecutiveFailures, 10)},
			{},
		}
		if l := a.LastFailure; l != nil {
			rows[i][6] = outcomeOf(screen, l.StatusCode, &l.Error, l.Detail, false)
		}
	}
	return screen.Table([]terminal.Heading{
		{Name: "ACCOUNT", Least: 12}, {Name: "STATE"}, {Name: "FOR"}, {Name: "PENDING"}, {Name: "WAITS"}, {Name: "FAILED"}, {Name: "LAST FAILURE", Least: 12},
	}, rows)
}

// stateCell is the state of an endpoint; nil: there is no webhook.
func stateCell(s terminal.Screen, state *client.EndpointState) terminal.Cell {
	if state == nil {
		return terminal.Cell{Text: "no webhook", Paint: s.Faint}
	}
	c := terminal.Cell{Text: string(*state)}
	switch *state {
	case client.EndpointStateHEALTHY:
		c.Paint = s.Good
	case client.EndpointStateFAILING, client.EndpointStatePROBING, client.EndpointStateSUSPENDED:
		c.Paint = s.Bad
	}
	return c
}
