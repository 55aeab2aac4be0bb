package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/recapito/recapito/gen/client"
)

type sendCmd struct {
	File string `arg:"" help:"Status events as NDJSON, one a line; - is standard input."`

	Server      string        `default:"http://127.0.0.1:8080" placeholder:"URL" help:"The running server, its base path included. Default: ${default}."`
	PlatformKey string        `required:"" placeholder:"KEY" help:"The platform's bearer key."`
	AccountID   string        `name:"account-id" placeholder:"ID" help:"Send every event as this account's, also if it names another account."`
	Batch       int           `default:"100" placeholder:"N" help:"Events in a request, at most 1000. A request has fewer if they exceed 1 MiB. Default: ${default}."`
	GiveUp      time.Duration `default:"1m" placeholder:"TIME" help:"How long a batch is tried if the server cannot be reached or cannot store; 0s is one try. Default: ${default}."`
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
	case c.Batch < 1 || c.Batch > batchEvents:
		return fmt.Errorf("--batch %d: must be 1 to %d", c.Batch, batchEvents)
	case c.GiveUp < 0:
		return errors.New("--give-up: must not be negative")
	case !strings.HasPrefix(c.Server, "http://") && !strings.HasPrefix(c.Server, "https://"):
		return fmt.Errorf("--server %q: must begin with http:// or https://", c.Server)
	}
	return nil
}

// Run sends the whole input and says at its end how many events were accepted.
func (c *sendCmd) Run(ctx context.Context, std Streams) error {
	in, size, err := c.input(std)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	bar := newBar(std.Err, size)
	post, err := newPoster(c.Server, c.PlatformKey, c.GiveUp)
	if err != nil {
		return err
	}
	note := func(format string, args ...any) {
		_ = bar.Clear()
		log.New(std.Err, "", 0).Printf(format, args...)
	}
	post.waiting = func(why error) { note("%v; trying again for up to %v", why, c.GiveUp) }
	post.skipped = func(lines string) { note("%s", lines) }
	total, err := post.all(ctx, &batchReader{in: newLines(in), account: c.AccountID, most: c.Batch}, bar)
	_ = bar.Clear()
	if bad, ok := errors.AsType[*badEvents](err); ok {
		note("%s", bad.list())
	}
	if _, printErr := fmt.Fprintln(std.Out, total); err == nil {
		err = printErr
	}
	if n := total.skips(); err == nil && n > 0 {
		code := exitSkipped
		if total.skipped[client.SkipReasonIDREUSED] > 0 {
			code = exitReused
		}
		return &exitError{code, fmt.Errorf("%d of %d events were skipped, see above", n, total.all())}
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

// newBar shows the bytes sent, on a terminal only.
func newBar(w io.Writer, size int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(w), progressbar.OptionSetVisibility(isTerminal(w)),
		progressbar.OptionSetDescription("sending"), progressbar.OptionShowBytes(true),
		progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
}

// sent counts what became of events.
type sent struct {
	accepted, duplicates int
	skipped              map[client.SkipReason]int
}

func (s *sent) add(r *client.EventsResult) {
	s.accepted += int(r.Accepted)
	s.duplicates += int(r.Duplicates)
	for _, e := range r.Skipped {
		if s.skipped == nil {
			s.skipped = make(map[client.SkipReason]int)
		}
		s.skipped[e.Reason]++
	}
}

func (s *sent) skips() (n int) {
	for _, k := range s.skipped {
		n += k
	}
	return n
}

func (s *sent) all() int { return s.accepted + s.duplicates + s.skips() }

func (s *sent) String() string {
	text := fmt.Sprintf("accepted %d, duplicates %d, skipped %d", s.accepted, s.duplicates, s.skips())
	var why []string
	for _, reason := range slices.Sorted(maps.Keys(s.skipped)) {
		why = append(why, fmt.Sprintf("%s %d", reason, s.skipped[reason]))
	}
	if len(why) > 0 {
		text += " (" + strings.Join(why, ", ") + ")"
	}
	return text
}

// bearer authenticates the platform.
func bearer(key string) client.RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+key)
		return nil
	}
}
