// Package rig is what the measurements and the fault tests share: the built
// binary as a process, a sink for its callbacks as another process, a feeder of
// events, and the kernel's figures about each. It leaves out what is measured
// (verify/bench) and what must hold (verify/faults).
package rig

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// PlatformKey is the platform's bearer key of every service that a rig starts.
const PlatformKey = "platform-key-of-the-rig"

// Build builds the binary as it is released into dir and returns its path. The caller may
// be of another module.
func Build(dir string) (string, error) {
	const module = "github.com/recapito/recapito"
	tree, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	bin := filepath.Join(dir, "recapito")
	cmd := exec.Command("go", "build", "-C", strings.TrimSpace(string(tree)), "-trimpath", "-o", bin, module)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

// Service is a running `recapito serve`.
type Service struct {
	*Child
	URL, Ops string
	LogFile  string
	client   *http.Client
}

// Options are what a rig's service may differ in from the defaults.
type Options struct {
	Bin      string
	Dir      string // of the database
	Store    string // its URL; default: an SQLite file in Dir
	LogFile  string // default: in Dir
	CA       string // file, for --callback-ca
	Flags    []string
	Listen   string // default: a free port
	WrapWith []string
	Clock    *Clock        // the process's own; default: the machine's
	Patience time.Duration // how long an answer may take; default: a minute
}

// Serve starts the binary at default settings and returns when it is ready.
func Serve(o Options) (*Service, error) {
	s, err := Launch(o)
	if err != nil {
		return nil, err
	}
	return s, s.AwaitReady(time.Minute)
}

// Launch starts the binary and does not wait for it.
func Launch(o Options) (*Service, error) {
	api, err := or(o.Listen, FreeAddr)
	if err != nil {
		return nil, err
	}
	ops, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	s := &Service{URL: "http://" + api, Ops: "http://" + ops, LogFile: cmp.Or(o.LogFile, filepath.Join(o.Dir, "serve.log")),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}, Timeout: cmp.Or(o.Patience, time.Minute)}}
	log, err := os.OpenFile(s.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	args := append(append([]string{}, o.WrapWith...), o.Bin, "serve", "--listen", api, "--ops-listen", ops,
		"--store", cmp.Or(o.Store, "sqlite:"+filepath.Join(o.Dir, "recapito.db")), "--platform-key", PlatformKey, "--allow-network", "127.0.0.0/8")
	if o.CA != "" {
		args = append(args, "--callback-ca", o.CA)
	}
	cmd := exec.Command(args[0], append(args[1:], o.Flags...)...)
	cmd.Stderr = log
	s.Child, err = Start(cmd, o.Clock)
	return s, err
}

func or(addr string, otherwise func() (string, error)) (string, error) {
	if addr != "" {
		return addr, nil
	}
	return otherwise()
}

// End stops the service, if there is one, and returns how it ended. If that, or
// err, is an error, it prints the last lines of the log on standard error.
func (s *Service) End(err error) error {
	if s == nil {
		return nil
	}
	stopped := s.Stop()
	if err != nil || stopped != nil {
		log, _ := os.ReadFile(s.LogFile) // an aid only
		lines := strings.Split(string(log), "\n")
		fmt.Fprintln(os.Stderr, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	return stopped
}

// AwaitReady polls /readyz.
func (s *Service) AwaitReady(limit time.Duration) error {
	exited := false
	late := Await(limit, "the service to be ready", func() bool {
		select {
		case <-s.Exited():
			exited = true
			return true
		default:
		}
		ready, err := s.Ready()
		return ready && err == nil
	})
	if exited {
		return errors.New("the service has ended instead of being ready")
	}
	return late
}

// Ready asks /readyz.
func (s *Service) Ready() (bool, error) {
	resp, err := s.client.Get(s.Ops + "/readyz")
	if err != nil {
		return false, err
	}
	return resp.StatusCode == http.StatusOK, resp.Body.Close()
}

// Await polls until the condition holds.
func Await(limit time.Duration, what string, condition func() bool) error {
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v in vain for %s", limit, what)
		}
	}
	return nil
}

// Call makes a request with a credential, "Bearer …" or an API key.
func (s *Service) Call(method, path, credential string, body []byte) (int, []byte, error) {
	req, err := http.NewRequest(method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if strings.HasPrefix(credential, "Bearer ") {
		req.Header.Set("Authorization", credential)
	} else {
		req.Header.Set("X-API-Key", credential)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// must is Call where one status is right.
func (s *Service) must(want int, method, path, credential string, body []byte) ([]byte, error) {
	code, answer, err := s.Call(method, path, credential, body)
	if err == nil && code != want {
		err = fmt.Errorf("%s %s: %d %s", method, path, code, answer)
	}
	return answer, err
}

const bearer = "Bearer " + PlatformKey

// Register provisions an account with a webhook and returns its API key.
func (s *Service) Register(account, callbackURL string) (string, error) {
	if _, err := s.must(http.StatusCreated, "PUT", "/accounts/"+account, bearer, nil); err != nil {
		return "", err
	}
	answer, err := s.must(http.StatusCreated, "POST", "/accounts/"+account+"/api-keys", bearer, nil)
	if err != nil {
		return "", err
	}
	var made struct{ Key string }
	if err := json.Unmarshal(answer, &made); err != nil {
		return "", err
	}
	_, err = s.must(http.StatusCreated, "POST", "/webhooks/delivery-status", made.Key, fmt.Appendf(nil, `{"callbackUrl":%q}`, callbackURL))
	return made.Key, err
}

// RegisterAll registers the accounts from to from+n and returns their API keys.
func (s *Service) RegisterAll(from, n int, url func(i int) string) ([]string, error) {
	keys := make([]string, n)
	errs := make([]error, 16)
	var workers sync.WaitGroup
	for w := range errs {
		workers.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				keys[i], errs[w] = s.Register(Account(from+i), url(from+i))
			}
		})
	}
	workers.Wait()
	return keys, errors.Join(errs...)
}

// Vitals are the figures that must not grow over time.
type Vitals struct{ RSS, OpenFiles, Goroutines int } // RSS in KiB

// Vitals reads them. The rig's own connections that are idle do not count.
func (s *Service) Vitals() (Vitals, error) {
	s.client.CloseIdleConnections()
	u, err := Measure(s.PID())
	if err != nil {
		return Vitals{}, err
	}
	goroutines, err := s.Metric("go_goroutines")
	return Vitals{u.RSS, u.OpenFiles, int(goroutines)}, err
}

// Metric reads one sample of /metrics, given with its labels; 0: there is none.
func (s *Service) Metric(sample string) (float64, error) {
	samples, err := s.Metrics()
	return samples[sample], err
}

// Metrics reads all samples of /metrics, by name and labels.
func (s *Service) Metrics() (map[string]float64, error) {
	resp, err := s.client.Get(s.Ops + "/metrics")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	samples := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if end := strings.LastIndexByte(line, ' '); end > 0 && line[0] != '#' {
			if samples[line[:end]], err = strconv.ParseFloat(line[end+1:], 64); err != nil {
				return nil, err
			}
		}
	}
	return samples, nil
}
