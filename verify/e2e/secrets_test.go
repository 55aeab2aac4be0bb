package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const secretKey = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"

// keyFile makes a file that holds a key, or two.
func keyFile(t *testing.T, name string, keys ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	writeKeys(t, file, keys...)
	return file
}

func writeKeys(t *testing.T, file string, keys ...string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The demo, too, hands its key to the service that it starts by a file.
func TestTheDemoHandsOverNoKeyInTheOpen(t *testing.T) {
	demo := exec.Command(build(t, false), "demo")
	demo.Env = append(os.Environ(), "RECAPITO_SECRET_KEY="+secretKey)
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = demo.Process.Signal(os.Interrupt)
		_ = demo.Wait() // it was interrupted
	})
	var child string
	eventually(t, "the demo's service", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", demo.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			children, _ := os.ReadFile(thread) // it may have ended
			for pid := range strings.FieldsSeq(string(children)) {
				if command, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && strings.Contains(string(command), "\x00serve\x00") {
					child = pid
				}
			}
		}
		return child != ""
	})
	for _, what := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile("/proc/" + child + "/" + what)
		if err != nil || len(text) == 0 {
			t.Fatalf("the service's %s: %d bytes, %v", what, len(text), err)
		}
		if strings.Contains(string(text), "platform_") || strings.Contains(string(text), secretKey) {
			t.Errorf("the service's %s has a key:\n%s", what, text)
		}
	}
}

// Keys that are read from files, and what callers sent, are in nothing that others can
// read: neither in the command line nor in the environment of the process, nor in its log,
// its metrics, its profiles and its answers to requests that it refuses.
func TestNoKeyCanBeSeenFromOutside(t *testing.T) {
	bin, ca := build(t, false), newAuthority(t)
	to := newSink(t, ca)
	svc := launch(t, bin, filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file, "--log-level", "debug",
		"--platform-key-file", keyFile(t, "platform-key", platformKey), "--secret-key-file", keyFile(t, "secret-key", secretKey))
	key := svc.account("acc")
	const query = "token=canary-of-the-query"
	if code, answer := svc.api("POST", hook, key, callback(to.url("acc")+"?"+query)); code != 201 {
		t.Fatalf("POST: %d %s, want 201", code, answer)
	}
	feed(t, svc, 1, [][]string{{event("acc", "e1", "m1", "SENT")}})
	eventually(t, "the attempt in the log", func() bool { return strings.Contains(svc.log.String(), "ACKNOWLEDGED") })
	_, answer := svc.api("POST", hook+"/signing-secret", key, "")
	problems := svc.problems(key, query)
	seen := svc.seen()
	seen["its errors"] = problems
	for what, secret := range map[string]string{
		"platform key": platformKey, "secret key": secretKey, "API key": key, "signing secret": field(t, answer, "signingSecret"),
		"callback URL's query": "canary-of-the-query",
	} {
		for where, text := range seen {
			if strings.Contains(text, secret) {
				t.Errorf("the %s is in %s", what, where)
			}
		}
	}
	svc.terminate()
}

// seen is what others can see of the service: its command line, its environment, its log,
// and what its operations port tells in words.
func (s *service) seen() map[string]string {
	s.t.Helper()
	seen := map[string]string{"its log": s.log.String()}
	for _, what := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.cmd.Process.Pid, what))
		if err != nil || len(text) == 0 {
			s.t.Fatalf("the process's %s: %d bytes, %v", what, len(text), err)
		}
		seen["its "+what] = string(text)
	}
	for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/allocs?debug=1",
		"/debug/pprof/block?debug=1", "/debug/pprof/mutex?debug=1", "/debug/pprof/threadcreate?debug=1"} {
		code, text := get(s.t, s.ops+path)
		if code != 200 || text == "" {
			s.t.Fatalf("%s: %d, %d bytes, want 200 and some", path, code, len(text))
		}
		seen[path] = text
	}
	return seen
}
