package egress_test

import (
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/recapito/recapito/bench/rig/hostile"
	"github.com/recapito/recapito/dispatcher/egress"
)

// Handshakes that the other side does not go on with take no turn from others.
func TestHungHandshakesHoldUpNobody(t *testing.T) {
	hung := make(chan struct{}, 1000)
	silent := listen(t, "127.0.0.1", func(_ *receiver, c net.Conn) {
		if _, err := c.Read(make([]byte, 1)); err != nil {
			return
		}
		hung <- struct{}{}
		_, _ = c.Read(make([]byte, 1<<20)) // the rest of its hello
		_, _ = c.Read(make([]byte, 1))     // until it goes
	})
	good := listenTLS(t, goodTLS(), hostile.Answering(hostile.OK200))
	c := newClient(t)
	var all sync.WaitGroup
	n := 4 * runtime.GOMAXPROCS(0)
	for range n {
		all.Go(func() { wantKind(t, post(t, c, newRequest(silent.url())), egress.Timeout) })
	}
	for i := range n {
		select {
		case <-hung:
		case <-time.After(brief):
			t.Fatalf("%d of %d handshakes have begun, want all", i, n)
		}
	}
	wantKind(t, post(t, c, newRequest(good.url())), egress.Acknowledged)
	all.Wait()
}
