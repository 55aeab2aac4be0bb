package dispatcher_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/dispatcher/lane"
	"github.com/recapito/recapito/store"
)

func TestEventIsDeliveredOnceAndRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		ev := r.accept("a", "m")
		r.settle()
		r.wantCalls(ev...)
		d, attempts := r.delivery("a", ev[0])
		if d.State != store.Delivered || len(attempts) != 1 || attempts[0].StatusCode != 204 {
			t.Errorf("got state %s, attempts %+v; want DELIVERED after one attempt with 204", d.State, attempts)
		}
	})
}

// What a request tells of itself is kept with its attempt.
func TestAttemptTellsWhatItsRequestTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		began := time.Now()
		r.recv.set(func(context.Context, call) egress.Result {
			time.Sleep(time.Second)
			return egress.Result{
				Kind: egress.HTTPStatus, StatusCode: 301, Location: "/new", Header: "HTTP/1.1 301 Moved", Excerpt: []byte("moved"),
				Phases: egress.Phases{DNS: 1, Connect: 2, TLS: 3, FirstByte: 4}, Reused: true, Address: "203.0.113.7:443",
			}
		})
		id := r.accept("a", "m")[0]
		r.after(2 * time.Second)
		want := []store.Attempt{{
			Number: 1, At: began, Duration: time.Second, StatusCode: 301, Error: store.HTTPStatus,
			Location: "/new", Header: "HTTP/1.1 301 Moved", Response: []byte("moved"),
			Phases: store.Phases{DNS: 1, Connect: 2, TLS: 3, FirstByte: 4}, Reused: true, Address: "203.0.113.7:443",
		}}
		if _, got := r.delivery("a", id); !cmp.Equal(want, got) {
			t.Errorf("attempts (-want +got):\n%s", cmp.Diff(want, got))
		}
	})
}

// The schedule is seen whole only if the endpoint is not dead, or the breaker
// would take over: other events succeed in between.
func TestScheduleIsFollowedToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(func(ctx context.Context, c call) egress.Result {
			if strings.Contains(c.ID, "bad") {
				return status(400)(ctx, c)
			}
			return ok(ctx, c)
		})
		bad := r.accept("a", "bad")[0]
		var want []time.Duration
		at := time.Duration(0)
		for _, gap := range append([]time.Duration{0}, lane.DefaultSchedule...) {
			at += gap
			want = append(want, at)
		}
		for range 73 {
			r.after(time.Hour)
			r.accept("a", "good")
		}
		r.settle()
		var got []time.Duration
		for _, c := range r.recv.got() {
			if c.ID == bad {
				got = append(got, c.At)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("attempts at\n got %v\nwant %v", got, want)
		}
		r.wantState("a", bad, store.Failed)
	})
}

func TestGapsAreSpreadByTenPercent(t *testing.T) {
	for _, tt := range []struct {
		name   string
		jitter float64
		want   time.Duration
	}{{"least", 0, 4500 * time.Millisecond}, {"middle", 0.5, 5 * time.Second}, {"most", 1, 5500 * time.Millisecond}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *dispatcher.Config) { c.Jitter = func() float64 { return tt.jitter } })
				r.account("a")
				r.recv.set(status(500))
				r.accept("a", "m")
				r.after(6 * time.Second)
				calls := r.recv.got()
				if len(calls) != 2 || calls[1].At != tt.want {
					t.Errorf("attempts %+v; want the second one at %v", calls, tt.want)
				}
			})
		})
	}
}

func TestRetryAfterLengthensAGap(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        time.Duration
	}{
		{"longer", "60", time.Minute},
		{"shorter than the schedule", "1", 5 * time.Second},
		{"date", "Sat, 01 Jan 2000 00:02:00 GMT", 2 * time.Minute}, // the bubble starts at 2000-01-01
		{"beyond the cap", "9223372036854775807", 24 * time.Hour},
		{"nonsense", "soon", 5 * time.Second},
		{"negative", "-5", 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.account("a")
				r.recv.set(func(context.Context, call) egress.Result {
					return egress.Result{Kind: egress.HTTPStatus, StatusCode: 503, RetryAfter: tt.value}
				})
				r.accept("a", "m")
				r.settle()
				r.recv.set(ok)
				r.after(25 * time.Hour)
				calls := r.recv.got()
				if len(calls) != 2 || calls[1].At != tt.want {
					t.Errorf("attempts %+v; want the second one at %v", calls, tt.want)
				}
			})
		})
	}
}

func TestRetryAfterInUnixTimeIsADate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ahead  time.Duration // of what the endpoint says
		second time.Duration // attempt, after the first
	}{
		{"in two minutes", 2 * time.Minute, 2 * time.Minute},
		{"past", -time.Hour, 5 * time.Second},
		{"beyond the cap", 100 * 24 * time.Hour, 24 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC))) // the bubble starts before 10⁹
				r := newRig(t)
				r.account("a")
				r.recv.set(func(context.Context, call) egress.Result {
					at := strconv.FormatInt(time.Now().Add(tt.ahead).Unix(), 10)
					return egress.Result{Kind: egress.HTTPStatus, StatusCode: 503, RetryAfter: at}
				})
				r.accept("a", "m")
				r.settle()
				r.recv.set(ok)
				r.after(25 * time.Hour)
				calls := r.recv.got()
				if len(calls) != 2 || calls[1].At != tt.second {
					t.Errorf("attempts %+v; want the second one at %v", calls, tt.second)
				}
			})
		})
	}
}

// It says when its request may be repeated, and nothing of the others.
func TestRetryAfterDelaysNoOtherRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(unavailableForLong)
		first := r.accept("a", "m")[0]
		r.settle()
		r.recv.set(ok)
		second := r.accept("a", "n")[0]
		r.settle()
		r.wantCalls(first, second)
	})
}

func TestRetryAfterOfAProbeSilencesNoLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(unavailableForLong)
		r.accept("a", many(30)...) // the breaker opens
		r.after(6 * time.Second)
		if n := len(r.recv.got()); n != 11 {
			t.Fatalf("%d attempts, want 11: ten and a probe", n)
		}
		r.recv.set(ok)
		r.after(5 * time.Minute)
		r.wantStates(map[store.State]int64{store.Delivered: 30})
	})
}

func TestDeliveryIsGivenUpAtTheHorizon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(status(500))
		ev := r.accept("a", "m")[0]
		r.after(71 * time.Hour)
		r.wantState("a", ev, store.Pending)
		r.after(time.Hour + 6*time.Minute)
		r.wantState("a", ev, store.Failed)
		n := len(r.recv.got())
		r.after(10 * time.Hour)
		if got := len(r.recv.got()); got != n {
			t.Errorf("%d attempts after the delivery was given up, want none", got-n)
		}
	})
}

func TestErrorKindsAreRecordedWithoutInnerText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.account("a")
		r.recv.set(func(context.Context, call) egress.Result { return egress.Result{Kind: egress.DestinationRefused} })
		ev := r.accept("a", "m")[0]
		r.settle()
		_, attempts := r.delivery("a", ev)
		if len(attempts) != 1 || attempts[0].Error != store.DestinationRefused || attempts[0].StatusCode != 0 {
			t.Errorf("attempts %+v; want one with %s and no status", attempts, store.DestinationRefused)
		}
	})
}
