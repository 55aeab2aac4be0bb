// Package kafka reads a topic of Apache Kafka as a member of a consumer group.
//
// It promises the order of each partition, and offsets that are committed before a
// partition goes to another member. It leaves out transactions of its own: what comes
// again is known by its id. What a transaction of others has aborted is not read.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/recapito/recapito/command/broker"
)

// Source is a [broker.Source].
type Source struct {
	config broker.Config
	client *kgo.Client
	found  bool              // the topics
	held   []*broker.Message // given back, in order

	mu    sync.Mutex
	owned map[int32]struct{} // the partitions of this member
}

const (
	pollTime = 2 * time.Second  // how long a wait for messages takes
	askTime  = 15 * time.Second // of a question to the brokers
	// A member that is killed keeps its partitions from the others for so long.
	sessionTime = 15 * time.Second
)

// Open connects later.
func Open(c broker.Config) (*Source, error) {
	s := &Source{config: c, owned: make(map[int32]struct{})}
	options := []kgo.Opt{
		kgo.SeedBrokers(c.Hosts...), kgo.ClientID("recapito-feed"),
		kgo.ConsumeTopics(c.Path), kgo.ConsumerGroup(c.Param("group", "recapito")), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// A partition leaves when what was polled is committed, or waits for the server.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, all map[string][]int32) { s.own(all[c.Path]) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, all map[string][]int32) { s.disown(all[c.Path]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, all map[string][]int32) { s.disown(all[c.Path]) }),
		kgo.SessionTimeout(sessionTime), kgo.RecordDeliveryTimeout(askTime),
	}
	if c.Secure {
		options = append(options, kgo.DialTLSConfig(c.TLS))
	}
	if c.User != "" {
		switch mechanism := c.Param("sasl", "scram-sha-512"); mechanism {
		case "plain":
			options = append(options, kgo.SASL(plain.Auth{User: c.User, Pass: c.Password}.AsMechanism()))
		case "scram-sha-256":
			options = append(options, kgo.SASL(scram.Auth{User: c.User, Pass: c.Password}.AsSha256Mechanism()))
		case "scram-sha-512":
			options = append(options, kgo.SASL(scram.Auth{User: c.User, Pass: c.Password}.AsSha512Mechanism()))
		default:
			return nil, fmt.Errorf("sasl=%s: must be plain, scram-sha-256 or scram-sha-512", mechanism)
		}
	}
	var err error
	s.client, err = kgo.NewClient(options...)
	return s, err
}

func (s *Source) own(partitions []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range partitions {
		s.owned[p] = struct{}{}
	}
}

func (s *Source) disown(partitions []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range partitions {
		delete(s.owned, p)
	}
}

// ours are the messages whose partition is still this member's. The others are read from
// the last commit by who has it now.
func (s *Source) ours(messages []*broker.Message) []*broker.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(messages), func(m *broker.Message) bool {
		_, ours := s.owned[native(m).Partition]
		return !ours
	})
}

func native(m *broker.Message) *kgo.Record { return m.Native.(*kgo.Record) }

// Receive implements [broker.Source].
func (s *Source) Receive(ctx context.Context, most int) ([]*broker.Message, error) {
	if err := s.find(ctx); err != nil {
		return nil, err
	}
	held := s.ours(s.held)
	s.held = nil
	if len(held) > 0 {
		return held, nil
	}
	s.client.AllowRebalance()
	short, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	fetches := s.client.PollRecords(short, most)
	var messages []*broker.Message
	fetches.EachRecord(func(r *kgo.Record) { messages = append(messages, message(r)) })
	if len(messages) > 0 {
		return messages, nil
	}
	s.client.AllowRebalance()
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) {
			return nil, fmt.Errorf("partition %d: %w", e.Partition, e.Err)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	asked, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return nil, s.client.Ping(asked)
}

func message(r *kgo.Record) *broker.Message {
	headers := make(map[string]string, len(r.Headers))
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	return &broker.Message{
		Body: r.Value, Key: string(r.Key), Subject: r.Topic, Headers: headers, Time: r.Timestamp, Native: r,
		Place: fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset),
		// A topic that was made anew begins with 0 again, at another time.
		Identity: fmt.Sprintf("kafka/%s/%d/%d/%d", r.Topic, r.Partition, r.Offset, r.Timestamp.UnixMilli()),
	}
}

// find looks, the first time, whether the topics are there.
func (s *Source) find(ctx context.Context) error {
	if s.found {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	ask := kmsg.NewPtrMetadataRequest()
	for _, topic := range []string{s.config.Path, s.config.DeadLetter} {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = new(topic)
		ask.Topics = append(ask.Topics, t)
	}
	answer, err := ask.RequestWith(ctx, s.client)
	if err != nil {
		return s.config.Explained(err)
	}
	for _, t := range answer.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		if t.Topic != nil && (errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.InvalidTopicException)) {
			return &broker.SetupError{Text: fmt.Sprintf("there is no topic %s, or this user may not see it", *t.Topic)}
		}
		if err != nil {
			return err
		}
	}
	s.found = true
	return nil
}

// Acknowledge implements [broker.Source]: it commits the offsets.
func (s *Source) Acknowledge(ctx context.Context, messages []*broker.Message) error {
	defer s.client.AllowRebalance()
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var records []*kgo.Record
	for _, m := range s.ours(messages) {
		records = append(records, native(m))
	}
	return s.client.CommitRecords(ctx, records...)
}

// Return implements [broker.Source]: the messages wait here. Meanwhile partitions may go
// to other members.
func (s *Source) Return(_ context.Context, messages []*broker.Message) error {
	s.held = messages
	s.client.AllowRebalance()
	return nil
}

// DeadLetter implements [broker.Source].
func (s *Source) DeadLetter(ctx context.Context, m *broker.Message, why broker.Reason) error {
	r := native(m)
	letter := &kgo.Record{Topic: s.config.DeadLetter, Key: r.Key, Value: r.Value, Headers: slices.Clone(r.Headers)}
	for name, value := range why.Headers(m) {
		letter.Headers = append(letter.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	return s.client.ProduceSync(ctx, letter).FirstErr()
}

// Close implements [broker.Source]: it leaves the group.
func (s *Source) Close(context.Context) error {
	s.client.CloseAllowingRebalance()
	return nil
}
