package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/gen/client"
)

type healthCmd struct {
	serverFlags
	outputFlags
}

// Help is shown by health --help.
func (healthCmd) Help() string {
	return `Says in one sentence how the account's endpoint does, what waits, and how its attempts
ended in the last hour, day and week.

Ends with exit code 6 if the endpoint is FAILING, PROBING or SUSPENDED.`
}

// Run prints the health.
func (c *healthCmd) Run(ctx context.Context, std Streams) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	r, err := s.GetHealthWithResponse(ctx)
	switch {
	case err != nil:
		return s.Failed(err)
	case r.JSON200 == nil:
		return refusedWebhook(s, r.HTTPResponse, r.Body)
	}
	h := r.JSON200
	if c.forPrograms(std) {
		err = asGiven(std, r.Body)
	} else {
		err = printHealth(std.Out, h)
	}
	if err == nil && (h.State == client.EndpointStateFAILING || h.State == client.EndpointStatePROBING || h.State == client.EndpointStateSUSPENDED) {
		return &exitError{exitIll, errors.New(h.Summary)}
	}
	return err
}

// printHealth prints all but the sentence of an ill endpoint, which is the command's
// error.
func printHealth(out io.Writer, h *client.Health) error {
	fields := [][2]string{{"state", fmt.Sprintf("%s since %s", h.State, local(h.Since))}}
	switch h.State {
	case client.EndpointStateHEALTHY, client.EndpointStateSLOWED, client.EndpointStateIDLE:
		fields = append(fields, [2]string{"summary", h.Summary})
	}
	fields = append(fields, [2]string{"pending", pendingInWords(h)})
	if at := h.NextAttemptAt; at != nil {
		fields = append(fields, [2]string{"next attempt", local(*at)})
	}
	if l := h.LastSuccess; l != nil {
		fields = append(fields, [2]string{"last success", fmt.Sprintf("%s, status %d", local(l.At), l.StatusCode)})
	}
	if l := h.LastFailure; l != nil {
		fields = append(fields, [2]string{"last failure", failureInWords(l)})
	}
	if h.Skipped > 0 {
		fields = append(fields, [2]string{"skipped", fmt.Sprintf("%d events of the last day, as there was no webhook", h.Skipped)})
	}
	if err := terminal.Fields(out, fields); err != nil {
		return err
	}
	var rows [][]terminal.Cell
	for _, w := range []struct {
		name string
		client.AttemptCounts
	}{{"hour", h.LastHour}, {"day", h.LastDay}, {"week", h.LastWeek}} {
		share := "-"
		if s := w.AcknowledgedShare; s != nil {
			share = fmt.Sprintf("%.2f %%", *s*100)
		}
		row := []terminal.Cell{{Text: w.name}, {Text: fmt.Sprint(w.Acknowledged)}, {Text: fmt.Sprint(w.Failed)}, {Text: share}}
		for _, ms := range []*float64{w.AnswerTimeMs.P50, w.AnswerTimeMs.P95, w.AnswerTimeMs.P99} {
			row = append(row, terminal.Cell{Text: answerTime(ms)})
		}
		rows = append(rows, row)
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	return terminal.NewScreen(out).Table([]terminal.Heading{
		{Name: "last"}, {Name: "acknowledged"}, {Name: "failed"}, {Name: "share"}, {Name: "p50"}, {Name: "p95"}, {Name: "p99"},
	}, rows)
}

func pendingInWords(h *client.Health) string {
	words := fmt.Sprintf("%d events", h.Pending)
	if h.Pending == 1 {
		words = "1 event"
	}
	if h.OldestPendingAt != nil {
		words += ", the oldest since " + local(*h.OldestPendingAt)
	}
	if h.FirstGivenUpAt != nil {
		words += ", given up " + local(*h.FirstGivenUpAt)
	}
	return words
}

func failureInWords(l *client.LastFailure) string {
	parts := []string{local(l.At), string(l.Error)}
	if l.StatusCode != nil {
		parts[1] = fmt.Sprintf("status %d", *l.StatusCode)
	}
	if l.Detail != nil {
		parts = append(parts, string(*l.Detail))
	}
	return strings.Join(parts, ", ")
}

// answerTime is short; nil: there were no answers.
func answerTime(ms *float64) string {
	if ms == nil {
		return "-"
	}
	return terminal.Brief(time.Duration(*ms * float64(time.Millisecond)))
}
