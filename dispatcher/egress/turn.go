package egress

import (
	"context"
	"errors"
	"net"
	"runtime"
	"time"
)

// turns bound how many handshakes may compute at a time. A handshake costs as
// much as ten requests. Without a bound, requests on open connections would
// wait for the processor behind the handshakes of hundreds of endpoints that
// are dialled at once.
type turns chan struct{}

func newTurns() turns { return make(turns, max(1, runtime.GOMAXPROCS(0)/2)) }

// turn is a connection during its handshake. It gives its turn back while it
// waits for the other side, so a slow receiver takes nothing from the others.
type turn struct {
	net.Conn
	turns turns           // nil after the handshake
	ctx   context.Context //nolint:containedctx // of the handshake; nil after it
	left  time.Duration   // how long the other side may make it wait; its waits for a turn are ours
	has   bool
	none  bool // ctx ended before there was a turn
	// waited is how long the waits for a turn took.
	waited time.Duration
}

// errNoTurn: the deadline passed before a processor was free.
var errNoTurn = errors.New("the processors had no time for the handshake")

func (t *turn) take() error {
	select {
	case t.turns <- struct{}{}:
		t.has = true
		return nil
	default:
	}
	began := time.Now()
	defer func() { t.waited += time.Since(began) }()
	select {
	case t.turns <- struct{}{}:
		t.has = true
		return nil
	case <-t.ctx.Done():
		t.none = true
		return errNoTurn
	}
}

func (t *turn) leave() {
	if t.has {
		<-t.turns
		t.has = false
	}
}

// end is called after the handshake.
func (t *turn) end() {
	t.leave()
	t.turns, t.ctx = nil, nil
}

// Read implements [net.Conn].
func (t *turn) Read(p []byte) (int, error) {
	if t.turns == nil {
		return t.Conn.Read(p)
	}
	t.leave()
	begin := time.Now()
	if err := t.SetReadDeadline(begin.Add(t.left)); err != nil {
		return 0, err
	}
	n, err := t.Conn.Read(p)
	t.left -= time.Since(begin)
	if err != nil {
		return n, err
	}
	return n, t.take()
}
