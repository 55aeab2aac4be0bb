//go:build unix

package service

import (
	"net"
	"syscall"
)

// OpenFiles is how many files this process may have open; 0: not known. The Go
// runtime has raised the soft limit to the hard one.
func OpenFiles() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur)
}

// writeNow writes what the kernel has room for, and does not wait. Errors are for
// the write that waits.
func writeNow(c net.Conn, p []byte) (n int) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Write(func(fd uintptr) bool {
		n, _ = syscall.Write(int(fd), p)
		return true
	})
	return max(n, 0)
}
