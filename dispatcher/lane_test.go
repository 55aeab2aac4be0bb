package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

func TestTenHoursDownLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(failing(func(c call) bool { return c.At < 10*time.Hour }))
		for range 100 {
			r.accept("a", many(20)...)
			r.after(6 * time.Minute)
		}
		r.after(5 * time.Minute)
		r.after(10 * time.Second)
		r.wantStates(map[store.State]int64{store.Delivered: 2000})
		for _, c := range r.recv.got() {
			if c.At > 10*time.Hour+5*time.Minute {
				t.Fatalf("an attempt at %v; want the endpoint found within one probe gap of its return", c.At)
			}
		}
	})
}

func TestOpenBreakerOnlyProbesWithTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(500))
		ev := r.accept("a", many(50)...)
		r.settle()
		before := r.recv.got()
		if len(before) != 10 {
			t.Fatalf("%d attempts before the breaker opened, want 10", len(before))
		}
		r.after(20 * time.Minute)
		gap, at := 5*time.Second, 5*time.Second
		for i, c := range r.recv.got()[10:] {
			if c.ID != ev[0] || c.At != at {
				t.Errorf("probe %d: event %s at %v, want %s at %v", i, c.ID, c.At, ev[0], at)
			}
			gap = min(2*gap, 5*time.Minute)
			at += gap
		}
		d, attempts := r.delivery("a", ev[0])
		if d.Failures != 1 || len(attempts) < 5 || !attempts[1].Probe {
			t.Errorf("oldest: %d failures, attempts %+v; want 1 failure and the rest probes", d.Failures, attempts)
		}
		if d, _ := r.delivery("a", ev[30]); d.Attempts != 0 {
			t.Errorf("another delivery had %d attempts, want none", d.Attempts)
		}
	})
}

func TestFirstSuccessMakesTheWholeBacklogDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(func(context.Context, call) egress.Result {
			return egress.Result{Kind: egress.HTTPStatus, StatusCode: 503, RetryAfter: "36000"} // ten hours
		})
		r.accept("a", many(30)...) // ten of them fail, and are put off for long
		r.settle()
		r.recv.set(ok)
		r.after(5*time.Second + time.Millisecond) // the first probe
		r.wantStates(map[store.State]int64{store.Delivered: 30})
	})
}

func TestReplacedURLTakesEverythingOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(failing(func(c call) bool { return c.URL == url("a") }))
		r.accept("a", many(300)...)
		r.after(7 * time.Second)
		put := len(r.recv.got())
		if _, err := r.store.ReplaceCallbackURL(context.Background(), "a", "https://new.example/cb", time.Now()); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		r.wantStates(map[store.State]int64{store.Delivered: 300})
		for _, c := range r.recv.got()[put:] {
			if c.URL != "https://new.example/cb" {
				t.Errorf("attempt of %s to %s after the replacement", c.ID, c.URL)
			}
		}
	})
}

// a and b share a host. A change of a's URL closed b's connections, too.
func TestReplacedURLIsDialledAnewByItsAccountAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for _, account := range []string{"a", "b"} {
			r.account(account)
			if _, err := r.store.ReplaceCallbackURL(context.Background(), account, "https://shared.example/"+account, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		attempt := func(account string) call {
			t.Helper()
			before := len(r.recv.got())
			r.accept(account, "m")
			r.settle()
			calls := r.recv.got()[before:]
			if len(calls) != 1 {
				t.Fatalf("%d attempts for an event of %s, want 1", len(calls), account)
			}
			return calls[0]
		}
		first := attempt("a").Made
		r.after(time.Second)
		if made := attempt("b").Made; made != first {
			t.Errorf("b's connection was made at %v, want a's of %v", made, first)
		}
		put := time.Since(r.recv.start)
		if _, err := r.store.ReplaceCallbackURL(context.Background(), "a", "https://shared.example/elsewhere", time.Now()); err != nil {
			t.Fatal(err)
		}
		if made := attempt("b").Made; made != first {
			t.Errorf("b's connection after a's change was made at %v, want the one of %v", made, first)
		}
		if made := attempt("a").Made; made < put {
			t.Errorf("a's connection was made at %v, want it made since its change at %v", made, put)
		}
	})
}

