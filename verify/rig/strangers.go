package rig

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Strangers are clients without a key that keep connections to a service open:
// some say nothing, some half of a request, some a whole one, some begin a long
// answer and do not read. One whose connection is closed opens another.
type Strangers struct {
	left chan struct{}
	all  sync.WaitGroup
	came atomic.Int64
}

// neverReads is the answer of 1.2 MiB that is begun and not read.
const neverReads = "GET /docs/scalar.js HTTP/1.1\r\nHost: a\r\n\r\n"

var openings = []string{
	"", "GET / HTTP/1.1\r\nX-Half: ", "GET /webhooks/delivery-status HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", neverReads,
}

// Invite lets n of them come to the service at addr. Each takes a file of this
// process.
func Invite(addr string, n int) *Strangers {
	s := &Strangers{left: make(chan struct{})}
	for i := range n {
		s.all.Go(func() {
			for s.hold(addr, openings[i%len(openings)]) {
			}
		})
	}
	return s
}

// Came is how many connections they have opened so far.
func (s *Strangers) Came() int { return int(s.came.Load()) }

// Leave closes all connections.
func (s *Strangers) Leave() {
	close(s.left)
	s.all.Wait()
}

// hold opens one connection and waits for its end; false: they leave.
func (s *Strangers) hold(addr, opening string) bool {
	if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		s.came.Add(1)
		_, _ = io.WriteString(conn, opening) // it may be closed already
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if opening != neverReads {
				_, _ = io.Copy(io.Discard, conn)
				return
			}
			<-s.left
		}()
		select {
		case <-ended:
		case <-s.left:
		}
		_ = conn.Close()
		<-ended
	}
	select {
	case <-s.left:
		return false
	case <-time.After(200 * time.Millisecond): // no flood: it is for the connections that they hold
		return true
	}
}
