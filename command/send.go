package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/recapito/recapito/command/feed"
	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/gen/client"
)

type sendCmd struct {
	File string `arg:"" help:"Status events as NDJSON, one a line; - is standard input."`

	Server string `default:"http://127.0.0.1:8080" placeholder:"URL" help:"The running server, its base path included. Default: ${default}."`
	platformKeyFlags
	AccountID string        `name:"account-id" placeholder:"ID" help:"Send every event as this account's, also if it names another account."`
	Batch     int           `default:"100" placeholder:"N" help:"Events in a request, at most 1000. A request has fewer if they exceed 1 MiB. Default: ${default}."`
	GiveUp    time.Duration `default:"1m" placeholder:"TIME" help:"How long a batch is tried if the server cannot be reached or cannot store; 0s is one try. Default: ${default}."`
}

// Help is shown by send --help.
func (sendCmd) Help() string {
	return `A line is what POST /events takes as an event:

  {"id":"evt_1","accountId":"acc_1","messageId":"m-1","channel":"SMS","destination":"+393401234567","status":"DELIVERED","timestamp":"2026-11-20T10:30:00Z"}

Sending a file again is safe: events are recognised by their id and counted as
duplicates. Blank lines are ignored. If a line is not an event, nothing of its batch is
stored. Ends with exit code 3 if the server skipped events, and names their
lines and the reason; with 4 if the id of one belongs to another event.`
}

// Validate is called by the parser.
func (c *sendCmd) Validate() error {
	switch {
	case c.Batch < 1 || c.Batch > feed.MostEvents:
		return fmt.Errorf("--batch %d: must be 1 to %d", c.Batch, feed.MostEvents)
	case c.GiveUp < 0:
		return errors.New("--give-up: must not be negative")
	}
	return checkServer(c.Server)
}

// Run sends the whole input and says at its end how many events were accepted.
func (c *sendCmd) Run(ctx context.Context, std Streams) error {
	key, err := c.platformKey()
	if err != nil {
		return err
	}
	in, size, err := c.input(std)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	bar := terminal.Progress(std.Err, "sending", size)
	post, err := feed.NewPoster(c.Server, key, c.GiveUp)
	if err != nil {
		return err
	}
	note := func(format string, args ...any) {
		_ = bar.Clear()
		log.New(std.Err, "", 0).Printf(format, args...)
	}
	post.Waiting = func(why error) { note("%v; trying again for up to %v", why, c.GiveUp) }
	post.Skipped = func(lines string) { note("%s", lines) }
	total, err := post.All(ctx, feed.NewReader(in, c.AccountID, c.Batch), bar)
	_ = bar.Clear()
	if bad, ok := errors.AsType[*feed.BadEvents](err); ok {
		note("%s", bad.List())
	}
	if _, printErr := fmt.Fprintln(std.Out, total); err == nil {
		err = printErr
	}
	if n := total.Skips(); err == nil && n > 0 {
		code := exitSkipped
		if total.Skipped[client.SkipReasonIDREUSED] > 0 {
			code = exitReused
		}
		return &exitError{code, fmt.Errorf("%d of %d events were skipped, see above", n, total.All())}
	}
	return err
}

// input opens the events; size is -1 where it is not known.
func (c *sendCmd) input(std Streams) (in io.ReadCloser, size int64, err error) {
	if c.File == "-" {
		return io.NopCloser(std.In), -1, nil
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, 0, errors.Join(err, f.Close())
	case !info.Mode().IsRegular():
		return f, -1, nil
	}
	return f, info.Size(), nil
}
