package command

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/recapito/recapito/command/broker"
	"github.com/recapito/recapito/command/broker/amqp"
	"github.com/recapito/recapito/command/broker/kafka"
	"github.com/recapito/recapito/command/broker/nats"
	"github.com/recapito/recapito/command/feed"
)

type feedCmd struct {
	From brokerAddress `required:"" env:"RECAPITO_FEED_FROM" placeholder:"URL" help:"Where the messages are: kafka://HOST:PORT/TOPIC?group=NAME, nats://HOST:PORT/STREAM?consumer=NAME&subject=FILTER or amqp://HOST:PORT/QUEUE?vhost=NAME. kafkas://, natss:// and amqps:// are by TLS. Several hosts have commas between."`
	Map  string        `type:"path" placeholder:"FILE" help:"Program in the language of jq that makes status events of a message. Default: each message is an event."`

	DeadLetter string   `required:"" placeholder:"NAME" help:"Topic, subject or queue that keeps what can never be handed in, with the reason in its headers. It must exist."`
	Drop       []string `placeholder:"REASON" help:"Acknowledge and forget what would be a dead letter for this reason, for example NO_WEBHOOK; repeatable. Default: none."`

	BrokerUser         string `placeholder:"NAME" help:"User at the broker. Default: none."`
	BrokerPassword     string `placeholder:"PASSWORD" help:"Password of --broker-user. Other users of the machine can see the command line: use the variable, or --broker-password-file."`
	BrokerPasswordFile string `type:"path" placeholder:"FILE" help:"File of that password. Default: broker-password in $$CREDENTIALS_DIRECTORY, if it is there."`
	BrokerCredentials  string `type:"path" placeholder:"FILE" help:"Credentials of a NATS user (.creds), in place of a password."`
	BrokerCA           string `name:"broker-ca" type:"path" placeholder:"FILE" help:"Certificate authorities (PEM) of the broker, beside the system's."`
	BrokerCert         string `type:"path" placeholder:"FILE" help:"Certificate (PEM) that this client shows to the broker."`
	BrokerKey          string `type:"path" placeholder:"FILE" help:"Private key (PEM) of --broker-cert."`

	Server string `default:"http://127.0.0.1:8080" placeholder:"URL" help:"The running server, its base path included. Default: ${default}."`
	platformKeyFlags
	Batch     int    `default:"500" env:"RECAPITO_FEED_BATCH" placeholder:"N" help:"Messages at a time, and events in a request, at most 1000. Default: ${default}."`
	OpsListen string `default:"127.0.0.1:9091" env:"RECAPITO_FEED_OPS_LISTEN" placeholder:"ADDR" help:"Address of /metrics, /livez and /readyz; keep it private. Default: ${default}."`

	logFlags
}

// Help is shown by feed --help.
func (feedCmd) Help() string {
	return `A message is acknowledged only when the server has its events on disk. What comes
again is known by its id, so that nothing is lost and nothing doubled. An event without
an id gets one made of where the message stands in the broker.

The map's input is the message: parsed, if it is a JSON object or array, else its text.
$message has its id, key, subject, headers and time. digest makes an id of anything:

  {id: ([.receipt, .stat] | digest), accountId: $message.headers.account,
   messageId: .ref, channel: "SMS", destination: .to, status: "DELIVERED",
   timestamp: $message.time}

A map may return nothing, or several events. SIGTERM finishes the messages under way.`
}

// brokerAddress is --from.
type brokerAddress struct{ broker.Address }

// UnmarshalText is called by the parser.
func (a *brokerAddress) UnmarshalText(text []byte) (err error) {
	a.Address, err = broker.ParseAddress(string(text))
	return err
}

// Validate is called by the parser.
func (c *feedCmd) Validate() error {
	switch {
	case c.Batch < 1 || c.Batch > feed.MostEvents:
		return fmt.Errorf("--batch %d: must be 1 to %d", c.Batch, feed.MostEvents)
	case (c.BrokerCert == "") != (c.BrokerKey == ""):
		return errors.New("--broker-cert and --broker-key go together")
	case !c.From.Secure && (c.BrokerCA != "" || c.BrokerCert != ""):
		return fmt.Errorf("--broker-ca and --broker-cert need TLS: %ss:// in place of %[1]s://", c.From.Scheme)
	case c.BrokerCredentials != "" && (c.From.Scheme != "nats" || c.BrokerUser != ""):
		return errors.New("--broker-credentials is for nats://, and in place of --broker-user")
	case c.From.Path == c.DeadLetter && c.DeadLetter != "" && c.From.Scheme != "nats":
		return fmt.Errorf("--dead-letter %s: dead letters would be read again", c.DeadLetter)
	}
	return checkServer(c.Server)
}

// Run feeds until ctx ends.
func (c *feedCmd) Run(ctx context.Context, std Streams) error {
	log := c.logger(std, c.LogLevel)
	f, err := c.feeder(log)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", c.OpsListen)
	if err != nil {
		return fmt.Errorf("--ops-listen: %w", err)
	}
	ops := &http.Server{Handler: f.Metrics.Handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = ops.Serve(l) // it ends by Close
	}()
	if f.Source, err = c.open(log); err == nil {
		log.Info("feeding", "version", version(), "from", c.From.Scheme, "path", c.From.Path, "ops", l.Addr())
		notify(log, "READY=1")
		err = f.Run(ctx)
		log.Info("stopped")
	}
	err = errors.Join(err, ops.Close())
	<-ended
	return err
}

// feeder reads the files that the flags name.
func (c *feedCmd) feeder(log *slog.Logger) (*broker.Feeder, error) {
	key, err := c.platformKey()
	if err != nil {
		return nil, err
	}
	program := "."
	if c.Map != "" {
		text, err := os.ReadFile(c.Map)
		if err != nil {
			return nil, fmt.Errorf("--map: %w", err)
		}
		program = string(text)
	}
	events, err := broker.NewMap(program)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("--map %s: %w", c.Map, err)}
	}
	post, err := feed.NewPoster(c.Server, key, 0)
	return &broker.Feeder{Map: events, Post: post, Most: c.Batch, Drop: c.Drop,
		Metrics: broker.NewMetrics(version(), builtCommit()), Logger: log}, err
}

// open opens the source that --from names.
func (c *feedCmd) open(log *slog.Logger) (broker.Source, error) {
	password, err := secret("broker-password", c.BrokerPassword, c.BrokerPasswordFile)
	if err != nil {
		return nil, err
	}
	if password != "" && c.BrokerUser == "" {
		return nil, &exitError{exitUsage, errors.New("--broker-password: whose? Give --broker-user as well")}
	}
	conf := broker.Config{Address: c.From.Address, User: c.BrokerUser, Password: password, Credentials: c.BrokerCredentials,
		DeadLetter: c.DeadLetter, Prefetch: 2 * c.Batch, Logger: log}
	if c.From.Secure {
		if conf.TLS, err = c.tls(); err != nil {
			return nil, err
		}
	}
	switch c.From.Scheme {
	case "kafka":
		return kafka.Open(conf)
	case "amqp":
		return amqp.Open(conf)
	default:
		return nats.Open(conf)
	}
}

func (c *feedCmd) tls() (*tls.Config, error) {
	roots, err := loadRoots("--broker-ca", c.BrokerCA)
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{RootCAs: roots}
	own, err := loadCertificate("--broker-cert", c.BrokerCert, c.BrokerKey)
	if own != nil {
		conf.Certificates = []tls.Certificate{*own}
	}
	return conf, err
}
