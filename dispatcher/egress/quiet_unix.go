//go:build unix

package egress

import (
	"errors"
	"syscall"
)

// nothingToRead reports, without waiting, that a socket has neither data nor an
// end nor an error.
func nothingToRead(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return errors.Is(err, syscall.EAGAIN)
}
