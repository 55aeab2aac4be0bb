package tail

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/dispatcher/signature"
)

// Forwarder POSTs events to a program on this machine, as their callbacks are: with the
// same body, the same headers, and a signature.
type Forwarder struct {
	url, userAgent string
	secret         []byte
	client         *http.Client
}

// attemptTimeout is that of an attempt of the service.
const attemptTimeout = 10 * time.Second

// NewForwarder signs with a secret of its own: that of the webhook is shown only once.
func NewForwarder(url, userAgent string, secret []byte) *Forwarder {
	return &Forwarder{url: url, userAgent: userAgent, secret: secret, client: &http.Client{
		Timeout:       attemptTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // as in the service
	}}
}

// Answer is what came of it.
type Answer struct {
	Status int
	Took   time.Duration
	Err    error // why there was no answer
}

// Acknowledged reports whether it was a 2xx.
func (a Answer) Acknowledged() bool { return a.Err == nil && a.Status/100 == 2 }

// Forward POSTs an event once.
func (f *Forwarder) Forward(ctx context.Context, e Event) Answer {
	began := time.Now()
	status, err := f.post(ctx, e, began)
	return Answer{Status: status, Took: time.Since(began), Err: err}
}

func (f *Forwarder) post(ctx context.Context, e Event, now time.Time) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(e.Payload))
	if err != nil {
		return 0, err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": f.userAgent,
		"webhook-id": e.ID, "webhook-timestamp": strconv.FormatInt(now.Unix(), 10),
		"webhook-signature": signature.Sign(f.secret, e.ID, now, e.Payload), "webhook-attempt": "1",
	} {
		r.Header.Set(name, value)
	}
	resp, err := f.client.Do(r)
	if err != nil {
		err = api.Plainly(err)
		if why := errors.Unwrap(err); why != nil {
			err = why // without the address, which is known
		}
		return 0, err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // the connection is used again
	return resp.StatusCode, resp.Body.Close()
}

// KeepSecret is the text of the secret that is kept in a file, which only its owner may
// read. It is made if the file is not there.
func KeepSecret(file string) (string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return makeSecret(file)
	}
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	if _, err := signature.ParseSecret(secret); err != nil {
		return "", fmt.Errorf("%s: %w; remove it to have one made", file, err)
	}
	return secret, nil
}

func makeSecret(file string) (string, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	secret := signature.SecretPrefix + base64.StdEncoding.EncodeToString(key)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	return secret, os.WriteFile(file, []byte(secret+"\n"), 0o600)
}