// A host that has moved was never dialled again as long as its old address
// answered with failures.
func TestOpenBreakerDialsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(503))
		r.accept("a", many(20)...)
		r.settle()
		opened := time.Since(r.recv.start)
		before := len(r.recv.got())
		r.after(16 * time.Second) // two probes
		r.recv.set(ok)
		r.after(20 * time.Second)
		calls := r.recv.got()[before:]
		if len(calls) < 4 {
			t.Fatalf("%d attempts since the breaker opened, want some", len(calls))
		}
		last := opened
		for i, c := range calls[:3] { // probes
			if c.Made < last {
				t.Errorf("probe %d went over a connection made at %v, want one made since %v", i, c.Made, last)
			}
			last = c.At
		}
		for _, c := range calls[3:] {
			if c.Made < opened {
				t.Errorf("after the probes, a connection made at %v was used, want none from before the breaker opened at %v", c.Made, opened)
			}
		}
	})
}

// A PUT of the same URL is how a holder says that the endpoint is repaired.
func TestPutOfTheSameURLClosesTheBreakerAndMakesEverythingDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(unavailableForLong)
		r.accept("a", many(30)...)
		r.after(time.Hour)
		if s := r.disp.Stats(); s.Open != 1 {
			t.Fatalf("%+v, want one open breaker", s)
		}
		r.recv.set(ok)
		r.replace("a", url("a"))
		r.settle()
		r.wantStates(map[store.State]int64{store.Delivered: 30})
		if s := r.disp.Stats(); s.Open != 0 {
			t.Errorf("%+v, want no open breaker", s)
		}
	})
}

func TestPutOfTheSameURLRetriesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(unavailableForLong)
		r.accept("a", "m", "n")
		r.settle()
		r.recv.set(ok)
		r.replace("a", url("a"))
		r.settle()
		r.wantStates(map[store.State]int64{store.Delivered: 2})
	})
}

// A PUT whose process ends when it has made a part of the backlog due: the next one makes
// the rest due, and then nothing more.
func TestPutGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newHookedRig(t)
		r.account("a")
		r.stop()
		r.putOff("a", 1200, 10*time.Hour)
		commits := 0
		s.makeDue = func() error {
			if commits++; commits > 1 {
				return errors.New("the process does not live to see it")
			}
			return nil
		}
		r.recv.set(unavailableForLong)
		r.start()
		r.replace("a", url("a"))
		r.settle()
		r.stop()
		s.makeDue = nil
		r.recv.set(ok)
		r.start()
		r.after(time.Minute)
		r.wantStates(map[store.State]int64{store.Delivered: 1200})
		r.stop()
		r.putOff("a", 1, time.Hour)
		r.start()
		r.after(time.Minute)
		r.wantStates(map[store.State]int64{store.Delivered: 1200, store.Pending: 1})
	})
}

// putOff accepts events, and puts them off as if their first attempt had failed.
func (r *rig) putOff(account string, n int, until time.Duration) {
	r.t.Helper()
	r.accept(account, many(n)...)
	b, err := r.store.Backlog(context.Background(), store.BacklogQuery{AccountID: account, Now: time.Now(), Fresh: n})
	if err != nil {
		r.t.Fatal(err)
	}
	outcomes := make([]store.Outcome, n)
	for i := range outcomes {
		outcomes[i] = store.Outcome{
			Delivery: &b.Fresh[i], State: store.Pending, Failures: 1, DueAt: time.Now().Add(until),
			Attempt: &store.Attempt{Number: 1, At: time.Now(), StatusCode: 503, Error: store.HTTPStatus},
		}
	}
	if err := r.store.Record(context.Background(), outcomes, time.Now()); err != nil {
		r.t.Fatal(err)
	}
}

func TestPutDuringTheScanOfTheStartRetriesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newHookedRig(t)
		r.account("a")
		r.recv.set(unavailableForLong)
		ev := r.accept("a", "m")[0]
		r.settle()
		r.stop()
		s.accounts = func() { time.Sleep(time.Second) } // the scan takes so long
		r.start()
		r.recv.set(ok)
		r.replace("a", url("a"))
		r.after(3 * time.Second)
		r.wantState("a", ev, store.Delivered)
	})
}

func TestRotationRetriesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(unavailableForLong)
		r.accept("a", many(30)...)
		r.settle()
		n := len(r.recv.got())
		if _, err := r.store.RotateSecret(context.Background(), "a", store.NewSecret(), time.Now().Add(time.Hour), time.Now()); err != nil {
			t.Fatal(err)
		}
		r.settle()
		if got := len(r.recv.got()); got != n || r.disp.Stats().Open != 1 {
			t.Errorf("%d attempts after a rotation, %+v; want %d and the breaker open", got, r.disp.Stats(), n)
		}
	})
}

func TestGoneSuspendsUntilReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(failing(func(c call) bool { return false }))
		r.accept("a", "m0")
		r.settle()
		r.recv.set(status(410))
		ev := r.accept("a", "m1")[0]
		r.settle()
		if w, _ := r.store.Webhook(context.Background(), "a"); w.Status != store.Suspended {
			t.Fatalf("webhook is %s, want SUSPENDED", w.Status)
		}
		r.recv.set(ok)
		later := r.accept("a", "m2")[0]
		r.after(48 * time.Hour)
		if n := len(r.recv.got()); n != 2 {
			t.Fatalf("%d attempts while suspended, want none", n-2)
		}
		r.wantState("a", ev, store.Pending)
		if _, err := r.store.ReplaceCallbackURL(context.Background(), "a", url("a"), time.Now()); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.wantState("a", ev, store.Delivered)
		r.wantState("a", later, store.Delivered)
	})
}

func TestSuspendedEventsAreGivenUpAtTheHorizon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(410))
		r.accept("a", many(3)...)
		r.after(72*time.Hour + 6*time.Minute)
		r.wantStates(map[store.State]int64{store.Failed: 3})
	})
}

func TestDeletedWebhookStopsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(500))
		for range 4 {
			r.accept("a", many(1000)...)
		}
		r.after(6 * time.Second)
		n := len(r.recv.got())
		if err := r.store.DeleteWebhook(context.Background(), "a", time.Now()); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.wantStates(map[store.State]int64{store.Cancelled: 4000})
		r.after(time.Hour)
		if got := len(r.recv.got()); got != n {
			t.Errorf("%d attempts after the webhook was deleted, want none", got-n)
		}
	})
}

func TestWorkGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 50 {
			r.account(fmt.Sprint("a", i))
		}
		r.stop()
		for i := range 50 {
			r.accept(fmt.Sprint("a", i), many(100)...)
		}
		r.start()
		r.after(time.Second)
		r.wantStates(map[store.State]int64{store.Delivered: 5000})
	})
}

func TestOverflowingLaneReadsOnFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.WindowBytes = 2000 })
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(10 * time.Millisecond)
			return ok(ctx, c)
		})
		held := 0
		for range 20 {
			r.accept("a", many(150)...)
			r.after(5 * time.Millisecond)
			held = max(held, r.disp.Stats().HeldBytes)
		}
		r.after(time.Minute)
		r.wantStates(map[store.State]int64{store.Delivered: 3000})
		if n := len(r.recv.got()); n != 3000 {
			t.Errorf("%d attempts, want 3000: none twice", n)
		}
		if held > 2000+100 {
			t.Errorf("%d bytes held in memory, want 2000 and a body or two at most", held)
		}
		if held := r.disp.Stats().HeldBytes; held != 0 {
			t.Errorf("%d bytes held when idle, want 0", held)
		}
	})
}

func TestLaneConcurrencyGrowsAndShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(10 * time.Millisecond)
			return ok(ctx, c)
		})
		for range 5 {
			r.accept("a", many(1000)...)
		}
		r.after(10 * time.Second)
		if got := r.recv.peak[url("a")]; got != 64 {
			t.Errorf("peak concurrency of a willing endpoint: %d, want 64", got)
		}
		unavailable := func(ctx context.Context, c call) egress.Result {
			time.Sleep(10 * time.Millisecond)
			if c.Attempt == 1 && strings.HasPrefix(c.ID, "a-m7-") {
				return status(503)(ctx, c)
			}
			return ok(ctx, c)
		}
		r.recv.set(unavailable)
		r.accept("a", many(8)...) // one of them asks for less
		r.after(time.Second)
		r.recv.clearPeak()
		r.accept("a", many(100)[8:]...)
		r.after(time.Second)
		if got := r.recv.peak[url("a")]; got < 32 || got > 40 {
			t.Errorf("peak concurrency after a 503: %d, want half of 64 and little more", got)
		}
	})
}

