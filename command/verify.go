package command

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/recapito/recapito/command/receiver"
)

type verifyCmd struct {
	File string `arg:"" default:"-" help:"The body, byte for byte as it came; - is standard input. Default: ${default}."`

	Header  []string `short:"H" sep:"none" placeholder:"NAME:VALUE" help:"A header of the callback, as curl takes it; repeatable."`
	Request bool     `help:"The file is the whole request: its header, an empty line, the body."`
	Arrived moment   `placeholder:"TIME" help:"When it arrived: 2026-11-20T10:30:00Z, or how long ago, such as 90m. Default: now."`

	Secret     []receiver.Secret `placeholder:"whsec_…" help:"Signing secret to verify with; repeatable, for rotations."`
	SecretFile string            `type:"existingfile" placeholder:"FILE" help:"Verify with every whsec_… in this file, such as the saved answer of the registration."`

	JSON bool `name:"json" help:"Print JSON, one object a line. Its verification is GENUINE or FORGED, with a fault and a reason."`
}

// Help is shown by verify --help.
func (verifyCmd) Help() string {
	return `Says whether a callback is genuine, and if not why: a header is missing or malformed,
the time is off, the body was written anew by a parser or altered, or the secret is
another one. No server is asked, and nothing is sent.

  recapito verify body.json --secret-file webhook.json \
    -H 'webhook-id: evt_1' -H 'webhook-timestamp: 1795170602' \
    -H 'webhook-signature: v1,s+Szth…'

Ends with exit code 5 if it is not genuine.`
}

// Validate is called by the parser.
func (c *verifyCmd) Validate() error {
	if len(c.Secret) == 0 && c.SecretFile == "" {
		return errors.New("give the signing secret with --secret, RECAPITO_SECRET or --secret-file")
	}
	return nil
}

// Run judges one callback.
func (c *verifyCmd) Run(std Streams) error {
	secrets, err := (&receiver.Secrets{Given: c.Secret, File: c.SecretFile}).Now()
	if err != nil {
		return fmt.Errorf("there is no whsec_… in %s", c.SecretFile)
	}
	header, body, err := c.callback(std)
	if err != nil {
		return err
	}
	at := time.Now()
	if c.Arrived.at != nil {
		at = *c.Arrived.at
	}
	return c.report(std, receiver.Judge(secrets, header, body, at), len(secrets))
}

// callback reads what is to be verified.
func (c *verifyCmd) callback(std Streams) (http.Header, []byte, error) {
	text, err := c.read(std)
	if err != nil {
		return nil, nil, err
	}
	header, body := http.Header{}, text
	if c.Request {
		if header, body, err = splitRequest(text); err != nil {
			return nil, nil, err
		}
	}
	for _, h := range c.Header {
		name, value, found := strings.Cut(h, ":")
		if !found {
			return nil, nil, fmt.Errorf("--header %q: must be NAME: VALUE", name)
		}
		header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return header, body, nil
}

func (c *verifyCmd) read(std Streams) ([]byte, error) {
	if c.File == "-" {
		return io.ReadAll(std.In)
	}
	return os.ReadFile(c.File)
}

// splitRequest parts a request's text. What is after its Content-Length, such as an
// editor's line end, is left out.
func splitRequest(text []byte) (http.Header, []byte, error) {
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(text)))
	if first, err := r.ReadLine(); err != nil || !strings.Contains(first, " HTTP/") {
		return nil, nil, errors.New("--request: the first line must be that of a request, such as POST /status HTTP/1.1")
	}
	header, err := r.ReadMIMEHeader()
	if err != nil {
		return nil, nil, errors.New("--request: the header must be lines of the form NAME: VALUE, and end with an empty line")
	}
	body, err := io.ReadAll(r.R)
	if n, bad := strconv.Atoi(header.Get("Content-Length")); bad == nil && n >= 0 && n < len(body) {
		body = body[:n]
	}
	return http.Header(header), body, err
}

// report prints the judgement.
func (c *verifyCmd) report(std Streams, j receiver.Judgement, secrets int) (err error) {
	verification, reason := "GENUINE", j.Reason
	if j.Fault != "" {
		verification = "FORGED"
	} else if secrets > 1 {
		reason += fmt.Sprintf(", with secret %d of %d", j.Secret, secrets)
	}
	switch {
	case c.JSON:
		var text []byte
		text, err = json.Marshal(struct {
			Verification string         `json:"verification"`
			Fault        receiver.Fault `json:"fault,omitempty"`
			Reason       string         `json:"reason"`
		}{verification, j.Fault, reason})
		if err == nil {
			_, err = fmt.Fprintln(std.Out, string(text))
		}
	case j.Fault == "":
		_, err = fmt.Fprintf(std.Out, "genuine: %s\n", reason)
	}
	if err != nil || j.Fault == "" {
		return err
	}
	return &exitError{exitForged, fmt.Errorf("not genuine: %s", reason)}
}
