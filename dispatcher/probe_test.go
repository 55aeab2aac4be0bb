package dispatcher_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/store"
)

// openBreaker is an account with 50 events, of which ten have failed.
func openBreaker(t *testing.T) (r *rig, oldest string) {
	r = newRig(t)
	r.account("a")
	r.recv.set(status(500))
	events := r.accept("a", many(50)...)
	r.settle()
	return r, events[0]
}

func (r *rig) probe(account string) store.Probing { return r.disp.Probe(account, time.Now()) }

func TestProbeThatIsAskedForBeginsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, oldest := openBreaker(t)
		for _, at := range []time.Duration{time.Second, 2 * time.Second} {
			r.after(time.Second)
			before := len(r.recv.got())
			if got := r.probe("a"); got != store.ProbeBegins {
				t.Fatalf("asked for a probe: %d, want %d", got, store.ProbeBegins)
			}
			r.settle()
			calls := r.recv.got()[before:]
			if len(calls) != 1 || calls[0].ID != oldest || calls[0].At != at {
				t.Fatalf("attempts after asking: %+v, want one of %s at %v", calls, oldest, at)
			}
		}
		if d, attempts := r.delivery("a", oldest); d.Failures != 1 || len(attempts) != 3 || !attempts[2].Probe {
			t.Errorf("the oldest has %d failures, attempts %+v; want 1 failure, and the last two to be probes", d.Failures, attempts)
		}
		r.recv.set(ok)
		r.probe("a")
		r.settle()
		r.wantStates(map[store.State]int64{store.Delivered: 50})
	})
}

// TestProbeThatIsAskedForMakesNoGapLonger: whoever looks at their endpoint again and
// again is not waited for longer than whoever does not.
func TestProbeThatIsAskedForMakesNoGapLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := openBreaker(t)
		for range 20 {
			r.after(time.Second)
			r.probe("a")
		}
		r.settle()
		before := len(r.recv.got())
		r.after(5 * time.Second)
		if n := len(r.recv.got()) - before; n != 1 {
			t.Errorf("%d probes in the 5 s after the last that was asked for, want 1", n)
		}
	})
}

func TestOnlyAnOpenBreakerProbesWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		want := func(want store.Probing, when string) {
			t.Helper()
			if got := r.probe("a"); got != want {
				t.Errorf("asked for a probe %s: %d, want %d", when, got, want)
			}
		}
		r.account("a")
		want(store.NotOpen, "without a lane")
		r.recv.set(status(500))
		r.accept("a", many(50)...)
		r.settle()
		want(store.ProbeBegins, "of an open breaker")
		r.recv.set(hang)
		r.settle()
		r.after(9 * time.Second)
		want(store.ProbeUnderWay, "during one")
		r.recv.set(status(410))
		r.after(6 * time.Minute)
		want(store.NotOpen, "of a SUSPENDED webhook")
		r.recv.set(ok)
		r.replace("a", url("a"))
		r.settle()
		want(store.NotOpen, "after a PUT")
	})
}
