package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/gen/client"
)

type replayCmd struct {
	EventID string `arg:"" optional:"" help:"Send this event again."`

	filterFlags

	Watch  bool `help:"Go on watching the bulk replay that goes on, or show the last one."`
	Stop   bool `help:"Stop the bulk replay that goes on."`
	Detach bool `help:"Begin it, and do not watch."`

	serverFlags
	outputFlags
}

// Help is shown by replay --help.
func (replayCmd) Help() string {
	return `Sends one event again, or all that ended and pass the filters, which are those of
deliveries; without --state, what is FAILED. Each callback has the same webhook-id and
bytes. New events come first.

  recapito replay evt_01KAG7M9S346Q3D25VT4F5V37E
  recapito replay --state FAILED --from 6h --to 2h

The second is a job of the server's: it goes on when this command is interrupted, and when
the server restarts. Watch it again with --watch, end it with --stop.`
}

// Validate is called by the parser.
func (c *replayCmd) Validate() error {
	filters := !reflect.DeepEqual(c.filterFlags, filterFlags{})
	asked := 0
	for _, is := range []bool{c.EventID != "", filters, c.Watch, c.Stop} {
		if is {
			asked++
		}
	}
	switch {
	case asked == 0:
		return errors.New("which? Give an event's id or filters, such as --state FAILED --from 6h")
	case asked > 1:
		return errors.New("an event's id, filters, --watch and --stop are asked for one by one")
	case slices.Contains(c.State, string(client.DeliveryStatePENDING)):
		return errors.New("--state: what is PENDING is attempted anyway")
	case c.Detach && !filters:
		return errors.New("--detach: goes with filters")
	}
	return c.serverFlags.Validate()
}

// Run does what is asked for.
func (c *replayCmd) Run(ctx context.Context, std Streams) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	if c.EventID != "" {
		return c.one(ctx, std, s)
	}
	var r *client.Replay
	if c.Watch || c.Stop {
		r, err = last(ctx, s)
	} else {
		r, err = c.begin(ctx, s)
	}
	if err != nil {
		return err
	}
	switch {
	case c.Stop:
		return c.stop(ctx, std, s, r)
	case c.Detach:
		return c.show(std, r)
	}
	return c.watch(ctx, std, s, r)
}

// one sends one event again.
func (c *replayCmd) one(ctx context.Context, std Streams, s *api.Server) error {
	r, err := s.ReplayDeliveryWithResponse(ctx, c.EventID)
	switch {
	case err != nil:
		return s.Failed(err)
	case r.JSON202 != nil && c.forPrograms(std):
		return asGiven(std, r.Body)
	case r.JSON202 != nil:
		return terminal.Fields(std.Out, [][2]string{{"event", c.EventID}, {"state", string(r.JSON202.State)}, {"next", "recapito deliveries " + c.EventID + " shows what comes of it"}})
	}
	switch api.CodeOf(r.Body) {
	case client.ProblemCodeDELIVERYNOTFOUND:
		return fmt.Errorf("there is no delivery of event %s: it was never accepted for this account, or is past its retention", c.EventID)
	case client.ProblemCodeDELIVERYPENDING:
		return fmt.Errorf("event %s is PENDING: it is attempted until it ends (recapito deliveries %[1]s says why it waits)", c.EventID)
	}
	return refusedReplay(s, r.HTTPResponse, r.Body)
}

// begin begins a bulk replay.
func (c *replayCmd) begin(ctx context.Context, s *api.Server) (*client.Replay, error) {
	r, err := s.StartReplayWithResponse(ctx, c.filters())
	switch {
	case err != nil:
		return nil, s.Failed(err)
	case r.JSON202 == nil:
		return nil, refusedReplay(s, r.HTTPResponse, r.Body)
	}
	return r.JSON202, nil
}

