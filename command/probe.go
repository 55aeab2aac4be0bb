package command

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/command/terminal"
)

type probeCmd struct {
	serverFlags
	outputFlags
}

// Help is shown by probe --help.
func (probeCmd) Help() string {
	return `After ten failures in a row the endpoint is only probed, at gaps of up to 5 min. This
makes the next probe now. If the endpoint acknowledges it, everything that waits is
attempted at once.

"recapito deliveries" with the event's id shows how the probe ended.`
}

// Run asks for one probe, and does not wait for its outcome.
func (c *probeCmd) Run(ctx context.Context, std Streams) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	r, err := s.ProbeEndpointWithResponse(ctx)
	switch {
	case err != nil:
		return s.Failed(err)
	case r.StatusCode() == http.StatusTooManyRequests:
		return fmt.Errorf("a probe is under way, or there were too many: try again in %s", terminal.Rough(max(time.Second, api.RetryAfter(r.HTTPResponse.Header, time.Now()))))
	case r.JSON202 == nil:
		return refusedWebhook(s, r.HTTPResponse, r.Body)
	case c.forPrograms(std):
		return asGiven(std, r.Body)
	}
	if r.JSON202.EventID == nil {
		return terminal.Fields(std.Out, [][2]string{{"probe", "with the next event: nothing is PENDING"}})
	}
	return terminal.Fields(std.Out, [][2]string{{"probe", "begins now"}, {"event", *r.JSON202.EventID}})
}
