package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/gen/client"
)

type deliveriesCmd struct {
	EventID string `arg:"" optional:"" help:"Show all about this event: why it has not arrived, its payload and every attempt."`

	filterFlags

	Order string `enum:",asc,desc" default:"" placeholder:"ORDER" help:"desc: the newest first; asc: the oldest first. Default: desc."`
	Limit int    `default:"20" placeholder:"N" help:"At most so many; 0: all. Default: ${default}."`

	serverFlags
	outputFlags
}

// filterFlags say which deliveries.
type filterFlags struct {
	State             []string `enum:"PENDING,DELIVERED,FAILED,CANCELLED" placeholder:"STATE" help:"Only in one of these states: PENDING, DELIVERED, FAILED, CANCELLED."`
	MessageID         string   `name:"message-id" placeholder:"ID" help:"Only of this message."`
	CustomerMessageID string   `name:"customer-message-id" placeholder:"ID" help:"Only of the message with this id of your own."`
	Channel           string   `placeholder:"CHANNEL" help:"Only on this channel: SMS, RCS or WHATSAPP."`
	Error             string   `placeholder:"ERROR" help:"Only those whose last attempt failed so, such as TIMEOUT."`
	LastStatus        int32    `placeholder:"CODE" help:"Only those whose last attempt was answered with this HTTP status."`

	From         moment `placeholder:"TIME" help:"Only from this time on: 2026-11-20T10:30:00Z, 2026-11-20, or how long ago, such as 90m. By acceptance."`
	To           moment `placeholder:"TIME" help:"Only before this time."`
	FinishedFrom moment `placeholder:"TIME" help:"Only finished at this time or later."`
	FinishedTo   moment `placeholder:"TIME" help:"Only finished before this time."`
	FailedSince  moment `placeholder:"TIME" help:"Only with an attempt that failed, begun at this time or later, whatever came after it."`
}

// Help is shown by deliveries --help.
func (deliveriesCmd) Help() string {
	return `Lists what was sent, or tells all about one event. What is filtered by several flags
passes them all. In a pipe, each delivery is a JSON object on a line, as the API has it:

  recapito deliveries --state FAILED --from 1h --limit 0 | jq -r .eventId`
}

// Validate is called by the parser.
func (c *deliveriesCmd) Validate() error {
	if c.Limit < 0 {
		return errors.New("--limit: must not be negative")
	}
	return c.serverFlags.Validate()
}

// moment is a time, or how long ago it was.
type moment struct{ at *time.Time }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *moment) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil // an empty environment variable
	}
	at, err := time.Time{}, error(nil)
	if ago, notAgo := time.ParseDuration(string(text)); notAgo == nil {
		at = time.Now().Add(-ago)
	} else if at, err = time.Parse(time.RFC3339, string(text)); err != nil {
		at, err = time.ParseInLocation(time.DateOnly, string(text), time.Local)
	}
	if err != nil {
		return errors.New("must be a time such as 2026-11-20T10:30:00Z or 2026-11-20, or how long ago, such as 90m")
	}
	m.at = &at
	return nil
}

// Run lists, or shows one.
func (c *deliveriesCmd) Run(ctx context.Context, std Streams) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	if c.EventID != "" {
		return c.one(ctx, std, s)
	}
	return list(std, &c.outputFlags, deliveryTable, func(take func(json.RawMessage) error) (bool, error) { return c.pages(ctx, s, take) })
}

// list prints what pages hands on: as it is for programs, else as a table. pages
// reports whether there may be more.
func list[T any](std Streams, out *outputFlags, table func(io.Writer, []T, time.Time) error, pages func(take func(json.RawMessage) error) (more bool, err error)) error {
	if out.forPrograms(std) {
		_, err := pages(func(text json.RawMessage) error { return asGiven(std, text) })
		return err
	}
	var all []T
	more, err := pages(func(text json.RawMessage) error {
		var one T
		all = append(all, one)
		return json.Unmarshal(text, &all[len(all)-1])
	})
	if err != nil {
		return err
	}
	if len(all) == 0 {
		note(std, "There are none.")
		return nil
	}
	if err := table(std.Out, all, time.Now()); err != nil {
		return err
	}
	if more {
		note(std, "There are more: --limit 0 lists all.")
	}
	return nil
}

// pages takes delivery after delivery, up to the limit; more: there may be others.
func (c *deliveriesCmd) pages(ctx context.Context, s *api.Server, take func(json.RawMessage) error) (more bool, err error) {
	params := c.params()
	return readPages(c.Limit, take, func(limit int32, cursor *string) (page []json.RawMessage, next *string, err error) {
		params.Limit, params.Cursor = &limit, cursor
		r, err := s.ListDeliveriesWithResponse(ctx, params)
		switch {
		case err != nil:
			return nil, nil, s.Failed(err)
		case r.JSON200 == nil:
			return nil, nil, s.Refused(r.HTTPResponse, r.Body)
		}
		var all struct{ Deliveries []json.RawMessage } // with members that this client does not know
		err = json.Unmarshal(r.Body, &all)
		return all.Deliveries, r.JSON200.NextCursor, err
	})
}

func (c *deliveriesCmd) params() *client.ListDeliveriesParams {
	p := &client.ListDeliveriesParams{
		MessageID: given(c.MessageID), CustomerMessageID: given(c.CustomerMessageID), Channel: given(client.Channel(c.Channel)),
		Error: given(client.AttemptError(c.Error)), Status: given(c.LastStatus), Order: given(client.Order(c.Order)),
		From: c.From.at, To: c.To.at, FinishedFrom: c.FinishedFrom.at, FinishedTo: c.FinishedTo.at, FailedSince: c.FailedSince.at,
	}
	for _, s := range c.State {
		states := append(api.OrNone(p.State), client.DeliveryState(s))
		p.State = &states
	}
	return p
}

// given is nil for what was not given.
func given[T comparable](v T) *T {
	var none T
	if v == none {
		return nil
	}
	return &v
}

// one shows a delivery.
func (c *deliveriesCmd) one(ctx context.Context, std Streams, s *api.Server) error {
	r, err := s.GetDeliveryWithResponse(ctx, c.EventID)
	switch {
	case err != nil:
		return s.Failed(err)
	case api.CodeOf(r.Body) == client.ProblemCodeDELIVERYNOTFOUND:
		return fmt.Errorf("there is no delivery of event %s: it was never accepted for this account, or is past its retention", c.EventID)
	case r.JSON200 == nil:
		return s.Refused(r.HTTPResponse, r.Body)
	case c.forPrograms(std):
		return asGiven(std, r.Body)
	}
	return deliveryDetail(std.Out, r.JSON200, r.Body, time.Now())
}
