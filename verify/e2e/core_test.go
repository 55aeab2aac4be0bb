//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// A crash leaves no core file, in which there would be the keys, even where the limits
// allow one and Go is asked for it. What it prints has no key in it either.
func TestACrashLeavesNoKeyBehind(t *testing.T) {
	dir := t.TempDir()
	wrapped := filepath.Join(dir, "wrapped")
	script := fmt.Sprintf("#!/bin/sh\ncd %s\nulimit -S -c \"$(ulimit -H -c)\"\nexport GOTRACEBACK=crash\nexec %s \"$@\"\n", dir, build(t, false))
	if err := os.WriteFile(wrapped, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t)
	to := newSink(t, ca)
	svc := launch(t, wrapped, filepath.Join(dir, "recapito.db"), "--callback-ca", ca.file,
		"--platform-key-file", keyFile(t, "platform-key", platformKey), "--secret-key-file", keyFile(t, "secret-key", secretKey))
	key := svc.account("acc")
	svc.register(to, "acc", key)
	feed(t, svc, 1, [][]string{{event("acc", "e1", "m1", "SENT")}})
	eventually(t, "the callback", func() bool { return to.count("acc") > 0 })

	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", svc.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^Max core file size +0 +0 `).Match(limits) {
		t.Errorf("its limits, want a core file of 0 bytes at most:\n%s", limits)
	}
	if err := svc.cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	svc.exited <- <-svc.exited
	if status, ok := svc.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGABRT {
		t.Errorf("it ended with %v, want SIGABRT", svc.cmd.ProcessState)
	}
	if cores, err := filepath.Glob(filepath.Join(dir, "core*")); err != nil || len(cores) > 0 {
		t.Errorf("it left %q, %v, want no core file", cores, err)
	}
	said := svc.log.String()
	if !strings.Contains(said, "SIGABRT") {
		t.Errorf("it said, want where it was:\n%s", said)
	}
	for what, secret := range map[string]string{"platform key": platformKey, "secret key": secretKey, "API key": key} {
		if strings.Contains(said, secret) {
			t.Errorf("what it printed has the %s", what)
		}
	}
}
