// Package brokers runs `recapito feed` between real brokers and the real service, kills
// either, and counts what arrives: every event once, and each message's in order.
package brokers

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// limit is for what must come, on the slowest machine.
const limit = 3 * time.Minute

// binary is the built recapito, once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "recapito-brokers-")
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

// world is a service with one account, and what its endpoint got.
type world struct {
	t       *testing.T
	dir     string
	service *rig.Service
	serve   rig.Options

	mu     sync.Mutex
	times  map[string]int      // callbacks by event id
	events map[string][]string // descriptions by message id, in order of the first callback
	bodies map[string][]byte   // by event id
}

const account = "acc_1"

func newWorld(t *testing.T) *world {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir(), times: map[string]int{}, events: map[string][]string{}, bodies: map[string][]byte{}}
	sink := httptest.NewUnstartedServer(w)
	sink.Config.ErrorLog = log.New(io.Discard, "", 0)
	sink.StartTLS()
	t.Cleanup(sink.Close)
	ca := filepath.Join(w.dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sink.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	listen, err := rig.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.dir, "platform-key"), rig.PlatformKey)
	w.serve = rig.Options{Bin: bin, Dir: w.dir, CA: ca, Listen: listen}
	w.start()
	t.Cleanup(func() {
		if err := w.service.Stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	if _, err := w.service.Register(account, sink.URL); err != nil {
		t.Fatal(err)
	}
	return w
}

// start starts the service, at the same address each time.
func (w *world) start() {
	w.t.Helper()
	var err error
	if w.service, err = rig.Serve(w.serve); err != nil {
		w.t.Fatal(err)
	}
}

// ServeHTTP is the account's endpoint.
func (w *world) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var event struct{ EventID, MessageID, Description string }
	if err := json.Unmarshal(body, &event); err != nil {
		w.t.Errorf("a callback's body: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.times[event.EventID]++; w.times[event.EventID] == 1 {
		w.events[event.MessageID] = append(w.events[event.MessageID], event.Description)
		w.bodies[event.EventID] = body
	}
}

// count is how many events have arrived.
func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.times)
}

// await waits until so many have.
func (w *world) await(n int) {
	w.t.Helper()
	if err := rig.Await(limit, fmt.Sprintf("%d events", n), func() bool { return w.count() >= n }); err != nil {
		w.t.Fatalf("%v: %d have arrived", err, w.count())
	}
}

// The traffic of a test: the events of each message are numbered from 0.
const messages, eventsEach = 25, 40

// traffic is the events in the order in which the platform sends them, without ids; each
// with its message.
func traffic() (bodies, keys []string) {
	for n := range eventsEach {
		for m := range messages {
			bodies = append(bodies, fmt.Sprintf(`{"accountId":%q,"messageId":"m-%d","channel":"SMS","destination":"+393401234567","status":"SENT","description":"%d","timestamp":"2026-11-20T10:30:00Z"}`, account, m, n))
			keys = append(keys, fmt.Sprintf("m-%d", m))
		}
	}
	return bodies, keys
}

// settled waits until the service has nothing left to deliver.
func (w *world) settled() {
	w.t.Helper()
	if err := rig.Await(limit, "the backlog to be empty", func() bool {
		n, err := w.service.Metric("recapito_backlog")
		return err == nil && n == 0
	}); err != nil {
		w.t.Fatal(err)
	}
}

// check fails unless every event has arrived once, and in its message's order if that is
// promised.
func (w *world) check(inOrder bool) {
	w.t.Helper()
	w.settled()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got, want := len(w.times), messages*eventsEach; got != want {
		w.t.Errorf("events: got %d, want %d", got, want)
	}
	for id, n := range w.times {
		if n != 1 {
			w.t.Errorf("event %s: got %d callbacks, want 1", id, n)
		}
	}
	for message, got := range w.events {
		seen := make(map[string]bool)
		for i, n := range got {
			seen[n] = true
			if inOrder && n != fmt.Sprint(i) {
				w.t.Errorf("the order of %s: got %v, want 0 to %d", message, got, eventsEach-1)
				break
			}
		}
		if len(got) != eventsEach || len(seen) != eventsEach {
			w.t.Errorf("events of %s: got %d, %d of them different, want %d", message, len(got), len(seen), eventsEach)
		}
	}
}

// process is a program that the tests end.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
	log    string // file
}

// run starts a program; its output goes to a file.
func run(t *testing.T, logFile string, cmd *exec.Cmd) *process {
	t.Helper()
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, exited: make(chan struct{}), log: logFile}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			text, _ := os.ReadFile(logFile)
			lines := strings.Split(string(text), "\n")
			t.Logf("%s:\n%s", filepath.Base(logFile), strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	})
	return p
}

// kill is kill -9 of the program and what it started in its group.
func (p *process) kill() {
	if p.cmd.SysProcAttr != nil && p.cmd.SysProcAttr.Setpgid {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// stop asks for the end, and returns how it was.
func (p *process) stop(t *testing.T) error {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(limit):
		t.Fatal("the process has not ended")
	}
	return p.err
}

// feeder is a running `recapito feed`.
type feeder struct {
	*process
	ops string
}

// feed starts one with these flags.
func (w *world) feed(flags ...string) *feeder {
	w.t.Helper()
	ops, err := rig.FreeAddr()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(w.serve.Bin, append([]string{"feed", "--server", "http://" + w.serve.Listen, "--ops-listen", ops,
		"--platform-key-file", filepath.Join(w.dir, "platform-key")}, flags...)...)
	_, port, _ := strings.Cut(ops, ":")
	return &feeder{run(w.t, filepath.Join(w.dir, "feed-"+port+".log"), cmd), ops}
}

// fails starts one that ends by itself, and says why.
func (w *world) fails(t *testing.T, want string, flags ...string) {
	t.Helper()
	f := w.feed(flags...)
	select {
	case <-f.exited:
	case <-time.After(limit):
		t.Fatalf("%q: feed has not ended", flags)
	}
	log, err := os.ReadFile(f.log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	if last := lines[len(lines)-1]; f.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(last, want) {
		t.Errorf("%q: got exit code %d and %q, want 1 and %q", flags, f.cmd.ProcessState.ExitCode(), last, want)
	}
}

// get is the status and body of a path of the operator's.
func (f *feeder) get(path string) (int, string) {
	resp, err := http.Get("http://" + f.ops + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// awaitReady waits until it is.
func (f *feeder) awaitReady(t *testing.T) {
	t.Helper()
	var body string
	if err := rig.Await(limit, "/readyz to be 200", func() bool {
		var code int
		code, body = f.get("/readyz")
		return code == http.StatusOK
	}); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
}

// awaitOneOf waits until one of them is not ready, and says this.
func awaitOneOf(t *testing.T, says string, feeders ...*feeder) {
	t.Helper()
	if err := rig.Await(limit, "a feeder that is not ready: "+says, func() bool {
		return slices.ContainsFunc(feeders, func(f *feeder) bool {
			code, body := f.get("/readyz")
			return code == http.StatusServiceUnavailable && strings.Contains(body, says)
		})
	}); err != nil {
		t.Fatal(err)
	}
}
