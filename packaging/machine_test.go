package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

// eventually polls until done says so.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain for %s", patience, what)
		}
	}
}

// machine is a fresh Debian that has booted in namespaces of its own: systemd is its
// process 1, and its network is a loopback that nothing else has.
type machine struct {
	t   *testing.T
	dir string // its root
	pid string // of its process 1
}

// debian is the root of a fresh Debian with what the smallest variant lacks beside a
// usual one. It is made once and kept.
func debian(t *testing.T) string {
	t.Helper()
	file, err := filepath.Abs("../.cache/debian.tar")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err == nil {
		return file
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("mmdebstrap", "--variant=minbase", "--include=systemd-sysv,ca-certificates,openssl,sudo",
		"bookworm", file+".part.tar").CombinedOutput()
	if err := errors.Join(err, os.Rename(file+".part.tar", file)); err != nil {
		t.Fatalf("mmdebstrap: %v\n%s", err, out)
	}
	return file
}

// boot returns when the machine is up.
func boot(t *testing.T) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("the packages are tested in namespaces, which only root can make")
	}
	m := &machine{t: t, dir: filepath.Join(t.TempDir(), "debian")}
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xpf", debian(t), "--numeric-owner", "-C", m.dir).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	nspawn := exec.Command("systemd-nspawn", "--quiet", "--directory="+m.dir, "--boot", "--private-network",
		"--register=no", "--keep-unit", "--console=pipe", "--resolv-conf=off")
	var console bytes.Buffer
	nspawn.Stdout, nspawn.Stderr = &console, &console
	nspawn.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := nspawn.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- nspawn.Wait() }()
	t.Cleanup(func() { m.shutDown(nspawn, exited) })
	eventually(t, "the machine's process 1", func() bool {
		select {
		case err := <-exited:
			t.Fatalf("systemd-nspawn: %v\n%s", err, console.String())
		default:
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", nspawn.Process.Pid))
		m.pid = strings.TrimSpace(string(children))
		return err == nil && m.pid != "" && !strings.Contains(m.pid, " ")
	})
	eventually(t, "the machine to boot", func() bool {
		out, _ := m.command("systemctl is-system-running").Output() // says degraded by its exit code, too
		state := strings.TrimSpace(string(out))
		return state == "running" || state == "degraded"
	})
	return m
}

// shutDown ends the machine, in order if it can.
func (m *machine) shutDown(nspawn *exec.Cmd, exited <-chan error) {
	_ = m.command("systemctl --force poweroff").Run()
	select {
	case <-exited:
	case <-time.After(patience):
		_ = nspawn.Process.Kill()
		<-exited
	}
}

// command is a script that root runs on the machine.
func (m *machine) command(script string) *exec.Cmd {
	return exec.Command("nsenter", "--target", m.pid, "--all", "--", "env", "-i", "HOME=/root", "LANG=C.UTF-8",
		"DEBIAN_FRONTEND=noninteractive", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "bash", "-euo", "pipefail", "-c", "cd; "+script)
}

// run returns what the script printed on standard output, and fails the test if the
// script fails.
func (m *machine) run(script string) string {
	m.t.Helper()
	var stderr bytes.Buffer
	cmd := m.command(script)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		journal, _ := m.command("journalctl --no-pager -n 30 -u recapito").Output()
		m.t.Fatalf("%s: %v\n%s%s\nthe journal:\n%s", script, err, out, stderr.String(), journal)
	}
	return strings.TrimSpace(string(out))
}

// want fails the test if the script prints something else.
func (m *machine) want(script, want string) {
	m.t.Helper()
	if got := m.run(script); got != want {
		m.t.Errorf("%s: %q, want %q", script, got, want)
	}
}

// put copies a file to the machine.
func (m *machine) put(file, to string) {
	m.t.Helper()
	if out, err := exec.Command("cp", file, filepath.Join(m.dir, to)).CombinedOutput(); err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
}
