package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/recapito/recapito/store"
)

// service is a `recapito serve` of our own, in a process of its own.
type service struct {
	api, ops    string // URLs
	platformKey string
	cmd         *exec.Cmd
	logFile     string
	exited      chan struct{} // closed when the process is gone
	failure     error         // of the process; read after exited
}

// startService returns when the service is ready. A service that it returns has
// to be stopped, whatever the error.
func startService(ctx context.Context, dir, storeURL, caFile string) (*service, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	s := &service{
		api: "http://" + ports[0], ops: "http://" + ports[1], platformKey: store.NewID("platform_"),
		logFile: filepath.Join(dir, "serve.log"), exited: make(chan struct{}),
	}
	keyFile := filepath.Join(dir, "platform-key")
	if err := os.WriteFile(keyFile, []byte(s.platformKey), 0o600); err != nil {
		return nil, err
	}
	s.cmd = exec.Command(binary, "serve", "--listen", ports[0], "--ops-listen", ports[1], "--store", storeURL,
		"--platform-key-file", keyFile, "--allow-network", "127.0.0.0/8", "--callback-ca", caFile)
	s.cmd.Env = withoutOurs(os.Environ())
	if err := s.spawn(); err != nil {
		return nil, err
	}
	return s, s.waitReady(ctx)
}

// errNotStarted: the service ended by itself before it was ready. The error has
// its output.
var errNotStarted = errors.New("recapito serve does not start")

// withoutOurs drops the variables that would change how serve behaves.
func withoutOurs(environ []string) []string {
	return slices.DeleteFunc(environ, func(v string) bool { return strings.HasPrefix(v, "RECAPITO_") })
}

// spawn starts the process and the goroutine that waits for its end.
func (s *service) spawn() error {
	f, err := os.Create(s.logFile)
	if err != nil {
		return err
	}
	s.cmd.Stdout, s.cmd.Stderr = f, f
	err = errors.Join(s.cmd.Start(), f.Close())
	if err != nil {
		return fmt.Errorf("start recapito serve: %w", err)
	}
	go func() {
		s.failure = s.cmd.Wait()
		close(s.exited)
	}()
	return nil
}

// waitReady polls /readyz.
func (s *service) waitReady(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.ready(ctx) {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.exited:
			lines := strings.Split(strings.TrimSpace(s.logged()), "\n")
			return fmt.Errorf("%w: %s", errNotStarted, strings.TrimPrefix(lines[len(lines)-1], "recapito: "))
		case <-ctx.Done():
			return errors.New("recapito serve did not become ready")
		}
	}
}

func (s *service) ready(ctx context.Context) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.ops+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// stopTimeout is longer than the service's own limit for finishing work.
const stopTimeout = 25 * time.Second

// stop ends the process, first by SIGTERM, and returns when it is gone. It can
// be repeated.
func (s *service) stop() error {
	_ = s.cmd.Process.Signal(os.Interrupt) // it may be gone
	if !s.gone(stopTimeout) {
		_ = s.cmd.Process.Kill() // it may be gone
		<-s.exited
	}
	if s.failure != nil {
		return fmt.Errorf("recapito serve: %w", s.failure)
	}
	return nil
}

// gone reports whether the process has ended within the limit.
func (s *service) gone(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.exited:
		return true
	case <-timer.C:
		return false
	}
}

// logged is what the service has written.
func (s *service) logged() string {
	text, err := os.ReadFile(s.logFile)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// freePorts returns addresses of this machine on which nobody listens now.
func freePorts(n int) ([]string, error) {
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // at the end, so that each is another
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}
