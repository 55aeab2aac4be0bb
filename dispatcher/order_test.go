package dispatcher_test

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

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
