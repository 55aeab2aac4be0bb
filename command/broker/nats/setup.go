package nats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/recapito/recapito/command/broker"
)

// connected says why there is no connection, if there is none.
func (s *Source) connected() error {
	err := s.conn.LastError()
	switch why := s.failure.Load(); {
	case s.conn.IsConnected():
		return nil
	case err == nil && why == nil:
		err = errors.New("not connected yet")
	case err == nil:
		err = *why
	}
	_, ours := errors.AsType[*tls.CertificateVerificationError](err)
	if errors.Is(err, nats.ErrTLS) && !ours && (s.config.TLS == nil || len(s.config.TLS.Certificates) == 0) {
		return fmt.Errorf("no connection: %w; the broker may demand a certificate, --broker-cert", err)
	}
	return fmt.Errorf("no connection: %w", err)
}

func (s *Source) name() string { return s.config.Param("consumer", "recapito") }

// find finds the stream and the consumer, or makes the latter, the first time.
func (s *Source) find(ctx context.Context) error {
	if s.consumer != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	stream, err := s.js.Stream(ctx, s.config.Path)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return &broker.SetupError{Text: fmt.Sprintf("there is no stream %s", s.config.Path)}
	}
	if err != nil {
		return err
	}
	s.stream = stream
	consumer, err := stream.Consumer(ctx, s.name())
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		consumer, err = s.make(ctx)
	}
	if err != nil {
		return err
	}
	if err := s.check(ctx, consumer.CachedInfo().Config); err != nil {
		return err
	}
	s.consumer = consumer
	return nil
}

// make makes the consumer, unless another process has just done so.
func (s *Source) make(ctx context.Context) (jetstream.Consumer, error) {
	config := jetstream.ConsumerConfig{
		Durable: s.name(), Description: "recapito feed", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		MaxDeliver: -1, FilterSubject: s.config.Param("subject", ""),
		PriorityPolicy: jetstream.PriorityPolicyPinned, PriorityGroups: []string{pinGroup}, PinnedTTL: pinnedTTL,
	}
	consumer, err := s.stream.CreateConsumer(ctx, config)
	if errors.Is(err, jetstream.ErrConsumerExists) {
		return s.stream.Consumer(ctx, s.name())
	}
	if refused, ok := errors.AsType[*jetstream.APIError](err); ok && refused.Code == 400 {
		return nil, &broker.SetupError{Text: fmt.Sprintf("the consumer %s cannot be made: %s; NATS 2.11 or newer is needed for it, or make one by hand", s.name(), refused.Description)}
	}
	return consumer, err
}

// check refuses a consumer that would lose messages, and a dead letter that would be
// read again.
func (s *Source) check(ctx context.Context, c jetstream.ConsumerConfig) error {
	refuse := func(format string, args ...any) error {
		return &broker.SetupError{Text: fmt.Sprintf(format, args...)}
	}
	subject := s.config.Param("subject", "")
	switch {
	case c.AckPolicy != jetstream.AckExplicitPolicy:
		return refuse("the consumer %s must have the acknowledgement policy explicit, not %s", s.name(), c.AckPolicy)
	case c.MaxDeliver > 0:
		return refuse("the consumer %s must deliver without a limit (max_deliver -1): after %d times a message would be lost", s.name(), c.MaxDeliver)
	case subject != "" && subject != c.FilterSubject:
		return refuse("the consumer %s reads %q, not %q", s.name(), c.FilterSubject, subject)
	case c.DeliverSubject != "":
		return refuse("the consumer %s must be a pull consumer", s.name())
	}
	s.ackWait, s.group = c.AckWait, ""
	if len(c.PriorityGroups) > 0 {
		s.group = c.PriorityGroups[0]
	}
	home, err := s.js.StreamNameBySubject(ctx, s.config.DeadLetter)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return refuse("no stream keeps the subject %s of dead letters: make one", s.config.DeadLetter)
	}
	filters := c.FilterSubjects
	if c.FilterSubject != "" || len(filters) == 0 {
		filters = append(filters, c.FilterSubject)
	}
	for _, filter := range filters {
		if err == nil && home == s.config.Path && (filter == "" || matches(filter, s.config.DeadLetter)) {
			return refuse("the consumer %s would read the dead letters at %s again: keep them in another stream", s.name(), s.config.DeadLetter)
		}
	}
	return err
}

// matches reports whether a filter with * and > takes a subject.
func matches(filter, subject string) bool {
	tokens := strings.Split(subject, ".")
	for i, f := range strings.Split(filter, ".") {
		if f == ">" {
			return i < len(tokens)
		}
		if i >= len(tokens) || f != "*" && f != tokens[i] {
			return false
		}
	}
	return strings.Count(filter, ".") == len(tokens)-1
}
