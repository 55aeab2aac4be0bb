package egress_test

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

// leaveNoFile lowers this process's limit until no file can be opened, and
// returns what undoes it.
func leaveNoFile(t *testing.T) (undo func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	undo = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
	// The least free number becomes the first one that is not allowed.
	fd := must(os.Open(os.DevNull))
	none := syscall.Rlimit{Cur: uint64(fd.Fd()), Max: limit.Max}
	_ = fd.Close()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	return undo
}

// Not the receiver's fault, and what is idle is given up for it.
func TestNoFileDescriptorLeft(t *testing.T) {
	ended := make(chan struct{}, 1)
	idle := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		hostile.Answering(hostile.OK200)(s)
		ended <- struct{}{}
	})
	other := listenTLS(t, goodTLS(), hostile.Answering(hostile.OK200))
	c := newClient(t)
	wantKind(t, post(t, c, newRequest(idle.url())), egress.Acknowledged)

	undo := leaveNoFile(t)
	res := post(t, c, newRequest(other.url()))
	undo()
	wantKind(t, res, egress.Exhausted)
	<-ended
	wantKind(t, post(t, c, newRequest(other.url())), egress.Acknowledged)
}

func TestNoFileDescriptorLeftForTheResolver(t *testing.T) {
	c := second(t, &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}})
	wantKind(t, post(t, c, newRequest("https://receiver.example.com/")), egress.Exhausted)
}
