package postgres

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/recapito/recapito/store/postgres/pgtest"
)

// A server's machine that is gone says nothing: the system ends the connection.
func TestAServerThatIsGoneIsNotWaitedFor(t *testing.T) {
	s := open(t, pgtest.Database(t))
	pooled, err := s.reads.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer pooled.Release()
	release := s.w.heldUp(t)
	defer release()
	for name, conn := range map[string]net.Conn{"writer": s.w.conn.PgConn().Conn(), "reads": pooled.Conn().PgConn().Conn()} {
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var unacknowledged, idle int
		if err := raw.Control(func(fd uintptr) {
			unacknowledged, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			idle, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		}); err != nil {
			t.Fatal(err)
		}
		if unacknowledged != 10_000 || idle != 5 {
			t.Errorf("%s: what is not acknowledged ends it after %d ms, and it is asked after %d s of silence; want 10000 and 5", name, unacknowledged, idle)
		}
	}
}
