package prometheus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// client gives up before a test does.
var client = &http.Client{Timeout: 20 * time.Second}

// binary is built once, as it is released.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "recapito-alerts-")
	if err != nil {
		return "", err
	}
	return rig.Build(dir)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// site is a machine on which the package of Recapito is installed, as far as its runbooks
// see it: the paths are below a folder, and systemctl, journalctl and recapito-admin are
// stand-ins that act on one process.
type site struct {
	t        *testing.T
	dir      string // what stands for /
	api, ops string
	wrap     []string // before the command of the service
	env      []string
	clock    *rig.Clock // nil: the machine's

	mu      sync.Mutex // the process
	process *rig.Child

	sink     *sink
	way      *gate        // the proxy
	nameless *atomic.Bool // whether the name server fails
	fed      int          // events
}

const accounts = 10

func newSite(t *testing.T, settings ...string) *site {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: t.TempDir(), api: freeAddress(t), ops: freeAddress(t)}
	for _, d := range []string{"bin", "etc", "lib", "backup"} {
		s.must(os.Mkdir(filepath.Join(s.dir, d), 0o755))
	}
	s.write("etc/secret-key", strings.Repeat("0123456789abcdef", 4)+"\n")
	s.write("etc/platform-key", platformKey+"\n")
	s.write("etc/recapito.env", s.placed(strings.Join(append([]string{
		"RECAPITO_STORE=sqlite:/var/lib/recapito/recapito.db", "RECAPITO_SECRET_KEY_FILE=/etc/recapito/secret-key", "RECAPITO_PLATFORM_KEY_FILE=/etc/recapito/platform-key",
		"RECAPITO_LISTEN=127.0.0.1:8080", "RECAPITO_OPS_LISTEN=127.0.0.1:9090", "RECAPITO_ALLOW_NETWORK=127.0.0.0/8",
		"RECAPITO_RETRY_SCHEDULE=200ms,200ms,200ms,200ms,200ms,200ms,1s,1s,1s,1s,1s,1s,1s,1s,1s,1h",
	}, settings...), "\n")+"\n"))
	supervisor := httptest.NewServer(http.HandlerFunc(s.supervise))
	t.Cleanup(supervisor.Close)
	s.tool("recapito", `exec `+bin+` "$@"`)
	s.tool("sudo", `exec "$@"`)
	s.tool("recapito-admin", `exec `+bin+` --env-file=`+s.dir+`/etc/recapito.env "$@"`)
	s.tool("systemctl", `exec curl --fail-with-body -sS -X POST "`+supervisor.URL+`/$1"`)
	s.tool("journalctl", `exec tail -n 100 `+s.dir+`/log`)
	s.tool("update-ca-certificates", `exec true`)
	s.env = append(os.Environ(), "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	s.sink = s.newSink()
	t.Cleanup(s.stop)
	return s
}

const platformKey = "platform-key-of-the-alerts"

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) write(name, text string) {
	s.t.Helper()
	s.must(os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600))
}

