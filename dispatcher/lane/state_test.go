package lane_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher/lane"
	"github.com/recapito/recapito/store"
)

// healthy is a lane with so many events, whose endpoint is recorded to be so.
func healthy(events int) *lane.Lane {
	l := lane.New(config, "a", lane.Scan{Done: true})
	l.SetRoom(1 << 20)
	w := *webhook
	w.Health = store.Health{State: store.HealthHealthy, Since: start, Version: 1}
	for i := range events {
		d := store.Delivery{Seq: int64(i + 1), AccountID: "a", EventID: fmt.Sprint("e", i), MessageID: fmt.Sprint("m", i), Body: []byte("{}"), AcceptedAt: start, State: store.Pending}
		l.Offer(&store.Acceptance{Delivery: d, Webhook: &w}, start)
	}
	return l
}

// A change whose record failed may have happened: then the store has a state that is
// over, until the lane says what is.
func TestStateIsRecordedAnewAfterARecordThatFailed(t *testing.T) {
	l := healthy(4)
	attempt := func(res lane.Result, now time.Time) lane.Ready {
		t.Helper()
		if !l.Runnable(now) {
			t.Fatal("the lane is not runnable")
		}
		a := l.Begin(now)
		l.Proceed(a)
		l.Ended(a, &res, now)
		return l.Ready(now)
	}
	failed := lane.Result{Attempt: store.Attempt{Error: store.HTTPStatus, StatusCode: 500}}
	var r lane.Ready
	for range 3 {
		r = attempt(failed, start)
	}
	if r.Change == nil || r.Change.To != store.HealthFailing {
		t.Fatalf("after three failures %+v is to be recorded, want FAILING", r.Change)
	}
	l.HealthRefused(r.Change, start)
	later := start.Add(2 * time.Second)
	if r = l.Ready(later); r.Change == nil || r.Change.To != store.HealthFailing {
		t.Fatalf("two seconds later %+v is to be recorded, want FAILING again", r.Change)
	}
	l.HealthRefused(r.Change, later)
	later = later.Add(2 * time.Second)
	r = attempt(lane.Result{Attempt: store.Attempt{StatusCode: 204}}, later)
	if r.Change == nil || r.Change.To != store.HealthHealthy {
		t.Errorf("after an acknowledgement %+v is to be recorded, want HEALTHY", r.Change)
	}
}

// An attempt that is open for long is the endpoint's delay once it has a connection.
// Before that it may wait for our proxy, or our resolver.
func TestAnEndpointIsSlowOnceItHasTheRequest(t *testing.T) {
	l := lane.New(config, "a", lane.Scan{Done: true})
	l.SetRoom(1 << 20)
	w := &store.Webhook{
		AccountID: "a", ID: "wh_1", CallbackURL: "https://a.example/", Status: store.Active, Version: 1,
		Health: store.Health{State: store.HealthHealthy, Since: start, Version: 1},
	}
	d := store.Delivery{Seq: 1, AccountID: "a", EventID: "e", MessageID: "m", Body: []byte("{}"), AcceptedAt: start, State: store.Pending}
	l.Offer(&store.Acceptance{Delivery: d, Webhook: w}, start)
	want := func(what string, state store.HealthState, doubted bool) {
		t.Helper()
		if l.State() != state || l.Doubted() != doubted {
			t.Errorf("%s: got %s, suspect: %t, want %s, %t", what, l.State(), l.Doubted(), state, doubted)
		}
	}
	now := start.Add(2 * lane.SlowAfter)
	a := l.Begin(start)
	l.Slow(a)
	want("slow without a connection", store.HealthHealthy, true)
	l.Ended(a, &lane.Result{Void: true, MayBeOurs: true}, now)
	want("taken back", store.HealthHealthy, false)
	a = l.Begin(now)
	l.Slow(a)
	l.Proceed(a)
	want("slow, then connected", store.HealthSlowed, true)
	l.Ended(a, &lane.Result{Void: true, MayBeOurs: true}, now)
	want("taken back", store.HealthHealthy, false)
	a = l.Begin(now)
	l.Proceed(a)
	l.Slow(a)
	want("connected, then slow", store.HealthSlowed, true)
	l.Ended(a, &lane.Result{Attempt: store.Attempt{StatusCode: 204, Duration: 2 * lane.SlowAfter}}, now)
	want("answered late", store.HealthSlowed, true)
}

// An endpoint that recovers and fails again while it is recorded that it fails has not
// changed: it is told to fail since then.
func TestStateThatCameBackWhileItWasRecordedIsToldAsItIsRecorded(t *testing.T) {
	l, now := healthy(7), start
	acknowledge := func() {
		a := l.Begin(now)
		l.Proceed(a)
		l.Ended(a, &lane.Result{Attempt: store.Attempt{StatusCode: 204}}, now)
	}
	failThrice := func() (r lane.Ready) {
		for range 3 {
			fail(l, 500, now)
			r = l.Ready(now)
		}
		return r
	}
	change := failThrice().Change
	if change == nil || change.To != store.HealthFailing {
		t.Fatalf("after three failures %+v is to be recorded, want FAILING", change)
	}
	now = now.Add(time.Millisecond)
	acknowledge()
	l.Ready(now)
	now = now.Add(time.Millisecond)
	failThrice()
	l.HealthRecorded(change)
	l.Ready(now.Add(time.Hour))
	if got := l.Shown(); got.State != store.HealthFailing || !got.Since.Equal(change.At) {
		t.Errorf("told is %s since %v; recorded is FAILING since %v", got.State, got.Since, change.At)
	}
}

// A webhook is suspended by a commit that seems to fail, and a page tells of it: it is told
// to be SUSPENDED since that commit.
func TestSuspensionIsToldAsItIsRecorded(t *testing.T) {
	l := healthy(2)
	fail(l, http.StatusGone, start)
	l.Ready(start)
	l.JobDone(l.BeginJob(start), &lane.Answer{Err: errors.New("no answer")}, start)
	later := start.Add(time.Second)
	l.JobDone(l.BeginJob(later), &lane.Answer{}, later) // it is suspended already
	l.Ready(later)
	w := *webhook
	w.Status, w.Version, w.Health = store.Suspended, 2, store.Health{State: store.HealthSuspended, Since: start, Version: 2}
	l.Offer(&store.Acceptance{Webhook: &w, Delivery: store.Delivery{Seq: 3, AccountID: "a", EventID: "late", MessageID: "late", Body: []byte("{}"), AcceptedAt: later, State: store.Pending}}, later)
	l.Ready(later.Add(time.Second))
	if got := l.Shown(); got != w.Health {
		t.Errorf("told is %+v, recorded is %+v", got, w.Health)
	}
}
