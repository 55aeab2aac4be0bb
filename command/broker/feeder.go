package broker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/recapito/recapito/command/feed"
	"github.com/recapito/recapito/gen/client"
)

// Poster POSTs a batch once. A [feed.BadEvents] is for good, any other error may pass.
type Poster interface {
	Try(ctx context.Context, b feed.Batch, timeout time.Duration) (*client.EventsResult, error)
}

// Feeder hands in what a source has, until it is stopped.
type Feeder struct {
	Source  Source
	Map     *Map
	Post    Poster
	Most    int      // messages at a time, and events in a request
	Drop    []string // reasons for which a message is dropped instead of kept as a dead letter
	Metrics *Metrics
	Logger  *slog.Logger
}

// The gaps after failures begin with the first and double up to the last.
const firstGap, lastGap = 200 * time.Millisecond, 5 * time.Second

// A try takes at most postTimeout; the server gives itself 15 s to read a request.
const postTimeout = 20 * time.Second

// drainTime is how long the messages under way may take when the end is asked for.
const drainTime = 10 * time.Second

// Run hands in until ctx ends: then it finishes the messages under way, unless the
// server does not take them. It closes the source.
func (f *Feeder) Run(ctx context.Context) (err error) {
	work, cancel := outliving(ctx, drainTime)
	defer cancel()
	defer func() { err = errors.Join(err, f.Source.Close(work)) }()
	broker, server := outage{f: f, of: fromBroker}, outage{f: f, of: toServer}
	for ctx.Err() == nil {
		messages, err := f.Source.Receive(ctx, f.Most)
		if setup, ok := errors.AsType[*SetupError](err); ok {
			return setup
		}
		if err != nil {
			broker.wait(ctx, err)
			continue
		}
		broker.over()
		if len(messages) == 0 {
			continue
		}
		if err := f.settle(work, messages); err != nil {
			if back := f.Source.Return(work, messages); back != nil {
				f.Logger.Warn("messages could not be given back; they come again by themselves", "error", back)
			}
			if _, broken := errors.AsType[*deadLetterError](err); broken {
				broker.wait(ctx, err)
			} else {
				server.wait(ctx, err)
			}
			continue
		}
		server.over()
		f.acknowledge(work, messages)
	}
	return nil
}

func (f *Feeder) acknowledge(ctx context.Context, messages []*Message) {
	if err := f.Source.Acknowledge(ctx, messages); err != nil {
		f.Logger.Warn("messages could not be acknowledged; they come again, as duplicates", "messages", len(messages), "error", err)
		return
	}
	f.Metrics.acknowledged(len(messages))
}

// outliving ends so long after ctx.
func outliving(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(by, cancel) })
	return later, func() { stop(); cancel() }
}

// outage is a row of failures of one side. It is logged when it begins and ends.
type outage struct {
	f   *Feeder
	of  side
	gap time.Duration
}