// One connection that is fast is no reason to dial all the others at once.
func TestWhatIsDialledIsNoUseOfTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.dial = time.Second
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(10 * time.Millisecond)
			return ok(ctx, c)
		})
		r.accept("a", many(1000)...)
		r.after(1500 * time.Millisecond) // half a second of answers by the first connection
		if got := r.disp.Stats().SlotsInUse; got != 3 {
			t.Errorf("%d attempts at a time with one connection, want 3", got)
		}
	})
}

func TestHangingEndpointsLeaveSlotsToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.MaxInFlight = 64 })
		var healthy atomic.Int64
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if strings.Contains(c.URL, "hang") {
				return hang(ctx, c)
			}
			healthy.Add(1)
			return ok(ctx, c)
		})
		for i := range 50 {
			r.account(fmt.Sprint("hang", i))
			r.account(fmt.Sprint("good", i))
		}
		for range 10 {
			for i := range 50 {
				r.accept(fmt.Sprint("hang", i), many(20)...)
				r.accept(fmt.Sprint("good", i), many(20)...)
			}
			r.after(time.Second)
		}
		if got := healthy.Load(); got != 10000 {
			t.Errorf("%d events of healthy endpoints arrived while half of all hung, want 10000", got)
		}
		r.after(time.Minute)
		if s := r.disp.Stats(); s.InUseBy["suspect"] > 16 {
			t.Errorf("%d slots in use by suspect lanes, want 16 of 64 at most", s.InUseBy["suspect"])
		}
	})
}

func TestEndpointsThatWentSilentAreNotDialledTogetherAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chance := rand.New(rand.NewPCG(1, 1))
		r := newRig(t, func(c *dispatcher.Config) { c.Jitter = chance.Float64 })
		r.recv.set(hang)
		const accounts = 100
		for i := range accounts {
			r.account(fmt.Sprint("hang", i))
			r.accept(fmt.Sprint("hang", i), "m0", "m1")
		}
		r.after(13 * time.Second) // one deadline and a quarter
		const parts = 10
		var begun [parts]int
		for _, c := range r.recv.got()[accounts:] {
			begun[int(c.At-10*time.Second)*parts/int(2501*time.Millisecond)]++
		}
		total := 0
		for i, n := range begun {
			total += n
			if n > accounts/4 {
				t.Errorf("%d of %d attempts began in part %d of %d of a quarter of the deadline, want them spread", n, accounts, i, parts)
			}
		}
		if total != accounts {
			t.Errorf("%d second attempts, want %d", total, accounts)
		}
	})
}

func TestSuccessEndsTheRestAfterATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		for range 3 { // so that it takes more than one at a time
			r.accept("a", many(20)...)
			r.settle()
		}
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			switch {
			case strings.HasPrefix(c.ID, "a-hangs-"):
				return hang(ctx, c)
			case strings.HasPrefix(c.ID, "a-late-"):
				time.Sleep(700 * time.Millisecond)
			}
			return ok(ctx, c)
		})
		begin := time.Since(r.recv.start)
		r.accept("a", "hangs")
		r.after(9500 * time.Millisecond)
		r.accept("a", "late")
		r.after(600 * time.Millisecond) // the timeout was at 10 s
		r.accept("a", "last")
		r.after(time.Second)
		calls := r.recv.got()
		last := calls[len(calls)-1]
		if got := last.At - begin; !strings.HasPrefix(last.ID, "a-last-") || got != 10200*time.Millisecond {
			t.Errorf("%s was attempted after %v, want a-last at 10.2s, with the success", last.ID, got)
		}
	})
}

func TestShutdownLetsAttemptsFinishAndDoesNotCountThoseCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.SoftStop, c.MaxInFlight = 3*time.Second, 3 })
		r.account("a")
		r.account("b")
		r.account("c")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if c.URL == url("b") {
				time.Sleep(2 * time.Second)
				return ok(ctx, c)
			}
			return hang(ctx, c)
		})
		finishes, cut := r.accept("b", "m")[0], r.accept("a", "m")[0]
		waits := r.accept("c", "m")[0] // for a slot
		r.settle()
		begin := time.Now()
		r.stop()
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("shutdown took %v, want 3s", took)
		}
		r.wantState("b", finishes, store.Delivered)
		if d, attempts := r.delivery("a", cut); d.State != store.Pending || len(attempts) > 0 || d.Failures > 0 {
			t.Errorf("cut short: %s after %d failures, attempts %+v; want it as if never begun", d.State, d.Failures, attempts)
		}
		if got := ids(r.recv.got()); slices.Contains(got, waits) {
			t.Errorf("arrivals %v, want none that began after the stop", got)
		}
		r.wantState("c", waits, store.Pending)
	})
}

