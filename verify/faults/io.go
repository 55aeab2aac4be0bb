package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// ioFault is a way in which system calls of the service fail; strace makes them.
type ioFault struct {
	name   string
	calls  string
	inject string
	always bool // nothing can be written meanwhile
}

var ioFaults = []ioFault{
	{"every sync fails", "fsync,fdatasync", "error=EIO", true},
	{"every write fails", "pwrite64", "error=EIO", true},
	{"a sync in three fails", "fsync,fdatasync", "error=EIO:when=2+3", false},
	{"a write in fifty fails", "pwrite64", "error=EIO:when=7+50", false},
}

// inputOutput: the disk fails to write and to sync, for a while.
func inputOutput(l *lab) (found string, err error) {
	if err := needs("strace"); err != nil {
		return "", err
	}
	s, err := l.site(rig.Options{Flags: retrySoon})
	if err != nil {
		return "", err
	}
	defer func() { err = s.end(err) }()
	if err := s.serve(); err != nil {
		return "", err
	}
	if err := s.register(killAccounts, func(i int) string { return s.sink.Endpoint(rig.Flaky, i) }); err != nil {
		return "", err
	}
	load := s.load(rig.Feed{Batch: killBatch, Clients: 8, Accounts: killAccounts, PerMessage: 3, PerSecond: 500})
	var o outage
	rounds := l.rounds(20, 1)
	for i := range rounds {
		for _, f := range ioFaults {
			if err := s.disturb(load, f, &o); err != nil {
				return "", fmt.Errorf("%s, time %d: %w", f.name, i+1, err)
			}
		}
	}
	n, err := s.finish(load)
	if err != nil {
		return "", err
	}
	if err := checkIntegrity(filepath.Join(s.dir, "recapito.db")); err != nil {
		return "", err
	}
	if err := s.once(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d × %d kinds of EIO, %d events, 0 lost, no false 202, integrity clean; %d refusals, all 503 with Retry-After; up to %.0f outcomes waited, 0 repeats; accepting again at most %v after the last error",
		rounds, len(ioFaults), n, o.refusals, o.unrecorded, o.recovery.Round(time.Millisecond)), nil
}

// disturb lets the service meet one fault for a while.
func (s *site) disturb(load *load, f ioFault, o *outage) error {
	refused := load.refused.Load()
	tracer, err := s.trace(f)
	if err != nil {
		return err
	}
	stop := func() error {
		_ = tracer.Process.Signal(os.Interrupt) // it detaches
		_ = tracer.Wait()                       // how it says that it was interrupted
		return nil
	}
	defer func() { _ = stop() }()
	if err := rig.Await(time.Minute, "events to be refused", func() bool { return load.refused.Load() > refused }); err != nil {
		return err
	}
	if !f.always {
		time.Sleep(2 * time.Second)
		return s.recover(load, o, stop)
	}
	time.Sleep(300 * time.Millisecond) // answers on their way
	accepted := load.accepted.Load()
	for range 10 {
		time.Sleep(150 * time.Millisecond)
		o.unrecorded = max(o.unrecorded, s.metric("recapito_unrecorded_outcomes"))
		if ready, err := s.service.Ready(); ready || err != nil {
			return fmt.Errorf("/readyz while nothing can be written: ready %v, %w", ready, err)
		}
	}
	if n := load.accepted.Load() - accepted; n > 0 {
		return fmt.Errorf("%d events got a 202 while nothing could be written", n)
	}
	return s.recover(load, o, stop)
}

// trace attaches strace to all threads of the service.
func (s *site) trace(f ioFault) (*exec.Cmd, error) {
	cmd := exec.Command("strace", "-f", "-p", strconv.Itoa(s.service.PID()), "-o", "/dev/null", "-e", "trace="+f.calls, "-e", "inject="+f.calls+":"+f.inject)
	said, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(said)
	if !lines.Scan() || !strings.Contains(lines.Text(), "attached with") {
		return nil, fmt.Errorf("%w: strace: %q: %w", errCannot, lines.Text(), cmd.Wait())
	}
	go func() {
		for lines.Scan() { // so that it does not block
			s.lab.detail("%s", lines.Text())
		}
	}()
	return cmd, nil
}