func (o *outage) wait(ctx context.Context, why error) {
	if ctx.Err() != nil {
		return
	}
	if o.gap == 0 {
		o.f.Logger.Warn("nothing goes on; trying again", "side", o.of, "error", why)
	}
	o.f.Metrics.failing(o.of, why)
	o.gap = min(max(2*o.gap, firstGap), lastGap)
	gap := o.gap
	if after, ok := errors.AsType[interface {
		error
		After() time.Duration
	}](why); ok {
		gap = max(gap, min(after.After(), time.Minute))
	}
	timer := time.NewTimer(gap)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (o *outage) over() {
	if o.gap != 0 {
		o.f.Logger.Info("goes on", "side", o.of)
	}
	o.gap = 0
	o.f.Metrics.failing(o.of, nil)
}

// settle hands in the events of messages, and keeps as dead letters those that cannot be
// handed in. After an error all of them have to be settled again.
func (f *Feeder) settle(ctx context.Context, messages []*Message) error {
	s := settlement{Feeder: f, messages: messages, dead: make(map[int]Reason)}
	var lines []feed.Line
	for i, m := range messages {
		events, why := f.Map.Events(ctx, m)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if why != nil {
			s.dead[i] = *why
		}
		for _, text := range events {
			lines = append(lines, feed.Line{Number: i, Text: text})
		}
		if why == nil && len(events) == 0 {
			f.Metrics.messages.WithLabelValues("ignored").Inc()
		}
	}
	for _, b := range feed.Batches(lines, f.Most) {
		if err := s.send(ctx, b); err != nil {
			return err
		}
	}
	return s.bury(ctx)
}

// settlement is what becomes of messages.
type settlement struct {
	*Feeder
	messages []*Message
	dead     map[int]Reason // by index of the message, the first one
}

func (s *settlement) die(message int, why Reason) {
	if _, dead := s.dead[message]; !dead {
		s.dead[message] = why
	}
}

// send hands a batch in. It takes out of it what the server refuses, in order that the
// rest is taken.
func (s *settlement) send(ctx context.Context, b feed.Batch) error {
	for len(b) > 0 {
		began := time.Now()
		result, err := s.Post.Try(ctx, b, postTimeout)
		s.Metrics.posted(time.Since(began), err)
		bad, refused := errors.AsType[*feed.BadEvents](err)
		switch {
		case refused:
			reasons := bad.Reasons()
			if len(reasons) == 0 && len(b) > 1 {
				return s.halves(ctx, b)
			}
			if len(reasons) == 0 {
				reasons[0] = bad.Detail()
			}
			b = s.without(b, reasons)
			continue
		case err != nil:
			return err
		}
		s.Metrics.handedIn(result)
		for _, skipped := range result.Skipped {
			if at := int(skipped.Index); at >= 0 && at < len(b) {
				s.die(b[at].Number, Reason{string(skipped.Reason), skippedFor[skipped.Reason]})
			}
		}
		return nil
	}
	return nil
}

// halves sends a batch of which the server did not say what is wrong with it.
func (s *settlement) halves(ctx context.Context, b feed.Batch) error {
	if err := s.send(ctx, b[:len(b)/2]); err != nil {
		return err
	}
	return s.send(ctx, b[len(b)/2:])
}

// without takes the refused events out of a batch.
func (s *settlement) without(b feed.Batch, reasons map[int]string) (rest feed.Batch) {
	for i, line := range b {
		why, refused := reasons[i]
		if !refused {
			rest = append(rest, line)
			continue
		}
		s.Metrics.events.WithLabelValues("refused").Inc()
		s.die(line.Number, Reason{Refused, why})
	}
	return rest
}

var skippedFor = map[client.SkipReason]string{
	client.SkipReasonNOWEBHOOK:         "the account has no webhook",
	client.SkipReasonUNKNOWNACCOUNT:    "there is no such account",
	client.SkipReasonIDREUSED:          "the account has another event with this id",
	client.SkipReasonOVERQUOTA:         "as much as may waits for the account's endpoint; feed this one again later",
	client.SkipReasonACCOUNTUNREADABLE: "the server cannot read the account's webhook; feed this one again after the repair",
}

// bury keeps the dead letters, in order.
func (s *settlement) bury(ctx context.Context) error {
	for i, m := range s.messages {
		why, dead := s.dead[i]
		switch {
		case !dead:
			continue
		case slices.Contains(s.Drop, why.Code):
			s.Metrics.messages.WithLabelValues("dropped").Inc()
			continue
		}
		if err := s.Source.DeadLetter(ctx, m, why); err != nil {
			return &deadLetterError{err}
		}
		s.Metrics.dead(why)
		s.Logger.Warn("a message cannot be handed in: it is a dead letter", "place", m.Place, "reason", why.Code, "detail", shortened(why.Detail))
	}
	return nil
}

type deadLetterError struct{ cause error }

func (e *deadLetterError) Error() string {
	return "a dead letter could not be kept: " + e.cause.Error()
}
func (e *deadLetterError) Unwrap() error { return e.cause }