// flakyStore fails Record now and then, once after having recorded.
type flakyStore struct {
	dispatcher.Store
	n atomic.Int64
}

func (f *flakyStore) Record(ctx context.Context, o []store.Outcome, now time.Time) error {
	switch f.n.Add(1) % 4 {
	case 1:
		return errors.New("disk full")
	case 2:
		_ = f.Store.Record(ctx, o, now)
		return errors.New("outcome unknown")
	}
	return f.Store.Record(ctx, o, now)
}

func TestStoreThatFailsToRecordLosesAndRepeatsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.Store = &flakyStore{Store: c.Store} })
		r.account("a")
		r.recv.set(failing(func(c call) bool { return c.Attempt == 1 && len(c.ID)%2 == 0 }))
		for range 10 {
			r.accept("a", many(100)...)
			r.after(100 * time.Millisecond)
		}
		r.after(2 * time.Minute)
		r.wantStates(map[store.State]int64{store.Delivered: 1000})
		seen := map[string]int{}
		for _, c := range r.recv.got() {
			if seen[c.ID]++; seen[c.ID] != c.Attempt {
				t.Errorf("%s: arrival %d says attempt %d", c.ID, seen[c.ID], c.Attempt)
			}
		}
	})
}

func TestUncertainCommitIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.accept("a", "m0")
		r.settle()
		r.store.Listen(nil)
		ev := r.accept("a", "m1")[0] // committed, but nobody was told
		r.store.Listen(r.disp)
		r.disp.Uncertain([]string{"a"})
		r.after(time.Second)
		r.wantState("a", ev, store.Delivered)
		r.wantStates(map[store.State]int64{store.Delivered: 2})
	})
}

func TestFinishedDeliveriesAreRemovedAfterRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.Retention = time.Hour })
		r.account("a")
		r.accept("a", many(1200)...)
		r.after(59 * time.Minute)
		r.wantStates(map[store.State]int64{store.Delivered: 1200})
		r.after(3 * time.Minute)
		r.wantStates(map[store.State]int64{})
	})
}

func TestGoneAtTheLastAttemptWaitsForThePut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *dispatcher.Config) { c.RetrySchedule = []time.Duration{time.Second} })
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			return status(map[int]int{1: 500, 2: 410, 3: 500}[c.Attempt])(ctx, c)
		})
		ev := r.accept("a", "m")[0]
		r.after(time.Hour)
		r.wantState("a", ev, store.Pending)
		r.replace("a", url("a"))
		r.settle()
		r.wantState("a", ev, store.Failed)
		if d, attempts := r.delivery("a", ev); d.Failures != 2 || len(attempts) != 3 {
			t.Errorf("%d failures in %d attempts, want 2 in 3: the 410 does not use up the schedule", d.Failures, len(attempts))
		}
	})
}

func TestWebhookMadeAfterADeleteGetsNothingOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(500))
		for range 4 {
			r.accept("a", many(1000)...)
		}
		r.settle()
		n := len(r.recv.got())
		if err := r.store.DeleteWebhook(context.Background(), "a", time.Now()); err != nil {
			t.Fatal(err)
		}
		r.account("a") // at once
		r.recv.set(ok)
		ev := r.accept("a", "m")[0]
		r.after(time.Minute)
		r.wantStates(map[store.State]int64{store.Cancelled: 4000, store.Delivered: 1})
		if got := ids(r.recv.got())[n:]; !slices.Equal(got, []string{ev}) {
			t.Errorf("the new webhook got %v, want only %s", got, ev)
		}
	})
}

func TestPastTheHorizonNothingIsAttempted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.stop()
		r.accept("a", many(3)...)
		r.after(72*time.Hour + time.Second)
		r.start()
		r.after(time.Second)
		r.wantStates(map[store.State]int64{store.Failed: 3})
		r.wantCalls()
	})
}
