package command

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/gen/client"
)

type testEventCmd struct {
	Sample string `enum:",SMS_DELIVERED,SMS_EXPIRED,SMS_PART_UNDELIVERABLE,RCS_READ,RCS_REVOKED,WHATSAPP_SENT,WHATSAPP_READ_BY_USER,WHATSAPP_REJECTED" default:"" placeholder:"SAMPLE" help:"Which sample of a callback, such as WHATSAPP_READ_BY_USER; --sample completes. Default: SMS_DELIVERED."`

	serverFlags
	outputFlags
}

// Help is shown by test-event --help.
func (testEventCmd) Help() string {
	return `Sends one signed test to the callback URL now, and says what came of it and what to do.
It waits for no other event, works while the webhook is SUSPENDED, and changes nothing.
The answer comes when the endpoint's does, within 20 s.

Ends with exit code 6 if the endpoint did not acknowledge it.`
}

// Run sends one.
func (c *testEventCmd) Run(ctx context.Context, std Streams) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	return sendTestEvent(ctx, s, c.Sample, std, c.outputFlags)
}

// sendTestEvent sends one and prints the diagnosis. It is an error if the endpoint did
// not acknowledge it.
func sendTestEvent(ctx context.Context, s *api.Server, sample string, std Streams, output outputFlags) error {
	r, err := s.SendTestEventWithResponse(ctx, client.TestEventInput{Sample: given(client.TestSampleInput(sample))})
	switch {
	case err != nil:
		return s.Failed(err)
	case r.StatusCode() == http.StatusTooManyRequests:
		return fmt.Errorf("another test is under way, or there were too many: try again in %s", terminal.Rough(max(time.Second, api.RetryAfter(r.HTTPResponse.Header, time.Now()))))
	case r.JSON200 == nil:
		return refusedWebhook(s, r.HTTPResponse, r.Body)
	}
	if output.forPrograms(std) {
		err = asGiven(std, r.Body)
	} else {
		err = printDiagnosis(std.Out, r.JSON200)
	}
	if d := r.JSON200; err == nil && d.Attempt.Error != nil {
		return &exitError{exitIll, fmt.Errorf("%s: %s", d.Verdict, d.Advice)}
	}
	return err
}

// printDiagnosis prints all but the advice of a failure, which is the command's error.
func printDiagnosis(out io.Writer, d *client.Diagnosis) error {
	fields := [][2]string{{"verdict", string(d.Verdict)}, {"sample", fmt.Sprintf("%s, event %s", d.Sample, d.Payload.EventID)}}
	if d.Attempt.Error == nil {
		fields = append(fields, [2]string{"advice", d.Advice})
	}
	if t := d.TLS; t != nil {
		fields = append(fields, [2]string{"TLS", tlsInWords(t)})
		for i, c := range t.Certificates {
			name := ""
			if i == 0 {
				name = "chain"
			}
			fields = append(fields, [2]string{name, fmt.Sprintf("%s, by %s, until %s", c.Subject, c.Issuer, local(c.NotAfter))})
		}
	}
	if err := terminal.Fields(out, fields); err != nil {
		return err
	}
	return printAttempt(out, &d.Attempt)
}

func tlsInWords(t *client.TLSSession) string {
	var parts []string
	if v := api.OrEmpty(t.Version); v != "" {
		parts = append(parts, v)
	}
	if t.ExpiresAt != nil {
		parts = append(parts, "trusted until "+local(*t.ExpiresAt))
	} else {
		parts = append(parts, "not trusted")
	}
	return strings.Join(parts, ", ")
}
