package brokers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/recapito/recapito/verify/rig"
)

// kafkaServer is a server of Apache Kafka, broker and controller in one.
type kafkaServer struct {
	t               *testing.T // until its end the server runs, whichever subtest restarts it
	dir, addr, conf string
	process         *process
	client          *kgo.Client
}

// kafkaTopics are a topic of messages and one of dead letters.
type kafkaTopics struct {
	*kafkaServer
	topic, dead string
}

const kafkaJars = "../../.cache/kafka/libs/*"

func newKafka(t *testing.T) *kafkaServer {
	t.Helper()
	return newKafkaWith(t, "", "")
}

// newKafkaWith has more listeners, and more in its configuration.
func newKafkaWith(t *testing.T, listeners, more string) *kafkaServer {
	t.Helper()
	s := &kafkaServer{t: t, dir: t.TempDir()}
	s.conf = filepath.Join(s.dir, "conf")
	controller, err := rig.FreeAddr()
	if err == nil {
		s.addr, err = rig.FreeAddr()
	}
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.conf, fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s%[4]s
log.dirs=%[3]s/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
`, s.addr, controller, s.dir, listeners)+more)
	if out, err := s.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", s.conf).CombinedOutput(); err != nil {
		t.Fatalf("the storage of Kafka (verify/brokers/tools.sh installs it): %v\n%s", err, out)
	}
	s.start()
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(s.addr)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	return s
}

func (s *kafkaServer) java(class string, args ...string) *exec.Cmd {
	cmd := exec.Command("java", append([]string{"-Xmx512m", "-cp", kafkaJars, class}, args...)...)
	cmd.Env = append(os.Environ(), "JAVA_TOOL_OPTIONS=")
	return cmd
}

func (s *kafkaServer) start() {
	s.process = run(s.t, filepath.Join(s.dir, "kafka.log"), s.java("kafka.Kafka", s.conf))
}

func (s *kafkaServer) restart() {
	s.process.kill()
	s.start()
}

// topics makes two: one of four partitions for messages, one for dead letters.
func (s *kafkaServer) topics(t *testing.T, name string) *kafkaTopics {
	t.Helper()
	ask := kmsg.NewPtrCreateTopicsRequest()
	for topic, partitions := range map[string]int32{name: 4, name + ".dead": 1} {
		c := kmsg.NewCreateTopicsRequestTopic()
		c.Topic, c.NumPartitions, c.ReplicationFactor = topic, partitions, 1
		ask.Topics = append(ask.Topics, c)
	}
	var last error
	if err := rig.Await(limit, "topics", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		answer, err := ask.RequestWith(ctx, s.client)
		if last = err; err != nil {
			return false
		}
		for _, topic := range answer.Topics {
			if err := kerr.ErrorForCode(topic.ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
				last = err
			}
		}
		return last == nil
	}); err != nil {
		t.Fatalf("%v: %v", err, last)
	}
	return &kafkaTopics{s, name, name + ".dead"}
}

func (s *kafkaTopics) flags() []string {
	return []string{"--from", "kafka://" + s.addr + "/" + s.topic + "?group=" + s.topic, "--dead-letter", s.dead}
}

func (s *kafkaTopics) publish(t *testing.T, bodies, keys []string) {
	t.Helper()
	records := make([]*kgo.Record, len(bodies))
	for i, body := range bodies {
		records[i] = &kgo.Record{Topic: s.topic, Key: []byte(keys[i]), Value: []byte(body), Headers: []kgo.RecordHeader{{Key: "own", Value: []byte("header")}}}
	}
	if err := s.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func (s *kafkaTopics) letters(t *testing.T, n int) (letters []letter) {
	t.Helper()
	reader, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.ConsumeTopics(s.dead), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for deadline := time.Now().Add(limit); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		fetches := reader.PollFetches(ctx)
		cancel()
		fetches.EachRecord(func(r *kgo.Record) {
			headers := make(map[string]string)
			for _, h := range r.Headers {
				headers[h.Key] = string(h.Value)
			}
			letters = append(letters, letter{string(r.Value), headers})
		})
		if fetches.Empty() && len(letters) >= n {
			return letters
		}
		if time.Now().After(deadline) {
			t.Fatalf("dead letters: got %d, want %d", len(letters), n)
		}
	}
}

// TestKafka kills everything. Two feeders share the partitions.
func TestKafka(t *testing.T) {
	s := newKafka(t)
	t.Run("killed", func(t *testing.T) { live(t, newWorld(t), s.topics(t, "status.killed"), true) })
	t.Run("dead letters", func(t *testing.T) { bury(t, newWorld(t), s.topics(t, "status.bad")) })
	t.Run("mistakes", func(t *testing.T) {
		w, topics := newWorld(t), s.topics(t, "status")
		w.fails(t, "there is no topic status.dead.not", "--from", topics.flags()[1], "--dead-letter", "status.dead.not")
		w.fails(t, "there is no topic absent", "--from", "kafka://"+s.addr+"/absent", "--dead-letter", topics.dead)
	})
}
