package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Config is what a source is opened with.
type Config struct {
	Address
	User, Password string // empty: none
	Credentials    string // file of NATS credentials
	TLS            *tls.Config
	DeadLetter     string // topic, subject or queue
	Prefetch       int    // messages that the broker may send ahead, where it asks
	Logger         *slog.Logger
}

// Explained adds to why there was no first connection what it may mean: a broker that
// demands a certificate ends the connection after the handshake, and not always with its
// reason.
func (c *Config) Explained(err error) error {
	if !c.Secure || len(c.TLS.Certificates) > 0 {
		return err
	}
	for _, sign := range []string{"remote error: tls: ", "connection reset by peer", "broken pipe", "EOF"} {
		if strings.Contains(err.Error(), sign) {
			return fmt.Errorf("%w; the broker may demand a certificate, --broker-cert", err)
		}
	}
	return err
}

// Address says which broker, and what to read there.
type Address struct {
	Scheme string   // kafka, nats or amqp
	Secure bool     // by TLS: kafkas, natss or amqps
	Hosts  []string // each with its port
	Path   string   // the topic, stream or queue
	params url.Values
}

// schemes are the brokers: what a path names there, the port, the parameters.
var schemes = map[string]struct {
	path, port, securePort string
	params                 []string
}{
	"kafka": {"topic", "9092", "9093", []string{"group", "sasl"}},
	"nats":  {"stream", "4222", "4222", []string{"consumer", "subject"}},
	"amqp":  {"queue", "5672", "5671", []string{"vhost"}},
}

// ParseAddress reads kafka://HOST:PORT,…/TOPIC?group=…, nats://…/STREAM or
// amqp://…/QUEUE. No error repeats a password.
func ParseAddress(text string) (Address, error) {
	scheme, rest, found := strings.Cut(text, "://")
	a := Address{Scheme: strings.TrimSuffix(scheme, "s")}
	if scheme == "nats" || scheme == "natss" {
		a.Scheme = "nats"
	}
	a.Secure = a.Scheme != scheme
	kind, known := schemes[a.Scheme]
	if !found || !known {
		return a, errors.New("must begin with kafka://, nats:// or amqp://; or with kafkas://, natss:// or amqps://, for TLS")
	}
	rest, query, _ := strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(rest, "/")
	if strings.Contains(hosts, "@") {
		return a, errors.New("must have no user and no password: give them with --broker-user and --broker-password-file")
	}
	port := kind.port
	if a.Secure {
		port = kind.securePort
	}
	var err error
	if a.Hosts, err = hostPorts(hosts, port); err != nil {
		return a, err
	}
	if a.Path, err = url.PathUnescape(path); err != nil || a.Path == "" || strings.Contains(path, "/") {
		return a, fmt.Errorf("must name the %s: %s://%s/%s", kind.path, scheme, hosts, strings.ToUpper(kind.path))
	}
	if a.params, err = url.ParseQuery(query); err != nil {
		return a, fmt.Errorf("the parameters cannot be read: %w", err)
	}
	for name, values := range a.params {
		if !slices.Contains(kind.params, name) || len(values) != 1 || values[0] == "" {
			return a, fmt.Errorf("the parameter %q: each of %s may stand once, with a value", name, strings.Join(kind.params, ", "))
		}
	}
	return a, nil
}

// hostPorts are the hosts of a list with commas, each with a port.
func hostPorts(list, port string) (hosts []string, err error) {
	for host := range strings.SplitSeq(list, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		if name, _, err := net.SplitHostPort(host); err != nil || name == "" {
			return nil, fmt.Errorf("%q is not HOST or HOST:PORT", host)
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}

// Param is the value of a parameter, or the default one.
func (a *Address) Param(name, otherwise string) string {
	if v := a.params.Get(name); v != "" {
		return v
	}
	return otherwise
}
