//go:build unix

package e2e

import (
	"syscall"
	"testing"
)

// wantFiles raises the number of files that this process may open; the service
// raises its own.
func wantFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= n {
		return
	}
	limit.Cur, limit.Max = n, max(n, limit.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatalf("open files: %v; this test needs %d (ulimit -Hn %d)", err, n, n)
	}
}
