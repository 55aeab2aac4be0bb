package command

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/recapito/recapito/dispatcher/signature"
	"github.com/recapito/recapito/gen/client"
)

// callback is one POST that a receiver got.
type callback struct {
	At        time.Time
	EventID   string
	Attempt   int
	Event     client.StatusEvent // zero if the body is not one
	Body      []byte
	Unproven  error // why it is not verified; nil: it is
	Duplicate bool  // acknowledged before
	Status    int   // the answer
}

// latency is the time since the platform handed the event in.
func (c *callback) latency() time.Duration { return c.At.Sub(c.Event.ReceivedAt) }

// errUnverified: there is nothing to verify with.
var errUnverified = errors.New("not verified")

// proof is GENUINE, FORGED or NOT_VERIFIED.
func (c *callback) proof() string {
	switch {
	case c.Unproven == nil:
		return "GENUINE"
	case errors.Is(c.Unproven, errUnverified):
		return "NOT_VERIFIED"
	}
	return "FORGED"
}

// receiver is an endpoint for callbacks, as an account would have one. It
// verifies, answers, and reports each callback. It answers forgeries with 401.
type receiver struct {
	// secrets are those of the webhook, present and previous; asked for each
	// callback. The error, if there are none, is an [errUnverified].
	secrets func() ([][]byte, error)
	// answer chooses the status of the answer to the nth callback, from 1.
	answer func(nth int) int
	// delay goes before every answer.
	delay time.Duration
	// saw is told of each callback on arrival, one at a time.
	saw func(callback)

	mu           sync.Mutex // guards what follows, and calls of saw
	received     int
	verified     int
	duplicates   int
	acknowledged map[string]bool // event ids
	answers      map[int]int     // how often each status was given; 0: the caller had left
}

func newReceiver(secrets func() ([][]byte, error), answer func(nth int) int, saw func(callback)) *receiver {
	return &receiver{
		secrets: secrets, answer: answer, saw: saw,
		acknowledged: make(map[string]bool), answers: make(map[int]int),
	}
}

// callbackLimit is four times what a callback's body may have.
const callbackLimit = 64 << 10

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
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
	c := callback{At: time.Now(), EventID: req.Header.Get("webhook-id"), Body: body}
	c.Attempt, _ = strconv.Atoi(req.Header.Get("webhook-attempt"))
	if json.Unmarshal(body, &c.Event) != nil {
		c.Event = client.StatusEvent{}
	}
	c.Unproven = r.verify(req.Header, body, c.At)
	r.arrive(&c)
	r.reply(w, req, c.Status)
}

func (r *receiver) verify(header http.Header, body []byte, now time.Time) error {
	secrets, err := r.secrets()
	if err != nil {
		return err
	}
	return signature.Verify(secrets, header, body, now)
}

// arrive counts the callback and decides the answer.
func (r *receiver) arrive(c *callback) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.received++
	c.Status = r.answer(r.received)
	switch {
	case c.Unproven == nil:
		r.verified++
	case !errors.Is(c.Unproven, errUnverified):
		c.Status = http.StatusUnauthorized
	}
	if c.Duplicate = r.acknowledged[c.EventID]; c.Duplicate {
		r.duplicates++
	}
	if c.Status/100 == 2 {
		r.acknowledged[c.EventID] = true
	}
	r.saw(*c)
}

// reply waits, unless the caller leaves or the receiver ends, and answers.
func (r *receiver) reply(w http.ResponseWriter, req *http.Request, status int) {
	if r.delay > 0 {
		timer := time.NewTimer(r.delay)
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

// serveHTTPS answers on l until ctx ends; everything has ended when it returns.
func serveHTTPS(ctx context.Context, l net.Listener, cert tls.Certificate, h http.Handler, complaints *log.Logger) error {
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
