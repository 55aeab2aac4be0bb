package brokers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/recapito/recapito/verify/rig"
)

// rabbit is a RabbitMQ server, Debian's, in a folder of its own; never as root.
type rabbit struct {
	t         *testing.T // until its end the server runs, whichever subtest restarts it
	dir, addr string
	secure    string // address of TLS, if it has one
	env       []string
	process   *process
}

// rabbitQueues are a queue of messages and one of dead letters.
type rabbitQueues struct {
	*rabbit
	queue, dead string
	published   int // messages
}

const rabbitServer = "/usr/lib/rabbitmq/bin/rabbitmq-server"

func newRabbit(t *testing.T) *rabbit {
	t.Helper()
	return newRabbitWith(t, nil)
}

// newRabbitWith speaks TLS as well, if there is an authority: with its certificate
// "broker", and with clients who have one of the authority, by which it knows them.
func newRabbitWith(t *testing.T, ca *authority) *rabbit {
	t.Helper()
	s := &rabbit{t: t, dir: openFolder(t)}
	ports := make([]string, 4)
	for i := range ports {
		// Erlang listens at every address, and rig.FreeAddr keeps one.
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, ports[i], _ = net.SplitHostPort(l.Addr().String())
		_ = l.Close()
	}
	s.addr = "127.0.0.1:" + ports[0]
	write(t, filepath.Join(s.dir, "password"), "guest\n")
	conf, plugins := "listeners.tcp.1 = "+s.addr+"\n", "[].\n"
	if ca != nil {
		s.secure = "127.0.0.1:" + ports[3]
		s.give("ca.pem", ca.file("ca.pem"))
		s.certify(ca)
		conf, plugins = conf+fmt.Sprintf(rabbitSecure, s.secure, s.dir), "[rabbitmq_auth_mechanism_ssl].\n"
	}
	write(t, filepath.Join(s.dir, "rabbitmq.conf"), conf)
	write(t, filepath.Join(s.dir, "plugins"), plugins)
	s.env = append(os.Environ(), "HOME="+s.dir, "RABBITMQ_NODENAME=recapito"+ports[0]+"@localhost", "RABBITMQ_CONFIG_FILE="+s.dir+"/rabbitmq.conf",
		"RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_MNESIA_BASE="+s.dir+"/mnesia", "RABBITMQ_LOG_BASE="+s.dir+"/log", "RABBITMQ_ENABLED_PLUGINS_FILE="+s.dir+"/plugins",
		"RABBITMQ_DIST_PORT="+ports[1], "ERL_EPMD_PORT="+ports[2], "ERL_EPMD_ADDRESS=127.0.0.1")
	s.own("", "rabbitmq.conf", "plugins")
	// Erlang's daemon of names would be started by the server, and outlive it.
	run(t, filepath.Join(s.dir, "epmd.log"), s.command("epmd", "-port", ports[2], "-address", "127.0.0.1"))
	s.start()
	return s
}

// rabbitSecure is the configuration of TLS: address and folder.
const rabbitSecure = `listeners.ssl.1 = %[1]s
ssl_options.cacertfile = %[2]s/ca.pem
ssl_options.certfile = %[2]s/broker.pem
ssl_options.keyfile = %[2]s/broker.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = common_name
`

const nobody = 65534

// own makes files of the folder the server's.
func (s *rabbit) own(files ...string) {
	s.t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	for _, file := range files {
		if err := os.Chown(filepath.Join(s.dir, file), nobody, nobody); err != nil {
			s.t.Fatal(err)
		}
	}
}

// give copies a file into the server's folder.
func (s *rabbit) give(name, from string) {
	s.t.Helper()
	write(s.t, filepath.Join(s.dir, name), string(must(os.ReadFile(from))))
	s.own(name)
}

// certify gives the server the authority's certificate "broker", from the next start on.
func (s *rabbit) certify(by *authority) {
	s.t.Helper()
	for _, name := range []string{"broker.pem", "broker.key"} {
		s.give(name, by.file(name))
	}
}

