package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/gen/client"
)

// Poster hands events in.
type Poster struct {
	client *client.ClientWithResponses
	giveUp time.Duration
	// Waiting is told once for each batch that has to be tried again, and why.
	Waiting func(why error)
	// Skipped is told which lines of a batch the server skipped, and why.
	Skipped func(lines string)
}

// A try takes at most postTimeout (the server gives itself 15 s to read a
// request), and at most as long as the batch is tried. It has at least
// leastTimeout, so that a slow server can answer the only try or the last one.
const postTimeout, leastTimeout = 30 * time.Second, 2 * time.Second

// NewPoster hands in with the platform's key. A batch is tried for giveUp.
func NewPoster(server, platformKey string, giveUp time.Duration, options ...client.ClientOption) (*Poster, error) {
	c, err := client.NewClientWithResponses(server, append(options, client.WithRequestEditorFn(api.Platform(platformKey)))...)
	if err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	return &Poster{client: c, giveUp: giveUp, Waiting: func(error) {}, Skipped: func(string) {}}, nil
}

// All sends batch after batch and counts their results, up to an error.
func (p *Poster) All(ctx context.Context, in *Reader, progress interface{ Add(int) error }) (*Sent, error) {
	var total Sent
	for {
		b, err := in.Next()
		if errors.Is(err, io.EOF) {
			return &total, nil
		}
		if err != nil {
			return &total, err
		}
		result, err := p.Send(ctx, b)
		if err != nil {
			return &total, err
		}
		total.add(result)
		if len(result.Skipped) > 0 {
			p.Skipped(b.skips(result.Skipped))
		}
		for _, l := range b {
			_ = progress.Add(len(l.Text) + 1)
		}
	}
}

// The gaps between tries of a batch begin with the first and double up to the
// last.
const firstGap, lastGap = 200 * time.Millisecond, 5 * time.Second

// Send sends one batch until the server has answered, or giveUp is over. Then
// it tries once more. Sending it again is safe: events are recognised by their
// id.
func (p *Poster) Send(ctx context.Context, b Batch) (*client.EventsResult, error) {
	body := b.body()
	end := time.Now().Add(p.giveUp)
	for gap := firstGap; ; gap = min(2*gap, lastGap) {
		left := time.Until(end)
		result, err := p.try(ctx, b, body, min(max(left, leastTimeout), postTimeout))
		later, ok := errors.AsType[*tryLater](err)
		if !ok {
			return result, err
		}
		if left = time.Until(end); left <= 0 {
			return nil, fmt.Errorf("gave up on %s after %v: %w", b.name(), p.giveUp, err)
		}
		if gap == firstGap {
			p.Waiting(err)
		}
		timer := time.NewTimer(min(max(gap, later.after), left))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("interrupted at %s", b.name())
		}
	}
}

// Try sends one batch once. Any error but [BadEvents] may pass.
func (p *Poster) Try(ctx context.Context, b Batch, timeout time.Duration) (*client.EventsResult, error) {
	return p.try(ctx, b, b.body(), timeout)
}

// tryLater: the batch may have been stored or not. Another try will show.
type tryLater struct {
	after time.Duration // at the earliest
	cause error
}

// After is how long the server asks to be left alone.
func (e *tryLater) After() time.Duration { return e.after }

func (e *tryLater) Error() string { return e.cause.Error() }
func (e *tryLater) Unwrap() error { return e.cause }

// BadEvents are the events for which the server refused a batch.
type BadEvents struct {
	batch  Batch
	detail string
	errors []client.ProblemError
}

func (e *BadEvents) Error() string {
	return fmt.Sprintf("%s refused, nothing of them stored: %s", e.batch.name(), e.detail)
}

// Reasons are what is wrong with the events that the server names, by their index. If
// it names none, it is the batch as a whole.
func (e *BadEvents) Reasons() map[int]string {
	reasons := make(map[int]string)
	for _, one := range e.errors {
		index, member, _ := strings.Cut(strings.TrimPrefix(one.Pointer, "/events/"), "/")
		i, err := strconv.Atoi(index)
		if err != nil || i < 0 || i >= len(e.batch) {
			continue
		}
		if reasons[i] != "" {
			reasons[i] += "; "
		}
		reasons[i] += strings.TrimPrefix(member+": "+one.Detail, ": ")
	}
	return reasons
}

// Detail is what the server says of the batch.
func (e *BadEvents) Detail() string { return e.detail }

// List names each bad line.
func (e *BadEvents) List() string {
	var out strings.Builder
	for _, one := range e.errors {
		place := one.Pointer
		index, member, _ := strings.Cut(strings.TrimPrefix(one.Pointer, "/events/"), "/")
		if i, err := strconv.Atoi(index); err == nil && i >= 0 && i < len(e.batch) {
			place = strings.TrimSuffix(fmt.Sprintf("line %d: %s", e.batch[i].Number, member), ": ")
		}
		fmt.Fprintf(&out, "%s: %s\n", place, one.Detail)
	}
	return out.String()
}

// try sends the batch once.
func (p *Poster) try(ctx context.Context, b Batch, body []byte, timeout time.Duration) (*client.EventsResult, error) {
	short, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := p.post(short, body)
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("interrupted at %s", b.name())
	case errors.Is(err, context.DeadlineExceeded):
		return nil, &tryLater{cause: fmt.Errorf("the server has not answered within %v", timeout.Round(time.Second/10))}
	case err != nil:
		return nil, &tryLater{cause: fmt.Errorf("the server cannot be reached: %w", api.Plainly(err))}
	case resp.JSON202 != nil:
		return resp.JSON202, nil
	}
	switch status := resp.StatusCode(); {
	case status == http.StatusBadRequest && resp.ApplicationProblemJSON400 != nil:
		problem := resp.ApplicationProblemJSON400
		if problem.Code == client.ProblemCodeBODYUNREADABLE { // it ended early, or came too slowly
			return nil, &tryLater{cause: api.Answered(resp.HTTPResponse, resp.Body)}
		}
		return nil, &BadEvents{batch: b, detail: api.OrEmpty(problem.Detail), errors: api.OrNone(problem.Errors)}
	case status == http.StatusRequestEntityTooLarge:
		return nil, &BadEvents{batch: b, detail: "the request is too large for the server"}
	case status == http.StatusUnauthorized:
		return nil, errors.New("the server refuses the platform key (--platform-key, RECAPITO_PLATFORM_KEY)")
	case status == http.StatusNotFound:
		return nil, errors.New("the server knows no /events there: --server must have the base path of serve at its end")
	case status >= 500, status == http.StatusTooManyRequests:
		return nil, &tryLater{after: api.RetryAfter(resp.HTTPResponse.Header, time.Now()), cause: api.Answered(resp.HTTPResponse, resp.Body)}
	}
	return nil, api.Answered(resp.HTTPResponse, resp.Body)
}

// post makes the request. An answer that asks for another try may come from a
// proxy, so it is not checked against the contract: its Retry-After may be a
// date.
func (p *Poster) post(ctx context.Context, body []byte) (*client.SendEventsResponse, error) {
	resp, err := p.client.SendEventsWithBody(ctx, "application/json", bytes.NewReader(body))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests:
		return client.ParseSendEventsResponse(resp)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return &client.SendEventsResponse{HTTPResponse: resp, Body: text}, err
}
