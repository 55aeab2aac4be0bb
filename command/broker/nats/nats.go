// Package nats reads a stream of NATS JetStream by a durable pull consumer.
//
// It promises the order of the stream where the consumer has one pinned client, as the
// one that it makes does: then the other processes stand by. It leaves out core NATS,
// which keeps nothing.
package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/recapito/recapito/command/broker"
)

// Source is a [broker.Source].
type Source struct {
	config   broker.Config
	conn     *nats.Conn
	js       jetstream.JetStream
	stream   jetstream.Stream
	consumer jetstream.Consumer // nil: not found yet
	group    string             // of pinned clients; "": none
	pin      string             // of this process, as of the last message
	ackWait  time.Duration
	release  func()                // ends what keeps the last messages from coming again
	failure  atomic.Pointer[error] // of the last try to connect that did not come to a handshake
}

// The consumer that is made if there is none. A message comes again if it is not
// acknowledged within ackWait, which goes on while it is worked at. Another process takes
// over when the pinned one has not asked for so long: when its last messages come again.
const (
	ackWait   = 20 * time.Second
	pinnedTTL = 60 * time.Second
	pinGroup  = "recapito"
)

const (
	pullTime = 2 * time.Second        // how long a request for messages stands
	moreTime = 100 * time.Millisecond // for how many more come again
	askTime  = 10 * time.Second       // of a question to the server
)

// Open connects now or later. What the broker refuses, such as a password, is tried again,
// as it may be set right there.
func Open(c broker.Config) (*Source, error) {
	s := &Source{config: c, release: func() {}}
	failed := make(chan struct{}, 1)
	options := []nats.Option{
		nats.Name("recapito feed"), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			s.failure.Store(&err)
			select {
			case failed <- struct{}{}:
			default:
			}
		}),
		nats.ReconnectWait(500 * time.Millisecond), nats.Timeout(askTime),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				c.Logger.Warn("the connection to the broker has ended", "error", err)
			}
		}),
	}
	if c.User != "" {
		options = append(options, nats.UserInfo(c.User, c.Password))
	}
	if c.Credentials != "" {
		options = append(options, nats.UserCredentials(c.Credentials))
	}
	scheme := "nats://"
	if c.Secure {
		scheme = "tls://"
		options = append(options, nats.Secure(c.TLS))
	}
	servers := make([]string, len(c.Hosts))
	for i, host := range c.Hosts {
		servers[i] = scheme + host
	}
	conn, err := nats.Connect(strings.Join(servers, ","), options...)
	if err != nil {
		return nil, err
	}
	if !conn.IsConnected() { // why, is told in a moment
		select {
		case <-failed:
		case <-time.After(askTime):
		}
	}
	s.conn = conn
	s.js, err = jetstream.New(conn)
	return s, err
}

// Receive implements [broker.Source].
func (s *Source) Receive(ctx context.Context, most int) ([]*broker.Message, error) {
	if err := s.connected(); err != nil {
		return nil, err
	}
	if err := s.find(ctx); err != nil {
		return nil, err
	}
	got, err := s.fetch(1, pullTime)
	if err != nil || len(got) == 0 {
		return nil, err
	}
	more, wait, err := pending(got[0])
	if err != nil {
		return nil, err
	}
	if more = min(more, most-1); more > 0 {
		rest, err := s.fetch(more, wait)
		if err != nil {
			s.config.Logger.Debug("fewer messages than there are", "error", err)
		}
		got = append(got, rest...)
	}
	read, err := messages(got)
	if err == nil {
		s.keep(got)
	}
	return read, err
}

// pending is how many more messages to ask for behind the first one, and for how long.
func pending(first jetstream.Msg) (n int, wait time.Duration, err error) {
	about, err := first.Metadata()
	if err != nil {
		return 0, 0, err
	}
	if about.NumDelivered > 1 { // how many come again is not told
		return int(about.NumPending) + 1<<20, moreTime, nil
	}
	return int(about.NumPending), time.Second, nil
}

