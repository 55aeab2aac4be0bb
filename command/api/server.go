package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/recapito/recapito/gen/client"
)

// Server is a running server as an account calls it, or the platform.
type Server struct {
	*client.ClientWithResponses
	URL string
	key string // which key it is called with, and how to give another one
}

// callTimeout bounds a call, its answer included.
const callTimeout = 60 * time.Second

// ForAccount calls the server at a URL, its base path included, with an API key. A GET
// that is answered with 429 is made again when it may be.
func ForAccount(url, key string) (*Server, error) {
	return connect(url, Account(key), "API key: give another one with --api-key or RECAPITO_API_KEY, or log in again: recapito login")
}

// ForPlatform calls the server at a URL, as ForAccount does, with a platform key.
func ForPlatform(url, key string) (*Server, error) {
	return connect(url, Platform(key), "platform key: give another one with --platform-key-file or RECAPITO_PLATFORM_KEY")
}

func connect(url string, authenticate client.RequestEditorFn, key string) (*Server, error) {
	h := &patient{http.Client{
		Timeout:       callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the key would follow
	}}
	c, err := client.NewClientWithResponses(url, client.WithHTTPClient(h), client.WithRequestEditorFn(authenticate))
	if err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	return &Server{ClientWithResponses: c, URL: url, key: key}, nil
}

// Failed makes an error of a call without an answer, or with one that cannot be
// read.
func (s *Server) Failed(err error) error {
	switch _, ok := errors.AsType[*url.Error](err); {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case ok:
		return fmt.Errorf("%s cannot be reached: %w", s.URL, Plainly(err))
	}
	return fmt.Errorf("%s does not answer as Recapito does: %w; is it the right --server?", s.URL, err)
}

// Refused makes an error of an answer that is not the wanted one.
func (s *Server) Refused(r *http.Response, body []byte) error {
	switch code := CodeOf(body); {
	case r.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s refuses the %s", s.URL, s.key)
	case code == "" || code == client.ProblemCodePATHUNKNOWN:
		return fmt.Errorf("%s answered %s, not as Recapito does: --server is the server's URL with the base path of serve at its end", s.URL, r.Status)
	}
	return Answered(r, body)
}

// CodeOf is the code of a problem; empty: the text is none.
func CodeOf(body []byte) client.ProblemCode {
	if p := ProblemOf(body); p != nil {
		return p.Code
	}
	return ""
}

// ProblemOf is nil if the text is no problem.
func ProblemOf(body []byte) *client.Problem {
	var p client.Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return nil
	}
	return &p
}
