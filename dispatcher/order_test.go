package dispatcher_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// failing answers 500 while fail holds.
func failing(fail func(c call) bool) func(context.Context, call) egress.Result {
	return func(ctx context.Context, c call) egress.Result {
		if fail(c) {
			return status(500)(ctx, c)
		}
		return ok(ctx, c)
	}
}

func TestEventsOfOneMessageArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(100 * time.Millisecond)
			return ok(ctx, c)
		})
		ev := r.accept("a", "m", "m", "m")
		ev = append(ev, r.accept("a", "m", "m")...)
		r.after(time.Second)
		r.wantCalls(ev...)
		for i, c := range r.recv.got() {
			if want := time.Duration(i) * 100 * time.Millisecond; c.At != want {
				t.Errorf("event %d began at %v, want %v: one in flight at a time", i, c.At, want)
			}
		}
	})
}

func TestLaterEventWaitsForTheRetryOfAnEarlierOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		first := r.accept("a", "m")[0]
		r.settle()
		var a string
		r.recv.set(failing(func(c call) bool { return c.ID == a && c.Attempt <= 2 }))
		a = "a-n-2"
		ev := r.accept("a", "n", "n")
		other := r.accept("a", "o")[0]
		r.settle()
		ev = append(ev, r.accept("a", "n")...) // while the first one waits for its retry
		r.after(time.Minute)
		var got []string
		for _, c := range r.recv.got() {
			if c.ID != first && c.ID != other { // which go their own way
				got = append(got, c.ID)
			}
		}
		if want := []string{ev[0], ev[0], ev[0], ev[1], ev[2]}; !slices.Equal(got, want) {
			t.Errorf("arrivals of the message:\n got %v\nwant %v", got, want)
		}
		calls := r.recv.got()
		if at := calls[len(calls)-1].At; at != 35*time.Second {
			t.Errorf("the last event arrived at %v, want at once after the retry that succeeded at 35s", at)
		}
		r.wantStates(map[store.State]int64{store.Delivered: 5})
	})
}

func TestLaterEventOvertakesAfterTheOrderWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		ev := r.accept("a", "x")
		r.settle()
		r.recv.set(failing(func(c call) bool { return c.ID == "a-m-2" && c.At < 10*time.Minute }))
		ev = append(ev, r.accept("a", "m", "m")...)
		r.after(59 * time.Second)
		r.wantCalls(ev[0], ev[1], ev[1], ev[1]) // at 0, 5 s and 35 s
		r.after(2 * time.Second)
		r.wantCalls(ev[0], ev[1], ev[1], ev[1], ev[2])
		r.after(time.Hour)
		r.wantStates(map[store.State]int64{store.Delivered: 3})
	})
}

// The wait begins when the earlier event first failed to go, whatever its age.
func TestBacklogOlderThanTheOrderWaitKeepsItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.stop()
		ev := r.accept("a", "m", "m", "m")
		r.after(10 * time.Minute)
		r.recv.set(failing(func(c call) bool { return c.ID == "a-m-1" && c.Attempt <= 2 }))
		r.start()
		r.after(40 * time.Second)
		r.wantCalls(ev[0], ev[0], ev[0], ev[1], ev[2]) // at 0, 5 s and 35 s
	})
}

func TestOldEventOvertakesTheOrderWaitAfterTheFirstFailureOfAnEarlierOne(t *testing.T) {
	for _, tt := range []struct {
		name    string
		restart bool
	}{{"without a restart", false}, {"with one", true}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.account("a")
				r.stop()
				ev := r.accept("a", "m", "m")
				r.after(10 * time.Minute)
				r.recv.set(failing(func(c call) bool { return c.ID == "a-m-1" }))
				r.start()
				r.after(40 * time.Second)
				if tt.restart {
					r.stop()
					r.start()
				}
				r.after(19 * time.Second)
				r.wantCalls(ev[0], ev[0], ev[0])
				ev = append(ev, r.accept("a", "m")...)
				r.after(time.Second)
				r.wantCalls(ev[0], ev[0], ev[0], ev[1], ev[2])
			})
		})
	}
}