// fetch asks for n messages and returns those that come within the time. It waits for
// the end of the request, whatever happens: what came unseen would come again late.
func (s *Source) fetch(n int, wait time.Duration) (got []jetstream.Msg, err error) {
	options := []jetstream.FetchOpt{jetstream.FetchMaxWait(wait)}
	if s.group != "" {
		options = append(options, jetstream.FetchPriorityGroup(s.group))
	}
	batch, err := s.consumer.Fetch(n, options...)
	if err != nil {
		return nil, err
	}
	for m := range batch.Messages() {
		got = append(got, m)
		s.pin = cmp.Or(m.Headers().Get("Nats-Pin-Id"), s.pin)
	}
	err = batch.Error()
	switch {
	case errors.Is(err, jetstream.ErrPinIDMismatch):
		err = nil // another one was pinned
	case errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerNotFound):
		err = &broker.SetupError{Text: fmt.Sprintf("the consumer %s of the stream %s has been deleted", s.name(), s.config.Path)}
	}
	return got, err
}

// keep tells the server that the messages are worked at, until they are acknowledged or
// given back.
func (s *Source) keep(got []jetstream.Msg) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(max(s.ackWait/4, time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				for _, m := range got {
					_ = m.InProgress() // without a connection they come again
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	s.release = func() { cancel(); <-ended }
}

func messages(got []jetstream.Msg) ([]*broker.Message, error) {
	out := make([]*broker.Message, len(got))
	for i, m := range got {
		about, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		headers := make(map[string]string, len(m.Headers()))
		for name, values := range m.Headers() {
			headers[name] = values[0]
		}
		out[i] = &broker.Message{
			Body: m.Data(), Subject: m.Subject(), Headers: headers, Time: about.Timestamp, Native: m,
			Place: fmt.Sprintf("%s/%d", about.Stream, about.Sequence.Stream),
			// A stream that was made anew begins with 1 again, at another time.
			Identity: fmt.Sprintf("nats/%s/%d/%d", about.Stream, about.Sequence.Stream, about.Timestamp.UnixNano()),
		}
	}
	return out, nil
}

func native(m *broker.Message) jetstream.Msg { return m.Native.(jetstream.Msg) }

// Acknowledge implements [broker.Source].
func (s *Source) Acknowledge(ctx context.Context, messages []*broker.Message) error {
	s.release()
	last := len(messages) - 1
	for _, m := range messages[:last] {
		if err := native(m).Ack(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return native(messages[last]).DoubleAck(ctx) // the server has the others before it
}

// Return implements [broker.Source]: the server hands them over again at once, before
// any other.
func (s *Source) Return(_ context.Context, messages []*broker.Message) error {
	s.release()
	var errs []error
	for _, m := range messages {
		errs = append(errs, native(m).Nak())
	}
	return errors.Join(append(errs, s.conn.Flush())...)
}

// DeadLetter implements [broker.Source]. The stream knows one that is kept again.
func (s *Source) DeadLetter(ctx context.Context, m *broker.Message, why broker.Reason) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	letter := &nats.Msg{Subject: s.config.DeadLetter, Data: m.Body, Header: nats.Header{}}
	for name, values := range native(m).Headers() {
		if !strings.HasPrefix(name, "Nats-") { // they are about the stream
			letter.Header[name] = values
		}
	}
	for name, value := range why.Headers(m) {
		letter.Header.Set(name, oneLine(value))
	}
	_, err := s.js.PublishMsg(ctx, letter, jetstream.WithMsgID("dead-letter-of-"+m.ID()))
	return err
}

// oneLine keeps a header to what NATS takes.
func oneLine(text string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(text) }

// Close implements [broker.Source]. Another process need not wait for this one's pin.
func (s *Source) Close(ctx context.Context) error {
	s.release()
	if s.pin != "" && s.conn.IsConnected() {
		s.unpin(ctx)
	}
	s.conn.Close()
	return nil
}

func (s *Source) unpin(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	info, err := s.consumer.Info(ctx)
	if err != nil || len(info.PriorityGroups) == 0 || info.PriorityGroups[0].PinnedClientID != s.pin {
		return
	}
	if err := s.stream.UnpinConsumer(ctx, s.name(), s.group); err != nil {
		s.config.Logger.Warn("another process has to wait before it takes over", "error", err)
	}
}
