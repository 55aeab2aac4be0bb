package egress

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"time"
)

// turns are how many handshakes may compute at a time. One costs as much as ten
// requests; when hundreds of endpoints are dialled at once, those that have
// their connections already would wait for the processor behind all of them.
type turns struct {
	all chan struct{}
	// strangers take one of these too, and keep it for a rest, so that they come
	// one by one instead of in a burst.
	strangers chan struct{}
	waiting   atomic.Int64 // strangers for theirs
}

const (
	// strangerQueue is how many must wait for each turn before it rests: a burst
	// of few is soon over, and costs the others the less the sooner it is.
	strangerQueue = 16
	// strangerRest is for how many times as long as it computed a stranger's turn
	// rests.
	strangerRest = 8
	// strangerWait is how long the rests are together, at most, that a stranger
	// waits for: the more wait, the shorter each rest. A handshake has two turns,
	// and an attempt that takes a second is taken for slow.
	strangerWait = 500 * time.Millisecond
)

func newTurns() *turns {
	n := max(1, runtime.GOMAXPROCS(0)/2)
	return &turns{all: make(chan struct{}, n), strangers: make(chan struct{}, n)}
}

// rest is how long one of so many turns rests after computing for so long, while
// so many wait.
func rest(turns, waiting int, computed time.Duration) time.Duration {
	if waiting < strangerQueue*turns {
		return 0
	}
	return min(strangerRest*computed, strangerWait*time.Duration(turns)/time.Duration(1+waiting))
}

// turn is a connection during its handshake, which has a turn but while it
// waits for the other side: one that is slow takes nothing from the others.
type turn struct {
	net.Conn
	turns    *turns // nil after the handshake
	stranger bool
	ctx      context.Context //nolint:containedctx // of the handshake; nil after it
	left     time.Duration   // how long the other side may make it wait; its waits for a turn are ours
	has      bool
	since    time.Time // when it took the turn that it has
	none     bool      // ctx ended before there was a turn
}

// errNoTurn: the deadline passed before the processors had time.
var errNoTurn = errors.New("the processors had no time for the handshake")

func (t *turn) take() error {
	if t.stranger {
		t.turns.waiting.Add(1)
		err := t.enter(t.turns.strangers)
		t.turns.waiting.Add(-1)
		if err != nil {
			return err
		}
	}
	if err := t.enter(t.turns.all); err != nil {
		if t.stranger {
			<-t.turns.strangers
		}
		return err
	}
	t.has, t.since = true, time.Now()
	return nil
}

func (t *turn) enter(places chan<- struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-t.ctx.Done():
		t.none = true
		return errNoTurn
	}
}

func (t *turn) leave() {
	if !t.has {
		return
	}
	t.has = false
	turns := t.turns
	<-turns.all
	if t.stranger {
		pause := rest(cap(turns.strangers), int(turns.waiting.Load()), time.Since(t.since))
		time.AfterFunc(pause, func() { <-turns.strangers })
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
