package egress_test

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// Linux drops what would connect to a full backlog, as a firewall does.
func TestConnectHangs(t *testing.T) {
	addr := fullBacklog(t)
	testConnectTimeout(t, "https://"+addr+"/", nil)
}

// fullBacklog returns the address at 127.0.0.2 of a socket that nobody accepts
// from and that takes no more connections.
func fullBacklog(t *testing.T) string {
	t.Helper()
	fd := must(syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0))
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 2}}); err != nil {
		t.Fatalf("bind: %v", err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatalf("listen: %v", err)
	}
	addr := fmt.Sprintf("127.0.0.2:%d", must(syscall.Getsockname(fd)).(*syscall.SockaddrInet4).Port)
	for range 8 {
		c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the backlog takes more than 8 connections, want it full")
	return ""
}
