package brokers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/recapito/recapito/verify/rig"
)

// natsServer is a NATS server with JetStream and a user.
type natsServer struct {
	t              *testing.T // until its end the server runs, whichever subtest restarts it
	bin, dir, addr string
	more           string // of its configuration
	process        *process
	js             jetstream.JetStream
}

// natsBinary is the built server, once for all tests.
var natsBinary = sync.OnceValues(func() (string, error) {
	bin, err := filepath.Abs("../../.cache/nats-server")
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

func newNATS(t *testing.T) *natsServer {
	t.Helper()
	return newNATSWith(t, "")
}

// newNATSWith has more in its configuration, and options of the test's own connection.
func newNATSWith(t *testing.T, more string, options ...nats.Option) *natsServer {
	t.Helper()
	s := &natsServer{t: t, dir: t.TempDir(), more: more}
	var err error
	if s.bin, err = natsBinary(); err != nil {
		t.Fatal(err)
	}
	if s.addr, err = rig.FreeAddr(); err != nil {
		t.Fatal(err)
	}
	s.demand(brokerPassword)
	write(t, filepath.Join(s.dir, "password"), brokerPassword+"\n")
	s.start()
	conn, err := nats.Connect("nats://"+s.addr, append(options, nats.UserInfo("feeder", brokerPassword), nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true), nats.ReconnectWait(50*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if s.js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	for name, subject := range map[string]string{"STATUS": "status.>", "DEAD": "dead"} {
		if err := rig.Await(limit, "JetStream", func() bool {
			_, err = s.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}})
			return err == nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// demand writes the configuration: the user has this password from the next start on.
func (s *natsServer) demand(password string) {
	s.t.Helper()
	conf := fmt.Sprintf("listen: %q\njetstream: {store_dir: %q}\nauthorization: {user: feeder, password: %q}\n", s.addr, s.dir, password)
	write(s.t, filepath.Join(s.dir, "conf"), conf+s.more)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *natsServer) start() {
	s.process = run(s.t, filepath.Join(s.dir, "nats.log"), exec.Command(s.bin, "-c", filepath.Join(s.dir, "conf")))
}

func (s *natsServer) restart() {
	s.process.kill()
	s.start()
}

func (s *natsServer) flags() []string {
	return []string{"--from", "nats://" + s.addr + "/STATUS", "--dead-letter", "dead",
		"--broker-user", "feeder", "--broker-password-file", filepath.Join(s.dir, "password")}
}

func (s *natsServer) publish(t *testing.T, bodies, keys []string) {
	t.Helper()
	for i, body := range bodies {
		m := &nats.Msg{Subject: "status." + keys[i], Data: []byte(body), Header: nats.Header{"own": {"header"}}}
		if _, err := s.js.PublishMsgAsync(m); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-s.js.PublishAsyncComplete():
	case <-time.After(limit):
		t.Fatal("the messages are not kept")
	}
}

func (s *natsServer) letters(t *testing.T, n int) (letters []letter) {
	t.Helper()
	stream, err := s.js.Stream(t.Context(), "DEAD")
	if err != nil {
		t.Fatal(err)
	}
	if err := rig.Await(limit, "dead letters", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs >= uint64(n)
	}); err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= stream.CachedInfo().State.LastSeq; i++ {
		m, err := stream.GetMsg(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		headers := make(map[string]string)
		for name, values := range m.Header {
			headers[name] = values[0]
		}
		letters = append(letters, letter{string(m.Data), headers})
	}
	return letters
}

// consumer makes one that hands over earlier than that of the feeder does.
func (s *natsServer) consumer(t *testing.T) {
	t.Helper()
	if _, err := s.js.CreateConsumer(t.Context(), "STATUS", jetstream.ConsumerConfig{
		Durable: "recapito", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Second, MaxDeliver: -1,
		PriorityPolicy: jetstream.PriorityPolicyPinned, PriorityGroups: []string{"any"}, PinnedTTL: 4 * time.Second,
	}); err != nil {
		t.Fatal(err)
	}
}

// TestNATS kills everything: one feeder works, the other stands by.
func TestNATS(t *testing.T) {
	w := newWorld(t)
	s := newNATS(t)
	s.consumer(t)
	live(t, w, s, true)
}

func TestNATSDeadLetters(t *testing.T) {
	w := newWorld(t)
	bury(t, w, newNATS(t))
}

// The consumer that the feeder makes keeps the order. A feeder that is stopped leaves its
// place to the other at once.
func TestNATSHandover(t *testing.T) {
	w := newWorld(t)
	s := newNATS(t)
	bodies, keys := traffic()
	one := w.feed(s.flags()...)
	one.awaitReady(t)
	s.publish(t, bodies[:100], keys)
	w.await(100)
	other := w.feed(s.flags()...)
	other.awaitReady(t)
	if err := one.stop(t); err != nil {
		t.Errorf("feed ended with %v, want no error", err)
	}
	began := time.Now()
	s.publish(t, bodies[100:], keys[100:])
	w.await(len(bodies))
	t.Logf("the other one took over after %v", time.Since(began))
	w.check(true)
	info, err := must(s.js.Consumer(t.Context(), "STATUS", "recapito")).Info(t.Context())
	if err != nil || info.NumRedelivered != 0 {
		t.Errorf("messages that came again: got %+v, %v, want none", info, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// What cannot work ends the feeder, and says what to do.
func TestNATSMistakes(t *testing.T) {
	w := newWorld(t)
	s := newNATS(t)
	for _, c := range []jetstream.ConsumerConfig{
		{Durable: "five", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 5},
		{Durable: "none", AckPolicy: jetstream.AckNonePolicy},
		{Durable: "all", AckPolicy: jetstream.AckExplicitPolicy},
	} {
		if _, err := s.js.CreateConsumer(t.Context(), "STATUS", c); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ path, dead, want string }{
		{"/ABSENT", "dead", "there is no stream ABSENT"},
		{"/STATUS", "nowhere", "no stream keeps the subject nowhere of dead letters: make one"},
		{"/STATUS?consumer=all", "status.dead", "would read the dead letters at status.dead again: keep them in another stream"},
		{"/STATUS?consumer=five", "dead", "must deliver without a limit"},
		{"/STATUS?consumer=none", "dead", "must have the acknowledgement policy explicit"},
		{"/STATUS?consumer=all&subject=status.a", "dead", `reads "", not "status.a"`},
	} {
		flags := s.flags()
		flags[1], flags[3] = "nats://"+s.addr+test.path, test.dead
		w.fails(t, test.want, flags...)
	}
}
