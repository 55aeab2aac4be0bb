package dispatcher

import (
	"slices"
	"time"
)

// workers are the goroutines that make attempts and have none now. They wait for the
// next attempt instead of ending: the stack of a new goroutine grows four times on its
// way to TLS, which took 7 % of all processor time. The one that came last goes first:
// the garbage collector has not shrunk its stack yet. Dispatcher.mu guards them.
type workers struct {
	idle   []worker // the longest first
	closed bool
	// spare is the least that were idle since then.
	spare int
	since time.Time
}

// worker is the channel on which one of them gets its next attempt; nil ends it. Its
// buffer of one keeps the sender from waiting.
type worker chan *attempt

func newWorker() worker { return make(worker, 1) }

// wait adds a worker that has nothing to do.
func (ws *workers) wait(w worker) {
	if ws.closed {
		w <- nil
		return
	}
	ws.idle = append(ws.idle, w)
}

// pass gives an attempt to an idle worker, if there is one.
func (ws *workers) pass(a *attempt) bool {
	n := len(ws.idle) - 1
	if n < 0 {
		return false
	}
	ws.idle[n] <- a
	ws.idle[n] = nil
	ws.idle = ws.idle[:n]
	ws.spare = min(ws.spare, n)
	return true
}

// dismiss ends as many as were not needed since the last call.
func (ws *workers) dismiss(now time.Time) {
	if now.Sub(ws.since) < watchGap {
		return
	}
	ws.end(ws.spare)
	ws.spare, ws.since = len(ws.idle), now
}

// close ends all of them, and those that will be idle.
func (ws *workers) close() {
	ws.closed = true
	ws.end(len(ws.idle))
}

// end ends those that have been idle for longest.
func (ws *workers) end(n int) {
	for _, w := range ws.idle[:n] {
		w <- nil
	}
	ws.idle = slices.Delete(ws.idle, 0, n)
}
