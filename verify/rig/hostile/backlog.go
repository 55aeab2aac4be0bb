package hostile

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// FullBacklog is a socket at an address of IPv4 that nobody accepts from and
// that takes no more connections: Linux drops what would connect to it, as a
// firewall does. The caller calls end.
func FullBacklog(host [4]byte) (addr string, end func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return "", nil, err
	}
	syscall.CloseOnExec(fd)
	held := []net.Conn{}
	stop := func() {
		for _, c := range held {
			_ = c.Close()
		}
		_ = syscall.Close(fd)
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: host}); err != nil {
		return "", nil, err
	}
	if err := syscall.Listen(fd, 0); err != nil {
		return "", nil, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return "", nil, err
	}
	addr = fmt.Sprintf("%d.%d.%d.%d:%d", host[0], host[1], host[2], host[3], name.(*syscall.SockaddrInet4).Port)
	for range 8 {
		c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return addr, stop, nil
		}
		held = append(held, c)
	}
	return "", nil, errors.New("the backlog takes more than 8 connections, want it full")
}
