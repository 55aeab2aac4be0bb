package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func rpmOf(t *testing.T, dir string) string {
	t.Helper()
	return one(t, dir, "*."+map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]+".rpm")
}

// The .rpm has the files of the .deb, with the same rights.
func TestRPM(t *testing.T) {
	list := command(t, "rpm", "-qp", "--queryformat", "[%{FILEMODES:perms} %{FILENAMES}\n]", rpmOf(t, built(t)))
	for _, want := range []string{
		"-rwxr-xr-x /usr/bin/recapito\n", "-rwxr-xr-x /usr/sbin/recapito-admin\n", "-rw-r--r-- /usr/lib/systemd/system/recapito.service\n",
		"drwxr-x--- /etc/recapito\n", "-rw-r----- /etc/recapito/recapito.env\n",
		"-rw-r--r-- /usr/share/recapito/prometheus/alerts.yaml\n", "-rw-r--r-- /usr/share/recapito/grafana/recapito.json\n",
		"-rw-r--r-- /usr/share/recapito/maps/twilio.jq\n",
	} {
		if !strings.Contains(list, want) {
			t.Errorf("the .rpm lacks %q:\n%s", want, list)
		}
	}
}

// The .rpm is installed, upgraded with the operator's changes in place, and removed, with
// its scripts, in the root of a machine that does not run. It is a Debian's: there are
// none of RPM's packages on which it depends, but all that they have.
func TestRPMLife(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("packages are installed by root alone")
	}
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, "tar", "-xpf", debian(t), "--numeric-owner", "-C", root)
	command(t, "rpm", "--root", root, "--initdb")
	rpm := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("rpm", append([]string{"--root", root, "--nodeps", "-v"}, args...)...).CombinedOutput(); err != nil || strings.Contains(string(out), "scriptlet failed") {
			t.Fatalf("rpm %q: %v\n%s", args, err, out)
		}
	}
	in := func(script string) string {
		t.Helper()
		return strings.TrimSpace(command(t, "chroot", root, "/bin/sh", "-c", script))
	}
	want := func(when, script, want string) {
		t.Helper()
		if got := in(script); got != want {
			t.Errorf("%s: %s: got %q, want %q", when, script, got, want)
		}
	}
	version := func(when, is string) {
		t.Helper()
		if got := in("recapito --version"); !strings.Contains(got, is) {
			t.Errorf("%s: %s, want version %s", when, got, is)
		}
	}
	const kept = "echo secret >/etc/recapito/secret-key; echo '# kept' >>/etc/recapito/recapito.env; echo data >/var/lib/recapito/recapito.db"

	rpm("-i", packageOf(t, "rpm", "0.9.0"))
	want("installed", "stat -c '%U:%G %a' /etc/recapito /etc/recapito/recapito.env /etc/recapito/secret-key /etc/recapito/platform-key /var/lib/recapito",
		"root:recapito 750\nroot:recapito 640\nroot:recapito 640\nroot:recapito 640\nrecapito:recapito 700")
	version("installed", "0.9.0")
	in(kept)

	rpm("-U", rpmOf(t, built(t)))
	if got := in("recapito --version"); strings.Contains(got, "0.9.0") {
		t.Errorf("upgraded: %s, want the version of the release", got)
	}
	const all = "cat /etc/recapito/secret-key /var/lib/recapito/recapito.db; grep -c kept /etc/recapito/recapito.env; stat -c %G /etc/recapito/recapito.env"
	want("upgraded", all, "secret\ndata\n1\nrecapito")

	rpm("-e", "recapito")
	want("removed", "ls /usr/bin/recapito /usr/lib/systemd/system/recapito.service 2>/dev/null || true", "")
	want("removed", "cat /etc/recapito/secret-key /var/lib/recapito/recapito.db; grep -c kept /etc/recapito/recapito.env.rpmsave", "secret\ndata\n1")
}
