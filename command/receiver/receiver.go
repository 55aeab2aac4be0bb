// Package receiver is an endpoint for callbacks, for development. It listens with a
// certificate of its own authority, verifies each callback, answers as it is told to,
// and shows what arrived. It promises that a forged callback is never answered with
// 2xx. It keeps nothing of a callback but its id.
package receiver

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/recapito/recapito/dispatcher/signature"
	"github.com/recapito/recapito/gen/client"
)

// Callback is one POST that a receiver got.
type Callback struct {
	At        time.Time
	EventID   string
	Attempt   int
	Event     client.StatusEvent // zero if the body is not one
	Body      []byte
	Unproven  error // why it is not verified; nil: it is
	Duplicate bool  // acknowledged before
	Status    int   // the answer
}

// Latency is the time since the platform handed the event in.
func (c *Callback) Latency() time.Duration { return c.At.Sub(c.Event.ReceivedAt) }

// ErrUnverified is returned when there is nothing to verify with.
var ErrUnverified = errors.New("not verified")

// proof is GENUINE, FORGED or NOT_VERIFIED.
func (c *Callback) proof() string {
	switch {
	case c.Unproven == nil:
		return "GENUINE"
	case errors.Is(c.Unproven, ErrUnverified):
		return "NOT_VERIFIED"
	}
	return "FORGED"
}

// Config says how a receiver behaves.
type Config struct {
	// Secrets are those of the webhook, present and previous; asked for each
	// callback. The error, if there are none, is an [ErrUnverified].
	Secrets func() ([][]byte, error)
	// Answer chooses the status of the answer to the nth callback, from 1.
	Answer func(nth int) int
	// Delay goes before every answer. Default: none.
	Delay time.Duration
	// Saw is told of each callback on arrival, one at a time.
	Saw func(Callback)
}

// Receiver verifies, answers, and reports each callback. It answers forgeries with
// 401.
type Receiver struct {
	Config

	mu           sync.Mutex // guards what follows, and calls of Saw
	received     int
	verified     int
	duplicates   int
	acknowledged map[string]bool // event ids
	answers      map[int]int     // how often each status was given; 0: the caller had left
}

// New returns the handler of one endpoint.
func New(cfg Config) *Receiver {
	return &Receiver{Config: cfg, acknowledged: make(map[string]bool), answers: make(map[int]int)}
}

// callbackLimit is four times what a callback's body may have.
const callbackLimit = 64 << 10

func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "callbacks are POSTed", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, callbackLimit))
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	c := Callback{At: time.Now(), EventID: req.Header.Get("webhook-id"), Body: body}
	c.Attempt, _ = strconv.Atoi(req.Header.Get("webhook-attempt"))
	if json.Unmarshal(body, &c.Event) != nil {
		c.Event = client.StatusEvent{}
	}
	c.Unproven = r.verify(req.Header, body, c.At)
	r.arrive(&c)
	r.reply(w, req, c.Status)
}

func (r *Receiver) verify(header http.Header, body []byte, now time.Time) error {
	secrets, err := r.Secrets()
	if err != nil {
		return err
	}
	return signature.Verify(secrets, header, body, now)
}

// arrive counts the callback and decides the answer.
func (r *Receiver) arrive(c *Callback) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.received++
	c.Status = r.Answer(r.received)
	switch {
	case c.Unproven == nil:
		r.verified++
	case !errors.Is(c.Unproven, ErrUnverified):
		c.Status = http.StatusUnauthorized
	}
	if c.Duplicate = r.acknowledged[c.EventID]; c.Duplicate {
		r.duplicates++
	}
	if c.Status/100 == 2 {
		r.acknowledged[c.EventID] = true
	}
	r.Saw(*c)
}

// reply waits, unless the caller leaves or the receiver ends, and answers.
func (r *Receiver) reply(w http.ResponseWriter, req *http.Request, status int) {
	if r.Delay > 0 {
		timer := time.NewTimer(r.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-req.Context().Done():
			status = 0
		}
	}
	r.mu.Lock()
	r.answers[status]++
	r.mu.Unlock()
	if status != 0 {
		w.WriteHeader(status)
	}
}

// Summary says in one line how all callbacks ended.
func (r *Receiver) Summary() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var answers []string
	for _, status := range slices.Sorted(maps.Keys(r.answers)) {
		name := strconv.Itoa(status)
		if status == 0 {
			name = "none (cut short)"
		}
		answers = append(answers, fmt.Sprintf("%s × %d", name, r.answers[status]))
	}
	if len(answers) == 0 {
		answers = []string{"none"}
	}
	return fmt.Sprintf("received %d, verified %d, duplicates %d; answers: %s",
		r.received, r.verified, r.duplicates, strings.Join(answers, ", "))
}

// Serve answers on l until ctx ends; everything has ended when it returns.
func Serve(ctx context.Context, l net.Listener, cert tls.Certificate, h http.Handler, complaints *log.Logger) error {
	s := &http.Server{
		Handler:           h,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          complaints,
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if s.Shutdown(grace) != nil {
			_ = s.Close()
		}
	})
	err := s.ServeTLS(l, "", "")
	if !stop() {
		<-closed
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