// openFolder is a folder that nobody reaches; that of a test is its user's alone.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "recapito-rabbitmq-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// command runs in a group of its own, as nobody if the tests are root's.
func (s *rabbit) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = s.dir, s.env, &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

func (s *rabbit) start() {
	s.process = run(s.t, filepath.Join(s.dir, "rabbitmq.log"), s.command(rabbitServer))
}

func (s *rabbit) restart() {
	s.process.kill()
	s.start()
}

// channel is one in confirm mode.
func (s *rabbit) channel(t *testing.T) *amqp.Channel {
	t.Helper()
	var conn *amqp.Connection
	var err error
	if late := rig.Await(limit, "RabbitMQ", func() bool {
		conn, err = amqp.Dial("amqp://guest:guest@" + s.addr)
		return err == nil
	}); late != nil {
		t.Fatalf("%v: %v (verify/brokers/tools.sh installs it)", late, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Confirm(false); err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *rabbit) queues(t *testing.T, name string, more amqp.Table) *rabbitQueues {
	t.Helper()
	c := s.channel(t)
	for queue, table := range map[string]amqp.Table{name: more, name + ".dead": nil} {
		if _, err := c.QueueDeclare(queue, true, false, false, false, table); err != nil {
			t.Fatal(err)
		}
	}
	return &rabbitQueues{rabbit: s, queue: name, dead: name + ".dead"}
}

func (s *rabbitQueues) flags() []string {
	return []string{"--from", "amqp://" + s.addr + "/" + s.queue, "--dead-letter", s.dead,
		"--broker-user", "guest", "--broker-password-file", filepath.Join(s.dir, "password")}
}

func (s *rabbitQueues) publish(t *testing.T, bodies, _ []string) {
	t.Helper()
	c := s.channel(t)
	var last *amqp.DeferredConfirmation
	for i, body := range bodies {
		var err error
		s.published++
		if last, err = c.PublishWithDeferredConfirm("", s.queue, true, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent, MessageId: fmt.Sprintf("%s-%d", s.queue, s.published), Headers: amqp.Table{"own": "header"}, Body: []byte(body),
		}); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 || i == len(bodies)-1 {
			if !last.Wait() {
				t.Fatal("a message was not kept")
			}
		}
	}
}

func (s *rabbitQueues) letters(t *testing.T, n int) (letters []letter) {
	t.Helper()
	c := s.channel(t)
	if err := rig.Await(limit, "dead letters", func() bool {
		q, err := c.QueueDeclarePassive(s.dead, true, false, false, false, nil)
		return err == nil && q.Messages >= n
	}); err != nil {
		t.Fatal(err)
	}
	for {
		d, found, err := c.Get(s.dead, false) // the end of the connection gives it back
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			break
		}
		headers := make(map[string]string)
		for name, value := range d.Headers {
			headers[name] = fmt.Sprint(value)
		}
		letters = append(letters, letter{string(d.Body), headers})
	}
	if err := c.Nack(0, true, true); err != nil && len(letters) > 0 {
		t.Fatal(err)
	}
	return letters
}

// TestRabbitMQ kills everything. One feeder is the queue's active consumer, the other
// stands by; or both share its messages, in no order.
func TestRabbitMQ(t *testing.T) {
	s := newRabbit(t)
	t.Run("killed", func(t *testing.T) {
		live(t, newWorld(t), s.queues(t, "killed", amqp.Table{"x-single-active-consumer": true}), true)
	})
	t.Run("shared", func(t *testing.T) { live(t, newWorld(t), s.queues(t, "shared", nil), false) })
	t.Run("dead letters", func(t *testing.T) { bury(t, newWorld(t), s.queues(t, "bad", nil)) })
	t.Run("mistakes", func(t *testing.T) {
		w, queues := newWorld(t), s.queues(t, "status", nil)
		flags := queues.flags()
		w.fails(t, "there is no queue absent in the virtual host /", append([]string{"--from", "amqp://" + s.addr + "/absent"}, flags[2:]...)...)
		w.fails(t, "there is no queue absent in the virtual host /", append(flags[:2:2], append([]string{"--dead-letter", "absent"}, flags[4:]...)...)...)
	})
}