func TestEventAcceptedDuringARetryWaitsBehindWhatWasPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if c.ID == "a-m-1" {
				time.Sleep(time.Second)
			}
			return failing(func(c call) bool { return c.ID == "a-m-1" && c.Attempt == 1 })(ctx, c)
		})
		ev := r.accept("a", "m", "m")
		r.after(6500 * time.Millisecond) // the retry is under way since 6 s
		ev = append(ev, r.accept("a", "m")...)
		r.after(2 * time.Second)
		r.wantCalls(ev[0], ev[0], ev[1], ev[2])
	})
}

func TestOrderWaitDoesNotBeginAnewWithARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if c.ID == "a-m-1" {
				time.Sleep(time.Second)
			}
			return failing(func(c call) bool { return c.ID == "a-m-1" })(ctx, c)
		})
		ev := r.accept("a", "m")
		r.after(6500 * time.Millisecond) // the retry is under way since 6 s
		ev = append(ev, r.accept("a", "m")...)
		r.after(54 * time.Second)
		r.wantCalls(ev[0], ev[0], ev[0])
		r.after(time.Second)
		r.wantCalls(ev[0], ev[0], ev[0], ev[1])
	})
}

// One that overtook and failed holds the later ones back from its own failure.
func TestEachFailureOfAMessageHoldsTheLaterOnesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(failing(func(c call) bool { return c.ID != "a-m-3" }))
		ev := r.accept("a", "m", "m", "m")
		third := func() bool { return slices.Contains(ids(r.recv.got()), ev[2]) }
		r.after(119 * time.Second)
		if third() {
			t.Error("the third event went less than 60 s after the second one failed")
		}
		r.after(2 * time.Second)
		if !third() {
			t.Error("the third event waits for longer than 60 s after the second one failed")
		}
	})
}

// Where the store has ended an event already, and memory knows it still, the
// store's number of those that were put off counts another one.
func TestEventIsHeldBackByAFailureWhileAnEarlierEndIsRecorded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		handed time.Duration // when the third event is accepted, before or during the record of the first one's end
	}{{"read from the store", 61 * time.Second}, {"handed over", 62*time.Second + 50*time.Millisecond}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s *hookedStore
				r := newRig(t, func(c *dispatcher.Config) {
					s = &hookedStore{Store: c.Store}
					c.Store, c.RetrySchedule = s, []time.Duration{62 * time.Second, time.Hour}
				})
				r.account("a")
				begin := time.Now()
				r.recv.set(func(ctx context.Context, c call) egress.Result {
					if c.ID == "a-n-3" {
						time.Sleep(20 * time.Millisecond) // so that a page is read for it then
					}
					return failing(func(c call) bool { return c.ID == "a-m-2" || c.Attempt == 1 && c.ID != "a-m-4" })(ctx, c)
				})
				s.recorded = func(o []store.Outcome) {
					if o[0].Delivery.EventID == "a-m-1" && o[0].State == store.Delivered {
						time.Sleep(100 * time.Millisecond)
					}
				}
				ev := r.accept("a", "m", "m", "n")
				r.after(time.Until(begin.Add(tt.handed)))
				third := r.accept("a", "m")[0]
				r.after(time.Until(begin.Add(119 * time.Second)))
				r.wantState("a", ev[0], store.Delivered)
				if slices.Contains(ids(r.recv.got()), third) {
					t.Error("the third event went less than 60 s after the second one first failed at 60 s")
				}
				r.after(2 * time.Second)
				r.wantState("a", third, store.Delivered)
			})
		})
	}
}

// A page that was read before an earlier event failed does not know of it; nor does
// memory by itself, once that failure is recorded.
func TestEventIsHeldBackByAFailureDuringTheReadOfItsPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newHookedRig(t)
		r.account("a")
		r.stop()
		ev := r.accept("a", "m", "m")
		d, _ := r.delivery("a", ev[1])
		off := store.Outcome{Delivery: &d, State: store.Pending, DueAt: time.Now().Add(time.Second), Behind: true}
		if err := r.store.Record(context.Background(), []store.Outcome{off}, time.Now()); err != nil {
			t.Fatal(err)
		}
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if c.ID == "a-m-1" && c.Attempt == 1 {
				time.Sleep(1500 * time.Millisecond)
				return status(500)(ctx, c)
			}
			return ok(ctx, c)
		})
		s.page = func() {
			if len(r.recv.got()) > 0 {
				time.Sleep(time.Second) // from 1 s to 2 s; the failure is at 1.5 s
			}
		}
		s.record = func(o []store.Outcome) {
			if len(r.recv.got()) > 0 && o[0].Behind {
				time.Sleep(time.Second)
			}
		}
		r.start()
		r.after(1700 * time.Millisecond)
		ev = append(ev, r.accept("a", "m")...)
		r.after(time.Minute)
		r.wantCalls(ev[0], ev[0], ev[1], ev[2])
	})
}

