//go:build unix

package egress

import (
	"errors"
	"syscall"
)

// nothingToRead looks into a socket without waiting: data, an end and an error
// are all something.
func nothingToRead(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return errors.Is(err, syscall.EAGAIN)
}
