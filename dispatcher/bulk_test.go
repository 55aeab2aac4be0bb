package dispatcher_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/store"
)

func (r *rig) replayAll(account, id string) {
	r.t.Helper()
	err := r.store.StartReplay(context.Background(), store.BulkReplay{ID: id, AccountID: account, Asked: []byte("{}"), StartedAt: time.Now()})
	if err != nil {
		r.t.Fatalf("StartReplay: %v", err)
	}
}

func (r *rig) wantReplay(account, id string, state store.ReplayState, sentAgain int64) {
	r.t.Helper()
	got, err := r.store.BulkReplay(context.Background(), account, id)
	if err != nil {
		r.t.Fatal(err)
	}
	if got.State != state || got.SentAgain() != sentAgain {
		r.t.Errorf("the bulk replay is %s, and has sent %d of %d again; want %s, %d", got.State, got.SentAgain(), got.Matched, state, sentAgain)
	}
}

func TestBulkReplaySendsEachAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.ended("a", many(3000)...)
		r.after(time.Second)
		r.replayAll("a", "rpl_1")
		r.after(30 * time.Second)
		r.wantReplay("a", "rpl_1", store.ReplayDone, 3000)
		times := map[string]int{}
		for _, c := range r.recv.got() {
			times[c.ID]++
		}
		for id, n := range times {
			if n != 2 {
				t.Fatalf("%s came %d times, want 2", id, n)
			}
		}
	})
}

// A few hundred wait for their attempts at a time, and it goes on where an earlier
// process was.
func TestBulkReplayGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.ended("a", many(3000)...)
		r.after(time.Second)
		r.recv.set(taking(100*time.Millisecond, ok))
		r.replayAll("a", "rpl_1")
		for range 5 {
			r.after(2 * time.Second)
			if n := r.store.Stats().Deliveries[store.Pending]; n > 400 {
				t.Fatalf("%d are PENDING, want 400 at most", n)
			}
			r.stop()
			r.start()
		}
		r.wantStates(map[store.State]int64{store.Pending: r.store.Stats().Deliveries[store.Pending], store.Delivered: 3000 - r.store.Stats().Deliveries[store.Pending]})
		r.after(5 * time.Minute)
		r.wantReplay("a", "rpl_1", store.ReplayDone, 3000)
		r.wantStates(map[store.State]int64{store.Delivered: 3000})
		if n := len(r.recv.got()); n != 6000 {
			t.Errorf("%d arrivals, want each of 3000 events twice", n)
		}
	})
}

// What stays PENDING as it is retried does not hold up the rest.
func TestBulkReplayPassesOverWhatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.ended("a", many(3000)...)
		r.after(time.Second)
		n := 0
		r.recv.set(failing(func(call) bool { n++; return n%2 == 0 }))
		r.replayAll("a", "rpl_1")
		r.after(time.Minute)
		r.wantReplay("a", "rpl_1", store.ReplayDone, 3000)
	})
}

func TestBulkReplayThatIsStoppedSendsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.ended("a", many(3000)...)
		r.after(time.Second)
		r.recv.set(taking(100*time.Millisecond, ok))
		r.replayAll("a", "rpl_1")
		r.after(2 * time.Second)
		if err := r.store.StopReplay(context.Background(), "a", "rpl_1", time.Now()); err != nil {
			t.Fatal(err)
		}
		replayed := 0
		for _, c := range r.recv.got() {
			if c.Attempt > 1 {
				replayed++
			}
		}
		left := int(r.store.Stats().Deliveries[store.Pending])
		r.after(time.Hour)
		if n := len(r.recv.got()) - 3000; n > replayed+left || n == 3000 {
			t.Errorf("%d were sent again, want %d and the %d that were PENDING, at most", n, replayed, left)
		}
	})
}

// While the webhook is SUSPENDED or its breaker is open, no more become PENDING.
func TestBulkReplayWaitsForItsEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.ended("a", many(3000)...)
		r.after(time.Second)
		r.recv.set(status(500))
		r.replayAll("a", "rpl_1")
		r.after(time.Hour)
		if n := r.store.Stats().Deliveries[store.Pending]; n > 450 {
			t.Errorf("%d are PENDING, want some 400 at most", n)
		}
		r.recv.set(ok)
		r.after(time.Hour)
		r.wantReplay("a", "rpl_1", store.ReplayDone, 3000)
		r.wantStates(map[store.State]int64{store.Delivered: 3000})
	})
}
