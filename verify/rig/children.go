package rig

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// roleVariable makes a process of the program itself one of the rig's children.
const roleVariable = "RECAPITO_RIG_ROLE"

// RunChild does a child's work, if this process is one, and ends it. It is the
// first thing that a program with a rig calls.
func RunChild() {
	var err error
	switch os.Getenv(roleVariable) {
	case "":
		return
	case "sink":
		err = sinkMain()
	case "echo":
		err = echoMain()
	case "raw":
		err = rawMain()
	case "crowd":
		err = crowdMain()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

type sinkAddress struct {
	Port    int
	Control string
	CA      []byte
}

// Sink is a running sink.
type Sink struct {
	*Child
	CA      string // file
	address sinkAddress
}

// StartSink starts one that keeps its authority's certificate in dir.
func StartSink(dir string) (*Sink, error) {
	s := &Sink{CA: filepath.Join(dir, "ca.pem")}
	var err error
	if s.Child, err = spawn("sink", &s.address); err != nil {
		return nil, err
	}
	return s, os.WriteFile(s.CA, s.address.CA, 0o600)
}

// spawn starts a role in a process of its own, and decodes what it says of
// itself first.
func spawn(role string, greeting any) (*Child, error) {
	cmd, err := child(role)
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c, err := start(cmd)
	if err != nil {
		return nil, err
	}
	if err := json.NewDecoder(out).Decode(greeting); err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	return c, nil
}

func child(role string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// Endpoint is the callback URL of the i-th receiver: each has an address of
// its own in 127.0.0.0/8.
func (s *Sink) Endpoint(behaviour string, i int) string {
	return fmt.Sprintf("https://%s:%d/%s/%d", endpointHost(i), s.address.Port, behaviour, i)
}

func endpointHost(i int) string { return fmt.Sprintf("127.%d.%d.%d", 1+i/62500, i/250%250, 1+i%250) }

// Issue lets the sink make the certificates of its receivers from to from+n, so
// that it does not while something is measured.
func (s *Sink) Issue(from, n int) error {
	return s.post("/issue", url.Values{"from": {strconv.Itoa(from)}, "n": {strconv.Itoa(n)}})
}

// Named is the callback URL of one whose name the caller resolves, to any
// address of loopback.
func (s *Sink) Named(behaviour, host string, i int) string {
	return fmt.Sprintf("https://%s:%d/%s/%d", host, s.address.Port, behaviour, i)
}

// Counts asks what has arrived since the last [Sink.Clear]; events below upto
// that never arrived at all are missing.
func (s *Sink) Counts(upto int) (Counts, error) {
	var c Counts
	resp, err := http.Get(s.address.Control + "/counts?upto=" + strconv.Itoa(upto))
	if err != nil {
		return c, err
	}
	defer func() { _ = resp.Body.Close() }()
	return c, json.NewDecoder(resp.Body).Decode(&c)
}

// AwaitUnique waits for n different events since the last clear.
func (s *Sink) AwaitUnique(n int, limit time.Duration) (Counts, error) {
	var c Counts
	var err error
	late := Await(limit, fmt.Sprintf("%d events at the sink", n), func() bool {
		c, err = s.Counts(0)
		return err != nil || c.Unique >= n
	})
	if err == nil && late != nil {
		err = fmt.Errorf("%w: %d came", late, c.Unique)
	}
	return c, err
}

// Repeats are the arrivals, since the last call, of events that had arrived
// before.
func (s *Sink) Repeats() (repeats []Repeat, err error) {
	resp, err := http.Post(s.address.Control+"/repeats", "", nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return repeats, json.NewDecoder(resp.Body).Decode(&repeats)
}

// Quiet returns when the sink has read what a process sent before it was
// killed: when nothing has arrived for a while.
func (s *Sink) Quiet() error {
	const while = 50 * time.Millisecond
	for last := -1; ; time.Sleep(while) {
		c, err := s.Counts(0)
		if err != nil || c.Arrivals+c.Refused == last {
			return err
		}
		last = c.Arrivals + c.Refused
	}
}

// Clear begins a new count.
func (s *Sink) Clear() error { return s.post("/clear", nil) }

// OpenGate lets those at [Gate] in, or not.
func (s *Sink) OpenGate(open bool) error {
	return s.post("/gate", url.Values{"open": {strconv.FormatBool(open)}})
}

func (s *Sink) post(path string, form url.Values) error {
	resp, err := http.PostForm(s.address.Control+path, form)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}