func (s *site) tool(name, script string) {
	s.t.Helper()
	s.must(os.WriteFile(filepath.Join(s.dir, "bin", name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
}

// setting changes or adds one in recapito.env.
func (s *site) setting(name, value string) {
	s.t.Helper()
	text := regexp.MustCompile(`(?m)^`+name+`=.*\n`).ReplaceAllString(readFile(s.t, filepath.Join(s.dir, "etc/recapito.env")), "")
	s.write("etc/recapito.env", text+name+"="+value+"\n")
}

// placed puts the site's paths and addresses in place of those of the package.
func (s *site) placed(text string) string {
	return strings.NewReplacer("/var/lib/recapito", s.dir+"/lib", "/etc/recapito", s.dir+"/etc", "/backup", s.dir+"/backup",
		"127.0.0.1:8080", s.api, "127.0.0.1:9090", s.ops).Replace(text)
}

// supervise is what systemctl does.
func (s *site) supervise(w http.ResponseWriter, r *http.Request) {
	var err error
	switch r.URL.Path {
	case "/stop":
		s.stop()
	case "/start":
		err = s.start()
	case "/restart":
		s.stop()
		err = s.start()
	case "/reload":
		err = s.signal(syscall.SIGHUP)
	case "/show":
		_, _ = fmt.Fprintln(w, s.pid())
	case "/status":
		err = s.signal(0)
	default:
		err = errors.New("systemctl " + r.URL.Path + " is not known here")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (s *site) pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.PID()
}

func (s *site) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return errors.New("the service does not run")
	}
	return syscall.Kill(s.process.PID(), sig)
}

// start returns when the service answers.
func (s *site) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return nil
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append(append([]string{}, s.wrap...), filepath.Join(s.dir, "bin/recapito"), "serve", "--env-file="+s.dir+"/etc/recapito.env")
	if s.wrap == nil {
		bin, _ := binary() // not by the script: a clock goes with the process's first program
		args[0] = bin
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr, cmd.Env = log, append(os.Environ(), "SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=/nonexistent")
	if s.process, err = rig.Start(cmd, s.clock); err != nil {
		return err
	}
	exited := false
	late := rig.Await(time.Minute, "the service to answer", func() bool {
		select {
		case <-s.process.Exited():
			exited = true
			return true
		default:
		}
		resp, err := client.Get("http://" + s.ops + "/livez")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	})
	if exited {
		s.process = nil
		return errors.New("the service has ended: systemctl status recapito")
	}
	return late
}

func (s *site) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		_ = s.process.Stop() // how it ended is no matter
		s.process = nil
	}
}

// call makes a request with the platform key, for an account if there is one.
func (s *site) call(method, path, account, key, body string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.api+path, bytes.NewReader([]byte(body)))
	s.must(err)
	req.Header.Set("Authorization", "Bearer "+key)
	if account != "" {
		req.Header.Set("X-Account-Id", account)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func account(i int) string { return fmt.Sprint("acc", i) }

// register gives each account an endpoint.
func (s *site) register(url func(i int) string) {
	s.t.Helper()
	for i := range accounts {
		if code := s.call("PUT", "/accounts/"+account(i), "", platformKey, ""); code != http.StatusCreated {
			s.t.Fatalf("PUT account: %d", code)
		}
		if code := s.call("POST", "/webhooks/delivery-status", account(i), platformKey, fmt.Sprintf(`{"callbackUrl":%q}`, url(i))); code != http.StatusCreated {
			s.t.Fatalf("POST webhook: %d", code)
		}
	}
}

// feed hands in an event for each of n accounts and returns the status.
func (s *site) feed(key string, n int, name func(i int) string) int {
	s.t.Helper()
	events := make([]string, n)
	for i := range events {
		s.fed++
		events[i] = fmt.Sprintf(`{"id":"evt_%d","accountId":%q,"messageId":"msg_%d","channel":"SMS","destination":"+393401234567","status":"SENT","timestamp":"2026-11-20T10:30:00.000Z"}`,
			s.fed, name(i), s.fed)
	}
	return s.call("POST", "/events", "", key, `{"events":[`+strings.Join(events, ",")+`]}`)
}

// follow runs blocks of commands as a person at the machine would.
func (s *site) follow(text string) {
	s.t.Helper()
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		cmd := exec.CommandContext(s.t.Context(), "bash", "-euo", "pipefail", "-c", s.placed(block[1]))
		cmd.Dir, cmd.Env = s.dir, s.env
		if out, err := cmd.CombinedOutput(); err != nil {
			s.t.Fatalf("%v; the commands:\n%s\nprinted:\n%s\nlog:\n%s", err, cmd.Args[len(cmd.Args)-1], out, s.log())
		}
	}
}

// log is the end of the service's.
func (s *site) log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log")) // an aid
	return string(text[max(0, len(text)-4000):])
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := rig.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
