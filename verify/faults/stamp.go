package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stamped is a connection that knows when the kernel had received what was read last. A
// program on a busy machine reads it later.
type stamped struct {
	net.Conn
	raw syscall.RawConn
	at  time.Time // of the goroutine that reads
}

func stamp(c net.Conn) net.Conn {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return c
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) }) // else it is read by our clock
	return &stamped{Conn: c, raw: raw}
}

// Read implements [net.Conn].
func (s *stamped) Read(b []byte) (n int, err error) {
	var control [64]byte
	var length int
	waited := s.raw.Read(func(fd uintptr) bool {
		n, length, _, _, err = unix.Recvmsg(int(fd), b, control[:], 0)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	switch {
	case waited != nil:
		return 0, waited
	case err != nil:
		return 0, err
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	s.at = stampIn(control[:length])
	return n, nil
}

// stampIn is the time in a control message; now: there is none.
func stampIn(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err == nil {
		for _, m := range messages {
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
				return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
			}
		}
	}
	return time.Now()
}

type stampKey struct{}

// withStamp is a server's ConnContext.
func withStamp(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, stampKey{}, c)
}

// receivedAt is when the last bytes of a request's header had come.
func receivedAt(r *http.Request) time.Time {
	if s, ok := r.Context().Value(stampKey{}).(*stamped); ok && !s.at.IsZero() {
		return s.at
	}
	return time.Now()
}
