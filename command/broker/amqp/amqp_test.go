package amqp

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/recapito/recapito/command/broker"
)

// TestReceiveFromWhoEndsTheConnection: a broker that ends the connection in the middle of
// its opening, as one does that refuses a password, makes an error that says so with the
// host; at each try.
func TestReceiveFromWhoEndsTheConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(conn, make([]byte, 8)) // the protocol's header
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	address, err := broker.ParseAddress("amqp://" + l.Addr().String() + "/status")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(broker.Config{Address: address, DeadLetter: "dead"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.Receive(t.Context(), 1); err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "EOF") {
			t.Errorf("Receive: got %v, want that %s has ended the connection", err, l.Addr())
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}
