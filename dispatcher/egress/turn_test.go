package egress_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

// Handshakes that the other side does not go on with take no turn from others.
func TestHungHandshakesHoldUpNobody(t *testing.T) {
	hung, end := make(chan struct{}, 1000), make(chan struct{})
	silent := listen(t, "127.0.0.1", func(_ *receiver, c net.Conn) {
		if _, err := c.Read(make([]byte, 1)); err != nil {
			return
		}
		hung <- struct{}{}
		_, _ = c.Read(make([]byte, 1<<20)) // the rest of its hello
		<-end
	})
	good := listenTLS(t, goodTLS(), hostile.Answering(hostile.OK200))
	c := newClient(t)
	var all sync.WaitGroup
	defer func() { close(end); all.Wait() }()
	n := 4 * runtime.GOMAXPROCS(0)
	for range n {
		all.Go(func() { wantKind(t, post(t, c, newRequest(silent.url())), egress.TLSFailed) })
	}
	for i := range n {
		select {
		case <-hung:
		case <-time.After(patience):
			t.Fatalf("%d of %d handshakes have begun, want all", i, n)
		}
	}
	wantKind(t, post(t, c, newRequest(good.url())), egress.Acknowledged)
}

// That our processors have no time is not the receiver's fault.
func TestWaitingForATurn(t *testing.T) {
	client := func() *egress.Client {
		c := egress.New(egress.Config{Allow: loopback, RootCAs: testCA().pool, TLSTimeout: brief})
		t.Cleanup(c.Close)
		return c
	}
	mute := listen(t, "127.0.0.1", func(_ *receiver, c net.Conn) {
		_, _ = io.Copy(io.Discard, c) // until it goes
	})
	dialled := make(chan struct{})
	good := listen(t, "127.0.0.1", func(_ *receiver, c net.Conn) {
		close(dialled)
		conn := tls.Server(c, goodTLS())
		if conn.Handshake() == nil {
			hostile.Answering(hostile.OK200)(&hostile.Session{Conn: conn, In: bufio.NewReader(conn), Requested: func() {}})
		}
	})
	c := client()
	giveBack := c.HoldTurns()
	held := make(chan egress.Result)
	go func() { held <- post(t, c, newRequest(good.url())) }()
	<-dialled
	// When another that begins now has been given up for its TLS, so would this.
	wantKind(t, post(t, client(), newRequest(mute.url())), egress.TLSFailed)
	wantKind(t, postWithin(t, c, newRequest(mute.url()), brief), egress.Interrupted)
	giveBack()
	wantKind(t, <-held, egress.Acknowledged)
}
