//go:build unix

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// The service tells its supervisor that it is ready when it is, that it reloads, and
// that it stops when it begins to (sd_notify(3)).
func TestSupervisorIsTold(t *testing.T) {
	dir, err := os.MkdirTemp("", "") // a socket's path has 107 characters at most
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	next := func() string {
		t.Helper()
		if err := socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 256)
		n, err := socket.Read(b)
		if err != nil {
			t.Fatalf("nothing was told: %v", err)
		}
		return string(b[:n])
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"))
	if got, want := next(), "READY=1"; got != want {
		t.Errorf("the first that was told: %q, want %q", got, want)
	}
	if code, text := get(t, svc.ops+"/readyz"); code != 200 {
		t.Errorf("/readyz when READY=1 was told: %d %s, want 200", code, text)
	}
	if err := svc.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"RELOADING=1", "READY=1"} {
		if got := next(); got != want {
			t.Errorf("what was told of a reload: %q, want %q", got, want)
		}
	}
	if err := svc.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if got, want := next(), "STOPPING=1"; got != want {
		t.Errorf("what was told at the end: %q, want %q", got, want)
	}
}
