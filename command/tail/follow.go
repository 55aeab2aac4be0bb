// Package tail reads the feed of an account's events as they come, and shows each, or
// brings it to a program on this machine as its callback would be. Each event is taken
// once, in order of acceptance, also when the server could not be reached for a time.
// An event that the program does not take is not brought again: the feed is read, not
// delivered.
package tail

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/gen/client"
)

// Event is one of the feed.
type Event struct {
	Text    []byte // all that the server says of it, as JSON
	ID      string
	At      time.Time // of acceptance
	Payload []byte    // what its callback has as body; nil: what the server kept is damaged
}

// Config says which events are read.
type Config struct {
	All    bool // begin with the oldest event that is kept. Default: with the next one.
	NoWait bool // end where there is no event yet
	// Take is given each event.
	Take func(Event) error
	// Ready is called when the first event can come.
	Ready func()
	// Lost is told once when the server cannot be reached, and why.
	Lost func(why error)
}

const (
	pageSize = 100 // events in an answer
	waitFor  = 25  // seconds; what is between lets connections wait for 30 as a rule
)

// The gaps between tries while the server cannot be reached begin with the first and
// double up to the last.
const firstGap, lastGap = 200 * time.Millisecond, 5 * time.Second

// Follow takes events until ctx ends, which is no error.
func Follow(ctx context.Context, s *api.Server, cfg Config) error {
	limit, wait, after := int32(pageSize), int32(0), "latest"
	params := &client.ReadEventsParams{Limit: &limit, Wait: &wait}
	if !cfg.All {
		params.After = &after
	}
	for gap := firstGap; ; {
		page, next, err := read(ctx, s, params)
		again, lost := errors.AsType[*unavailable](err)
		switch {
		case ctx.Err() != nil:
			return nil
		case lost:
			if gap == firstGap {
				cfg.Lost(again.cause)
			}
			pause(ctx, max(gap, again.after))
			gap = min(2*gap, lastGap)
			continue
		case err != nil:
			return err
		}
		if params.After == nil || *params.After == "latest" {
			cfg.Ready()
		}
		for _, e := range page {
			if err := cfg.Take(e); err != nil {
				return err
			}
		}
		if cfg.NoWait && len(page) < pageSize {
			return nil
		}
		gap, params.After = firstGap, &next
		if !cfg.NoWait {
			wait = waitFor // from the first cursor on: what comes before it is not missed
		}
	}
}

// unavailable: another try will show.
type unavailable struct {
	after time.Duration
	cause error
}

func (e *unavailable) Error() string { return e.cause.Error() }

func read(ctx context.Context, s *api.Server, params *client.ReadEventsParams) (page []Event, next string, err error) {
	r, err := s.ReadEventsWithResponse(ctx, params)
	switch _, unreached := errors.AsType[*url.Error](err); {
	case unreached:
		return nil, "", &unavailable{cause: s.Failed(err)}
	case err != nil:
		return nil, "", s.Failed(err)
	case r.StatusCode() >= http.StatusInternalServerError:
		return nil, "", &unavailable{after: api.RetryAfter(r.HTTPResponse.Header, time.Now()), cause: api.Answered(r.HTTPResponse, r.Body)}
	case r.JSON200 == nil:
		return nil, "", s.Refused(r.HTTPResponse, r.Body)
	}
	var answer struct{ Events []json.RawMessage } // with members that this client does not know
	if err := json.Unmarshal(r.Body, &answer); err != nil {
		return nil, "", s.Failed(err)
	}
	for _, text := range answer.Events {
		var e struct {
			ID      string          `json:"eventId"`
			At      time.Time       `json:"acceptedAt"`
			Payload json.RawMessage `json:"payload"`
		}
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, "", s.Failed(err)
		}
		page = append(page, Event{Text: text, ID: e.ID, At: e.At, Payload: e.Payload})
	}
	return page, r.JSON200.NextCursor, nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