func (c *replayCmd) filters() client.ReplayFilters {
	f := client.ReplayFilters{
		MessageID: given(c.MessageID), CustomerMessageID: given(c.CustomerMessageID), Channel: given(client.ChannelInput(c.Channel)),
		Error: given(client.AttemptErrorInput(c.Error)), Status: given(c.LastStatus),
		From: c.From.at, To: c.To.at, FinishedFrom: c.FinishedFrom.at, FinishedTo: c.FinishedTo.at, FailedSince: c.FailedSince.at,
	}
	for _, s := range c.State {
		states := append(api.OrNone(f.State), client.EndedState(s))
		f.State = &states
	}
	return f
}

func refusedReplay(s *api.Server, r *http.Response, body []byte) error {
	switch api.CodeOf(body) {
	case client.ProblemCodeREPLAYRUNNING:
		return errors.New("a bulk replay goes on: watch it with --watch, or stop it with --stop")
	case client.ProblemCodeWEBHOOKMISSING:
		return errors.New("the account has no webhook: set one with recapito webhook set https://…")
	}
	return s.Refused(r, body)
}

// last is the newest bulk replay, which is the one that goes on if any does.
func last(ctx context.Context, s *api.Server) (*client.Replay, error) {
	r, err := s.ListReplaysWithResponse(ctx)
	switch {
	case err != nil:
		return nil, s.Failed(err)
	case r.JSON200 == nil:
		return nil, s.Refused(r.HTTPResponse, r.Body)
	case len(r.JSON200.Replays) == 0:
		return nil, errors.New("there is no bulk replay")
	}
	return &r.JSON200.Replays[0], nil
}

func (c *replayCmd) stop(ctx context.Context, std Streams, s *api.Server, r *client.Replay) error {
	if r.EndedAt != nil {
		return errors.New("no bulk replay goes on")
	}
	stopped, err := s.StopReplayWithResponse(ctx, r.ID)
	switch {
	case err != nil:
		return s.Failed(err)
	case stopped.JSON200 == nil:
		return s.Refused(stopped.HTTPResponse, stopped.Body)
	}
	return c.show(std, stopped.JSON200)
}

// watchGap is between two looks at a bulk replay. A server that restarts is waited for
// for watchPatience.
const (
	watchGap      = time.Second
	watchPatience = 2 * time.Minute
)

// watch shows its progress until it has ended, and then what came of it.
func (c *replayCmd) watch(ctx context.Context, std Streams, s *api.Server, r *client.Replay) error {
	bar, heard := terminal.Count(std.Err, "sent again", r.Matched), time.Now()
	for r.EndedAt == nil {
		select {
		case <-ctx.Done():
			_ = bar.Exit()
			note(std, "It goes on: recapito replay --watch shows it, --stop ends it.")
			return errors.New("interrupted")
		case <-time.After(watchGap):
		}
		next, err := s.GetReplayWithResponse(ctx, r.ID)
		switch {
		case err != nil && (ctx.Err() != nil || time.Since(heard) < watchPatience):
			continue
		case err != nil:
			return s.Failed(err)
		case next.JSON200 == nil:
			return s.Refused(next.HTTPResponse, next.Body)
		}
		r, heard = next.JSON200, time.Now()
		bar.ChangeMax64(max(1, r.Matched))
		_ = bar.Set64(min(r.SentAgain, r.Matched)) // only shown
	}
	_ = bar.Clear()
	return c.show(std, r)
}

// show prints a bulk replay.
func (c *replayCmd) show(std Streams, r *client.Replay) error {
	if c.forPrograms(std) {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return asGiven(std, text)
	}
	return terminal.Fields(std.Out, [][2]string{
		{"replay", r.ID}, {"state", string(r.State)}, {"matched", fmt.Sprint(r.Matched)}, {"sent again", fmt.Sprint(r.SentAgain)},
		{"left out", fmt.Sprintf("%d damaged, %d removed or sent by itself meanwhile", r.LeftOut.Damaged, r.LeftOut.Changed)},
		{"remaining", fmt.Sprint(r.Remaining)}, {"rate", fmt.Sprintf("%.1f a second", r.Rate)},
	})
}
