package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

const (
	fileLimit    = 400 // file descriptors, of the service
	fileAccounts = 100
	fileRate     = 200 // events/s
	noFiles      = 10  // fewer than it always has open
	// drainAfter is how soon all is delivered once there are descriptors again.
	drainAfter = 2 * time.Second
)

// files: the service can open no file, for a while. Its own bounds keep clients
// from bringing that about; the operator, or the machine, still may.
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

// exhaust leaves the service no descriptor under load, waits a while, gives them
// back, and wants everything delivered, no endpoint blamed.
func (s *site) exhaust(e *exhaustion) error {
	load := s.load(rig.Feed{From: e.fed, Batch: 10, Clients: 8, Accounts: fileAccounts, PerSecond: fileRate})
	// Each of its clients has its connection by then.
	if err := rig.Await(time.Minute, "the load to be under way", func() bool { return load.accepted.Load() >= fileRate }); err != nil {
		return err
	}
	err := s.limitFiles(noFiles)
	if err == nil {
		err = rig.Await(time.Minute, "the service to be without descriptors", func() bool {
			u, err := rig.Measure(s.service.PID())
			return err != nil || u.OpenFiles >= noFiles
		})
	}
	time.Sleep(2*time.Second + rand.N(2*time.Second))
	c, countErr := s.sink.Counts(0)
	e.waited = max(e.waited, e.fed+int(load.accepted.Load())-c.Unique)
	freed := time.Now()
	freeErr := s.limitFiles(fileLimit)
	n, loadErr := load.end()
	e.fed += n
	if err := errors.Join(err, countErr, freeErr, loadErr); err != nil {
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

// limitFiles says how many files the running service may have open. Those that it
// has stay open, so that below their number it can open none.
func (s *site) limitFiles(n int) error {
	out, err := exec.Command("prlimit", "--pid", strconv.Itoa(s.service.PID()), fmt.Sprintf("--nofile=%d:%d", n, fileLimit)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("prlimit: %w: %s", err, out)
	}
	return nil
}
