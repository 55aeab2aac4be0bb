// Package amqp reads a queue of RabbitMQ, or of another broker of AMQP 0-9-1.
//
// It promises the order of the queue where one process reads it: alone, or as the
// queue's single active consumer. Several that read one queue share its messages, not
// their order.
package amqp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/recapito/recapito/command/broker"
)

// Source is a [broker.Source].
type Source struct {
	config     broker.Config
	conn       *amqp.Connection // nil: none
	found      bool             // the queues were there once
	in, out    *amqp.Channel    // what is read; dead letters
	deliveries <-chan amqp.Delivery
	returned   <-chan amqp.Return // letters that no queue takes
	held       []*broker.Message  // given back, in order
}

const (
	waitTime = 2 * time.Second  // how long a wait for messages takes
	askTime  = 15 * time.Second // of a question to the broker
)

// Open connects later.
func Open(c broker.Config) (*Source, error) { return &Source{config: c}, nil }

// Receive implements [broker.Source].
func (s *Source) Receive(ctx context.Context, most int) ([]*broker.Message, error) {
	if err := s.connect(); err != nil {
		return nil, err
	}
	if held := s.held; len(held) > 0 {
		s.held = nil
		return held, nil
	}
	timer := time.NewTimer(waitTime)
	defer timer.Stop()
	var messages []*broker.Message
	select {
	case d, open := <-s.deliveries:
		if !open {
			return nil, s.lost()
		}
		messages = append(messages, message(d))
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for len(messages) < most {
		select {
		case d, open := <-s.deliveries:
			if open {
				messages = append(messages, message(d))
				continue
			}
		default:
		}
		break
	}
	return messages, nil
}

// lost closes what is left of the connection. All that is not acknowledged comes again.
func (s *Source) lost() error {
	s.held = nil
	if s.conn != nil {
		_ = s.conn.CloseDeadline(time.Now().Add(time.Second)) // it is lost
	}
	s.conn = nil
	return errors.New("the connection has ended")
}

// connect connects, unless there is a connection.
func (s *Source) connect() error {
	if s.conn != nil && !s.conn.IsClosed() && !s.in.IsClosed() && !s.out.IsClosed() {
		return nil
	}
	_ = s.lost()
	var errs []error
	for _, host := range s.config.Hosts {
		conn, err := s.dial(host)
		if err == nil {
			s.conn = conn
			break
		}
		if !s.found {
			err = s.config.Explained(err)
		}
		errs = append(errs, fmt.Errorf("%s: %w", host, err))
	}
	if s.conn == nil {
		return errors.Join(errs...)
	}
	if err := s.consume(); err != nil {
		_ = s.lost()
		return err
	}
	return nil
}

func (s *Source) dial(host string) (*amqp.Connection, error) {
	conf := amqp.Config{Vhost: s.config.Param("vhost", "/"), Dial: amqp.DefaultDial(askTime),
		Properties: amqp.Table{"connection_name": "recapito feed"}, SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "guest", Password: "guest"}}}
	address := url.URL{Scheme: "amqp", Host: host}
	if s.config.Secure {
		address.Scheme = "amqps"
		conf.TLSClientConfig = s.config.TLS.Clone() // DialConfig writes the host's name into it
	}
	switch {
	case s.config.User != "":
		conf.SASL = []amqp.Authentication{&amqp.PlainAuth{Username: s.config.User, Password: s.config.Password}}
	case s.config.TLS != nil && len(s.config.TLS.Certificates) > 0:
		conf.SASL = []amqp.Authentication{&amqp.ExternalAuth{}}
	}
	conn, err := amqp.DialConfig(address.String(), conf)
	if err != nil {
		return nil, err // what it returns beside an error cannot be used
	}
	return conn, nil
}

// consume looks whether the queues are there, and begins to read.
func (s *Source) consume() (err error) {
	for _, queue := range []string{s.config.Path, s.config.DeadLetter} {
		if s.out, err = s.conn.Channel(); err != nil {
			return err
		}
		_, err := s.out.QueueDeclarePassive(queue, true, false, false, false, nil)
		if refused, ok := errors.AsType[*amqp.Error](err); ok && refused.Code == amqp.NotFound {
			text := fmt.Sprintf("there is no queue %s in the virtual host %s", queue, s.config.Param("vhost", "/"))
			if s.found { // RabbitMQ takes connections before it has its queues, when it starts again
				return errors.New(text)
			}
			return &broker.SetupError{Text: text}
		}
		if err != nil {
			return err
		}
	}
	s.found = true
	if err := s.out.Confirm(false); err != nil {
		return err
	}
	s.returned = s.out.NotifyReturn(make(chan amqp.Return, 1))
	if s.in, err = s.conn.Channel(); err != nil {
		return err
	}
	if err := s.in.Qos(s.config.Prefetch, 0, false); err != nil {
		return err
	}
	s.deliveries, err = s.in.Consume(s.config.Path, "", false, false, false, false, nil)
	return err
}

func message(d amqp.Delivery) *broker.Message {
	headers := make(map[string]string, len(d.Headers))
	for name, value := range d.Headers {
		headers[name] = fmt.Sprint(value)
	}
	m := &broker.Message{Body: d.Body, Subject: d.RoutingKey, Headers: headers, Time: d.Timestamp, Native: d,
		Place: fmt.Sprintf("%s, message id %q", d.RoutingKey, d.MessageId)}
	if d.MessageId != "" { // a queue has no numbers of its own
		m.Identity = "amqp/" + d.MessageId
	}
	return m
}

func native(m *broker.Message) amqp.Delivery { return m.Native.(amqp.Delivery) }

// Acknowledge implements [broker.Source].
func (s *Source) Acknowledge(_ context.Context, messages []*broker.Message) error {
	// They are the oldest of the channel.
	return native(messages[len(messages)-1]).Ack(true)
}

// Return implements [broker.Source]: the messages wait here.
func (s *Source) Return(_ context.Context, messages []*broker.Message) error {
	s.held = messages
	return nil
}

// DeadLetter implements [broker.Source].
func (s *Source) DeadLetter(ctx context.Context, m *broker.Message, why broker.Reason) error {
	if err := s.connect(); err != nil {
		return err
	}
	d := native(m)
	headers := amqp.Table{}
	maps.Copy(headers, d.Headers)
	for name, value := range why.Headers(m) {
		headers[name] = value
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	sent, err := s.out.PublishWithDeferredConfirmWithContext(ctx, "", s.config.DeadLetter, true, false, amqp.Publishing{
		Headers: headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: amqp.Persistent,
		CorrelationId: d.CorrelationId, MessageId: d.MessageId, Timestamp: d.Timestamp, Type: d.Type, AppId: d.AppId, Body: d.Body,
	})
	if err != nil {
		return err
	}
	kept, err := sent.WaitContext(ctx)
	if err != nil {
		return err
	}
	select {
	case r := <-s.returned: // before the confirmation
		return fmt.Errorf("the queue %s does not take it: %s", s.config.DeadLetter, r.ReplyText)
	default:
	}
	if !kept {
		return fmt.Errorf("the queue %s has not kept it", s.config.DeadLetter)
	}
	return nil
}

// Close implements [broker.Source].
func (s *Source) Close(context.Context) error {
	if s.conn == nil {
		return nil
	}
	return s.conn.CloseDeadline(time.Now().Add(askTime))
}