func TestWhatWasPutOffFollowsAFreshOneOfItsPageAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.stop()
		ev := r.accept("a", "m", "m")
		d, _ := r.delivery("a", ev[1])
		off := store.Outcome{Delivery: &d, State: store.Pending, DueAt: time.Now().Add(time.Second), Behind: true}
		if err := r.store.Record(context.Background(), []store.Outcome{off}, time.Now()); err != nil {
			t.Fatal(err)
		}
		r.after(time.Minute)
		r.start()
		r.after(time.Second)
		r.wantCalls(ev...)
	})
}

// A page may end before the fresh one that another waits for.
func TestWhatWasPutOffDoesNotOvertakeAFreshOneOfTheNextPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.stop()
		ev := r.accept("a", append(append([]string{"m"}, many(200)...), "m", "m")...)
		d, _ := r.delivery("a", ev[len(ev)-1])
		off := store.Outcome{Delivery: &d, State: store.Pending, DueAt: time.Now().Add(time.Second), Behind: true}
		if err := r.store.Record(context.Background(), []store.Outcome{off}, time.Now()); err != nil {
			t.Fatal(err)
		}
		r.after(time.Minute)
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(100 * time.Millisecond)
			return ok(ctx, c)
		})
		r.start()
		r.after(3 * time.Minute)
		var got []string
		for _, c := range r.recv.got() {
			if strings.HasPrefix(c.ID, "a-m-") {
				got = append(got, c.ID)
			}
		}
		if want := []string{ev[0], ev[len(ev)-2], ev[len(ev)-1]}; !slices.Equal(got, want) {
			t.Errorf("arrivals of the message:\n got %v\nwant %v", got, want)
		}
	})
}

func TestOrderOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(failing(func(c call) bool { return c.Attempt == 1 && c.ID == "a-m-1" }))
		ev := r.accept("a", "m")
		r.settle()
		r.stop()
		ev = append(ev, r.accept("a", "m", "m")...) // nobody listens
		r.start()
		r.after(time.Minute)
		r.wantCalls(ev[0], ev[0], ev[1], ev[2])
	})
}

// A failure puts off the later events of its message, and no others: each that
// is put off costs two writes and a read more.
func TestFailurePutsOffNothingOfOtherMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newHookedRig(t)
		r.account("a")
		var putOff []string
		s.record = func(outcomes []store.Outcome) {
			for _, o := range outcomes {
				if o.Behind {
					putOff = append(putOff, o.Delivery.MessageID)
				}
			}
		}
		r.accept("a", "x")
		r.settle()
		r.recv.set(failing(func(c call) bool { return c.ID == "a-m-2" }))
		r.accept("a", "m", "n", "m", "n", "n")
		r.settle()
		r.accept("a", "o", "o", "m", "o")
		r.settle()
		if want := []string{"m", "m"}; !slices.Equal(putOff, want) {
			t.Errorf("put off were events of %q, want %q", putOff, want)
		}
	})
}

// An event that was put off must not stay so when the one before it was
// settled at the very moment.
func TestManyMessagesWithFailuresKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			time.Sleep(time.Duration(len(c.ID)%7) * time.Millisecond)
			if n, _ := strconv.Atoi(c.ID[len(c.ID)-2:]); n%10 == 3 && c.Attempt == 1 {
				return status(500)(ctx, c)
			}
			return ok(ctx, c)
		})
		var messages []string
		for i := range 2000 {
			messages = append(messages, "m"+strconv.Itoa(i%500))
		}
		r.next = 1000
		for i := 0; i < len(messages); i += 100 {
			r.accept("a", messages[i:i+100]...)
			r.after(3 * time.Millisecond)
		}
		r.after(50 * time.Second)
		r.wantStates(map[store.State]int64{store.Delivered: 2000})
		last := map[string]string{}
		for _, c := range r.recv.got() {
			message := c.ID[:len(c.ID)-5]
			if c.ID < last[message] {
				t.Fatalf("%s arrived after %s", c.ID, last[message])
			}
			last[message] = c.ID
		}
	})
}
