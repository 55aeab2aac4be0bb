package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/recapito/recapito/bench/rig"
)

const (
	fileLimit    = 400 // file descriptors, of the service
	fileAccounts = 100
	fileRate     = 200 // events/s
	// idlers are the clients that come, say something and stay: more than there
	// are descriptors, and no more than that can wait to be accepted anywhere.
	idlers = fileLimit + 50
	// drainAfter is how soon all is delivered once there are descriptors again.
	drainAfter = 2 * time.Second
)

// files: clients take all file descriptors of the service, for a while.
func files(l *lab) (found string, err error) {
	if err := needs("prlimit"); err != nil {
		return "", err
	}
	s, err := l.site(rig.Options{WrapWith: []string{"prlimit", fmt.Sprintf("--nofile=%d:%[1]d", fileLimit)}})
	if err != nil {
		return "", err
	}
	defer func() { err = s.end(err) }()
	if err := s.serve(); err != nil {
		return "", err
	}
	behaviour := []string{rig.OK, rig.Close} // the second ones must be dialled each time
	if err := s.register(fileAccounts, func(i int) string { return s.sink.Endpoint(behaviour[i%2], i) }); err != nil {
		return "", err
	}
	var e exhaustion
	rounds := l.rounds(50, 2)
	for i := range rounds {
		if err := s.exhaust(&e); err != nil {
			return "", fmt.Errorf("time %d: %w", i+1, err)
		}
	}
	if err := s.once(); err != nil {
		return "", err
	}
	found = fmt.Sprintf("%d times no descriptor of %d left, %d events, 0 lost, 0 repeats; up to %d waited, no attempt counted as failed to connect; all delivered at most %v after there were descriptors",
		rounds, fileLimit, e.fed, e.waited, e.recovery.Round(time.Millisecond))
	if e.recovery > drainAfter {
		err = l.late("all was delivered after %v, not within %v", e.recovery, drainAfter)
	}
	return found, err
}

// exhaustion is what was observed during the times without descriptors.
type exhaustion struct {
	fed      int
	waited   int           // events accepted and not delivered, at most
	recovery time.Duration // at most
}

// exhaust takes all descriptors under load, waits a while, gives them back, and
// wants everything delivered, no endpoint blamed.
func (s *site) exhaust(e *exhaustion) error {
	load := s.load(rig.Feed{From: e.fed, Batch: 10, Clients: 8, Accounts: fileAccounts, PerSecond: fileRate})
	// Each of its clients has its connection by then.
	if err := rig.Await(time.Minute, "the load to be under way", func() bool { return load.accepted.Load() >= fileRate }); err != nil {
		return err
	}
	free, err := s.crowdIn()
	if err != nil {
		return err
	}
	err = rig.Await(10*time.Second, "the service to be without descriptors", func() bool {
		u, err := rig.Measure(s.service.PID())
		return err != nil || u.OpenFiles >= fileLimit
	})
	time.Sleep(2*time.Second + rand.N(2*time.Second))
	c, countErr := s.sink.Counts(0)
	e.waited = max(e.waited, e.fed+int(load.accepted.Load())-c.Unique)
	freed := time.Now()
	free()
	n, loadErr := load.end()
	e.fed += n
	if err := errors.Join(err, countErr, loadErr); err != nil {
		return err
	}
	ended := time.Since(freed)
	if err := s.settle(e.fed, time.Minute); err != nil {
		return err
	}
	s.lab.detail("after the descriptors came back: fed to the end in %v, all delivered in %v", ended, time.Since(freed))
	e.recovery = max(e.recovery, time.Since(freed))
	if err := s.unharmed(load); err != nil {
		return err
	}
	for _, ours := range []string{"CONNECT_FAILED", "DNS_FAILED"} {
		if v := s.metric(`recapito_attempts_total{outcome="` + ours + `"}`); v != 0 {
			return fmt.Errorf("%v attempts ended as %s: a schedule was used up for what is not the endpoint's fault", v, ours)
		}
	}
	return nil
}

// crowdIn connects the idlers and returns what sends them away. Each makes a
// request, so that it may then stay for longer than one that says nothing.
func (s *site) crowdIn() (free func(), err error) {
	var all []net.Conn
	free = func() {
		for _, c := range all {
			_ = c.Close() // nothing is under way on it
		}
	}
	for range idlers {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.service.URL, "http://"))
		if err != nil {
			free()
			return nil, err
		}
		all = append(all, c)
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: recapito\r\n\r\n")); err != nil {
			free()
			return nil, err
		}
	}
	return free, nil
}
