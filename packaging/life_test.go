package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// endpoint is example.com in the machine's network: a receiver at a public address,
// with a certificate that the machine trusts.
type endpoint struct {
	m           *machine
	binary, dir string
	secrets     string // file
	mu          sync.Mutex
	out         bytes.Buffer
	cmd         *exec.Cmd
}

// endpointAddress is a public one, and nowhere but on the machine's loopback.
const endpointAddress = "93.184.215.14"

func newEndpoint(m *machine, binary, secrets string) *endpoint {
	m.t.Helper()
	e := &endpoint{m: m, binary: binary, dir: m.t.TempDir(), secrets: secrets}
	if out, err := exec.Command("nsenter", "--target", m.pid, "--net", "ip", "address", "add", endpointAddress+"/32", "dev", "lo").CombinedOutput(); err != nil {
		m.t.Fatalf("ip: %v\n%s", err, out)
	}
	m.run("echo '" + endpointAddress + " example.com' >>/etc/hosts")
	e.start()
	m.put(filepath.Join(e.dir, "ca.pem"), "usr/local/share/ca-certificates/example.crt")
	m.run("update-ca-certificates >/dev/null")
	return e
}

// Write takes what the receiver prints.
func (e *endpoint) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.out.Write(p)
}

func (e *endpoint) printed() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.out.String()
}

func (e *endpoint) start() {
	e.m.t.Helper()
	e.cmd = exec.Command("nsenter", "--target", e.m.pid, "--net", e.binary, "listen", "--json",
		"--receiver", endpointAddress+":443", "--host", "example.com", "--ca-file", filepath.Join(e.dir, "ca.pem"), "--secret-file", e.secrets)
	e.cmd.Stdout, e.cmd.Stderr = e, e
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.cmd.Start(); err != nil {
		e.m.t.Fatal(err)
	}
	e.m.t.Cleanup(e.stop)
	eventually(e.m.t, "the receiver", func() bool { return strings.Contains(e.printed(), "https://") })
}

func (e *endpoint) stop() {
	if e.cmd.ProcessState == nil {
		_ = e.cmd.Process.Signal(os.Interrupt)
		_ = e.cmd.Wait()
	}
}

// got tells whether a genuine callback with the text in it has arrived.
func (e *endpoint) got(text string) bool {
	for line := range strings.Lines(e.printed()) {
		var c struct{ Verification string }
		if strings.Contains(line, text) && json.Unmarshal([]byte(line), &c) == nil && c.Verification == "GENUINE" {
			return true
		}
	}
	return false
}

// fiveCommands are those of the README.
func fiveCommands(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)\n## Five commands\n.*?\n```sh\n(.*?)```").FindSubmatch(readme)
	if block == nil {
		t.Fatal("README.md has no section Five commands")
	}
	if got := bytes.Count(block[1], []byte("\n")); got != 5 {
		t.Errorf("the section Five commands has %d", got)
	}
	return string(block[1])
}

// event is a status event that the platform feeds.
func event(id string) string {
	return fmt.Sprintf(`{"accountId":"acc_1","id":"%s","messageId":"msg_%[1]s","channel":"SMS","status":"SENT","timestamp":"2026-01-29T08:00:00Z","destination":"+391234567890"}`, id)
}

// The package on a fresh Debian: the README's five commands bring the first callback;
// then it is upgraded with data and work in it, removed and purged.
func TestPackageLife(t *testing.T) {
	release := built(t)
	old := packageOf(t, "deb", "0.9.0")
	m := boot(t)
	answers := filepath.Join(m.dir, "root", "answers")
	example := newEndpoint(m, unpacked(t, release), answers)

	// Five commands.
	m.put(old, "root/")
	m.run("exec >answers; " + fiveCommands(t))
	eventually(t, "the first callback", func() bool { return example.got(`"TEST"`) })

	// What was installed.
	m.want("stat -c '%U:%G %a' /etc/recapito /etc/recapito/recapito.env /etc/recapito/secret-key /var/lib/recapito",
		"root:recapito 750\nroot:recapito 640\nroot:recapito 640\nrecapito:recapito 700")
	m.want("systemctl show recapito -P Type -P ActiveState -P UnitFileState", "notify\nactive\nenabled")
	m.want("stat -c %U /proc/$(systemctl show recapito -P MainPID)", "recapito")
	m.run("systemd-analyze security --no-pager --threshold=15 recapito.service")
	m.run("systemd-analyze verify recapito.service")
	m.run("systemctl reload recapito")
	eventually(t, "the reload", func() bool {
		return strings.Contains(m.run("journalctl --no-pager -u recapito"), "the configuration was reloaded")
	})

	// Data, and a delivery that waits.
	feed := func(id string) { m.run("echo '" + event(id) + "' | recapito-admin send -") }
	feed("evt_before")
	eventually(t, "an event's callback", func() bool { return example.got("evt_before") })
	example.stop()
	feed("evt_waits")
	m.run("echo '# kept' >>/etc/recapito/recapito.env")
	pid := m.run("systemctl show recapito -P MainPID")

	// The upgrade.
	m.put(deb(t, release), "root/new.deb")
	m.run("apt-get install -qy ./new.deb")
	if now := m.run("systemctl show recapito -P MainPID"); now == pid || now == "0" {
		t.Errorf("after the upgrade process %s runs, before it %s did: want another one", now, pid)
	}
	m.want("grep -c kept /etc/recapito/recapito.env", "1")
	m.run("recapito deliveries evt_before | grep -q DELIVERED")
	example.start()
	eventually(t, "the callback that waited", func() bool { return example.got("evt_waits") })

	// No key is in the journal.
	m.want("journalctl -u recapito | grep -c -f /etc/recapito/secret-key -f /etc/recapito/platform-key || true", "0")

	// Removed, the data stays; purged, nothing does.
	m.run("apt-get remove -qy recapito")
	m.want("systemctl show recapito -P LoadState -P ActiveState; ls /var/lib/recapito/recapito.db /etc/recapito/secret-key",
		"not-found\ninactive\n/etc/recapito/secret-key\n/var/lib/recapito/recapito.db")
	m.run("apt-get purge -qy recapito")
	m.want("ls -d /var/lib/recapito /etc/recapito 2>/dev/null || true", "")
}
