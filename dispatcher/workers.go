package dispatcher

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
)

// workers are the goroutines that make attempts. Those that have none now wait for the
// next attempt instead of ending: the stack of a new goroutine grows four times on its
// way to TLS, which took 7 % of all processor time. The one that came last goes first:
// the garbage collector has not shrunk its stack yet. Dispatcher.mu guards all but
// group and late.
type workers struct {
	ctx    context.Context // ends attempts under way; nil: none may begin yet
	group  sync.WaitGroup
	idle   []worker // the longest first
	closed bool
	late   atomic.Uint64 // see [Stats]
	// spare is the least that were idle since then.
	spare int
	since time.Time
	// exhausted: no file could be opened; authorities: this machine knows none; wayless:
	// the proxy or the source address fails.
	exhausted, authorities, wayless notice
}

// worker is the channel on which one of them gets its next attempt; nil ends it. Its
// buffer of one keeps the sender from waiting.
type worker chan *attempt

// running reports whether attempts may begin: between the start of [Dispatcher.Run] and
// its soft stop.
func (w *workers) running() bool { return w.ctx != nil && !w.closed }

// run begins an attempt.
func (w *workers) run(a *attempt) {
	n := len(w.idle) - 1
	if n < 0 {
		w.group.Go(func() { w.work(a) })
		return
	}
	w.idle[n] <- a
	w.idle[n] = nil
	w.idle = w.idle[:n]
	w.spare = min(w.spare, n)
}

// work makes one attempt after the other.
func (w *workers) work(a *attempt) {
	for own := make(worker, 1); a != nil; {
		res := a.post(w.ctx)
		if a = a.ended(&res, own); a == nil {
			a = <-own
		}
	}
}

// wait notes that a worker has nothing to do.
func (w *workers) wait(own worker) {
	if w.closed {
		own <- nil
		return
	}
	w.idle = append(w.idle, own)
}

// notice tells the operator of what is the machine's and no endpoint's.
func (w *workers) notice(res *egress.Result, log *slog.Logger, now time.Time) {
	switch {
	case res.Kind == egress.Exhausted && w.exhausted.due("", now):
		log.Error("no more files can be opened; attempts wait until others are closed (see ulimit -n)", "error", res.Err)
	case res.Kind == egress.NoAuthorities && w.authorities.due("", now):
		log.Error("this machine knows no certificate authority, so no endpoint's certificate can be verified; install the system's (ca-certificates) or give --callback-ca, and start again", "error", res.Err)
	case res.Kind == egress.NoWayOut && w.wayless.due("", now):
		log.Error("the way out of this machine fails; attempts wait, and no endpoint is blamed (see --egress-proxy and --egress-address)", "error", res.Err)
	}
}

// dismiss ends as many as were not needed since the last call.
func (w *workers) dismiss(now time.Time) {
	if now.Sub(w.since) < watchGap {
		return
	}
	w.end(w.spare)
	w.spare, w.since = len(w.idle), now
}

// close ends all that are idle, and those that will be.
func (w *workers) close() {
	w.closed = true
	w.end(len(w.idle))
}

// end ends those that have been idle the longest.
func (w *workers) end(n int) {
	for _, own := range w.idle[:n] {
		own <- nil
	}
	w.idle = slices.Delete(w.idle, 0, n)
}

// await returns when no attempt is under way; those that take longer than the soft stop
// are cut short.
func (w *workers) await(softStop time.Duration, hardStop context.CancelFunc) {
	finished := make(chan struct{})
	go func() { w.group.Wait(); close(finished) }()
	soft := time.NewTimer(softStop)
	defer soft.Stop()
	select {
	case <-finished:
	case <-soft.C:
		hardStop()
		<-finished
	}
}
