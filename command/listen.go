package command

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/recapito/recapito/command/receiver"
	"github.com/recapito/recapito/command/terminal"
)

type listenCmd struct {
	Receiver string   `default:"127.0.0.1:8443" placeholder:"ADDR" help:"Address of the receiver. Default: ${default}."`
	Host     []string `placeholder:"NAME" help:"Another name or address for the certificate, beside localhost, 127.0.0.1 and ::1; repeatable."`
	CAFile   string   `name:"ca-file" default:"recapito-listen-ca.pem" placeholder:"FILE" help:"The certificate of the receiver's authority, for serve --callback-ca. If it does not exist, it is made, with its key in a .key file beside it. Default: ${default}."`

	Secret     []receiver.Secret `placeholder:"whsec_…" help:"Signing secret to verify with; repeatable, for rotations."`
	SecretFile string            `placeholder:"FILE" help:"Verify with every whsec_… in this file, such as the saved answer of the registration. The file is read for each callback and need not exist yet."`

	Fail   int           `default:"0" placeholder:"N" help:"Answer the first N callbacks with --status, the rest with 204."`
	Status int           `placeholder:"CODE" help:"The status of the failed answers; without --fail, of all answers. Default: 500 with --fail, else 204."`
	Delay  time.Duration `placeholder:"TIME" help:"Wait before every answer. An attempt ends after 10 s."`

	JSON bool `name:"json" help:"Print JSON, one object a line. Its verification is GENUINE, FORGED or NOT_VERIFIED, with a reason; event is the body."`
}

// Help is shown by listen --help.
func (listenCmd) Help() string {
	return `Each callback is printed as one line: time, event, message, channel, status, attempt,
latency since the event was handed in, answer, and whether its signature verified; on
a terminal without what does not fit. A callback whose signature does not verify is
answered with 401. Ctrl-C ends it with a summary.`
}

// Validate is called by the parser.
func (c *listenCmd) Validate() error {
	switch {
	case c.Fail < 0:
		return errors.New("--fail: must not be negative")
	case c.Status != 0 && (c.Status < 200 || c.Status > 599):
		return fmt.Errorf("--status %d: must be 200 to 599", c.Status)
	case c.Delay < 0:
		return errors.New("--delay: must not be negative")
	}
	return nil
}

// Run receives until ctx ends.
func (c *listenCmd) Run(ctx context.Context, std Streams) error {
	ca, replaced, err := receiver.KeepAuthority(c.CAFile, time.Now())
	if err != nil {
		return fmt.Errorf("--ca-file: %w", err)
	}
	cert, err := ca.Issue(append([]string{"localhost", "127.0.0.1", "::1"}, c.Host...), time.Now())
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", c.Receiver)
	if err != nil {
		return fmt.Errorf("--receiver: %w", err)
	}
	notes := log.New(std.Err, "", 0)
	if replaced {
		notes.Printf("The authority in %s was made anew: restart the service that trusts it.\n\n", c.CAFile)
	}
	c.greet(notes, l.Addr())
	r := receiver.New(receiver.Config{Secrets: c.secrets().Now, Answer: c.answer, Delay: c.Delay, Saw: c.printer(std)})
	err = receiver.Serve(ctx, l, cert, r, log.New(std.Err, "not received: ", 0))
	notes.Print(r.Summary())
	return err
}

func (c *listenCmd) secrets() *receiver.Secrets {
	return &receiver.Secrets{Given: c.Secret, File: c.SecretFile}
}

// greet prints what to do next.
func (c *listenCmd) greet(notes *log.Logger, at net.Addr) {
	url := c.url(at)
	notes.Printf(`Receiving at %s.
To send callbacks here, start the service with

    recapito serve --allow-network 127.0.0.0/8 \
      --callback-ca %s

and register this URL with the API key of an account:

    curl -f %s-H "X-API-Key: $KEY" -H 'Content-Type: application/json' \
      -d '{"callbackUrl":"%s"}' \
      http://127.0.0.1:8080/webhooks/delivery-status
`, url, c.CAFile, c.keep(), url)
	switch _, err := c.secrets().Now(); {
	case len(c.Secret) == 0 && c.SecretFile == "":
		notes.Print("\nNothing is verified without --secret or --secret-file.\n\n")
	case err != nil:
		notes.Printf("\nUntil then: %v.\nIf the URL is registered and its secret is lost, make a new one:\n\n    recapito webhook rotate --json >%s\n\n", err, c.SecretFile)
	}
}

// keep makes curl put the answer of the registration into the file.
func (c *listenCmd) keep() string {
	if c.SecretFile == "" {
		return ""
	}
	return "-o " + c.SecretFile + " "
}

// url is the receiver's URL, with the first name of the certificate that the
// service can be expected to reach.
func (c *listenCmd) url(at net.Addr) string {
	host, port, err := net.SplitHostPort(at.String())
	if err != nil {
		host, port = "localhost", "8443"
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	if len(c.Host) > 0 {
		host = c.Host[0]
	}
	return "https://" + net.JoinHostPort(host, port) + "/status"
}

// answer chooses the status of the answer to the nth callback.
func (c *listenCmd) answer(nth int) int {
	switch {
	case c.Fail > 0 && nth > c.Fail, c.Fail == 0 && c.Status == 0:
		return http.StatusNoContent
	case c.Status != 0:
		return c.Status
	}
	return http.StatusInternalServerError
}

// printer prints callbacks on standard output.
func (c *listenCmd) printer(std Streams) func(receiver.Callback) {
	out := log.New(std.Out, "", 0)
	if c.JSON {
		return func(cb receiver.Callback) { out.Print(string(cb.Record())) }
	}
	s := terminal.NewScreen(std.Out)
	return func(cb receiver.Callback) { out.Print(cb.Line(s, 0)) }
}
