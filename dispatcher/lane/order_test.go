package lane_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher/lane"
	"github.com/recapito/recapito/store"
)

var webhook = &store.Webhook{AccountID: "a", ID: "wh", Version: 1, CallbackURL: "https://a.example/", Status: store.Active}

// direct is a lane that has the webhook, and holds everything fresh.
func direct() *lane.Lane {
	l := lane.New(&lane.Config{OrderWait: orderWait, Policy: lane.Policy{
		Schedule: lane.DefaultSchedule, Horizon: 72 * time.Hour, Jitter: func() float64 { return 0.5 },
	}}, "a", lane.Scan{Done: true})
	l.SetRoom(1 << 20)
	l.Changed(webhook, start)
	return caughtUp(l, store.Backlog{Webhook: webhook}, start)
}

// caughtUp does the lane's jobs until it wants none, and answers reads with the page.
func caughtUp(l *lane.Lane, page store.Backlog, now time.Time) *lane.Lane {
	for l.Ready(now).Job != lane.Nothing {
		l.JobDone(l.BeginJob(now), &lane.Answer{Page: page, All: true}, now)
		page.Due, page.Fresh = nil, nil
	}
	return l
}

func offered(seq int64, message string, behind store.Behind, now time.Time) store.Delivery {
	return store.Delivery{Seq: seq, AccountID: "a", EventID: fmt.Sprint("e", seq), MessageID: message, Body: []byte("{}"), AcceptedAt: now, State: store.Pending, Behind: behind}
}

func offer(l *lane.Lane, seq int64, message string, behind store.Behind, now time.Time) store.Delivery {
	d := offered(seq, message, behind, now)
	l.Offer(&store.Acceptance{Delivery: d, Webhook: webhook}, now)
	return d
}

func fail(l *lane.Lane, statusCode int, now time.Time) {
	a := l.Begin(now)
	l.Proceed(a)
	l.Ended(a, &lane.Result{Attempt: store.Attempt{Error: store.HTTPStatus, StatusCode: statusCode}}, now)
}

// TestEventDoesNotOvertakeWhatIsOnItsWayToBePutOff: the first event of a message fails,
// and the second is put off behind it. The store does not know that before the order
// wait is over. Then a third is accepted.
func TestEventDoesNotOvertakeWhatIsOnItsWayToBePutOff(t *testing.T) {
	l, later := direct(), start.Add(orderWait)
	offer(l, 1, "m", store.Behind{}, start)
	second := offer(l, 2, "m", store.Behind{Fresh: true}, start)
	fail(l, 500, start)
	outcomes := l.Ready(start).Outcomes

	third := offer(l, 3, "m", store.Behind{Fresh: true}, later)
	if l.Runnable(later) {
		t.Fatalf("%s may begin, before the second", l.Begin(later).Delivery().EventID)
	}

	outcomes = append(outcomes, l.Ready(later).Outcomes...)
	for i := range outcomes {
		l.Recorded(&outcomes[i], later)
	}
	second.DueAt, second.Behind = later, store.Behind{PutOff: 1, DueAt: later.Add(time.Hour), FailedAt: start}
	third.DueAt, third.Behind = later, store.Behind{PutOff: 2, DueAt: later}
	caughtUp(l, store.Backlog{Webhook: webhook, Due: []store.Delivery{second, third}}, later)
	if !l.Runnable(later) {
		t.Fatal("nothing may begin, though the second is due")
	}
	if got := l.Begin(later).Delivery().EventID; got != second.EventID {
		t.Errorf("%s begins, want the second", got)
	}
}

// TestEventDoesNotOvertakeWhatWasPutOffDuringTheRead: a page is read, then the second
// event is put off, then the page is taken in, which shows the second as fresh still.
func TestEventDoesNotOvertakeWhatWasPutOffDuringTheRead(t *testing.T) {
	l, later := direct(), start.Add(orderWait)
	offer(l, 1, "m", store.Behind{}, start)
	offer(l, 2, "m", store.Behind{Fresh: true}, start)
	fail(l, 500, start)
	l.SetRoom(0)
	third := offer(l, 3, "m", store.Behind{Fresh: true}, start) // is to be read
	l.SetRoom(1 << 20)
	read := l.BeginJob(start)
	if read.Kind != lane.Page {
		t.Fatalf("wants job %v, want a page", read.Kind)
	}
	outcomes := l.Ready(start).Outcomes
	for i := range outcomes {
		l.Recorded(&outcomes[i], start)
	}

	third.Behind = store.Behind{Fresh: true, PutOff: 1, DueAt: later, FailedAt: start}
	l.JobDone(read, &lane.Answer{Page: store.Backlog{Webhook: webhook, Fresh: []store.Delivery{third}}}, later)
	if l.Runnable(later) {
		t.Errorf("%s may begin, before the second", l.Begin(later).Delivery().EventID)
	}
}

// TestEventDoesNotOvertakeWhatALaterSourceHandsOver: a source hands over its events
// while the lane reads beyond them, and the page shows the second of a message.
func TestEventDoesNotOvertakeWhatALaterSourceHandsOver(t *testing.T) {
	for room, name := range map[int]string{1 << 20: "kept", 0: "without room"} {
		t.Run(name, func(t *testing.T) {
			l := direct()
			offer(l, 1, "m", store.Behind{}, start)
			first := l.Begin(start)
			l.Proceed(first)
			l.Ended(first, &lane.Result{Attempt: store.Attempt{StatusCode: 204}}, start) // not recorded yet
			l.SetRoom(0)
			fifth := offer(l, 5, "n", store.Behind{}, start) // is to be read
			l.SetRoom(1 << 20)
			read := func(page func() store.Delivery) {
				job := l.BeginJob(start)
				if job.Kind != lane.Page {
					t.Fatalf("wants job %v, want a page", job.Kind)
				}
				l.JobDone(job, &lane.Answer{Page: store.Backlog{Webhook: webhook, Fresh: []store.Delivery{page()}}}, start)
			}
			read(func() store.Delivery {
				l.SetRoom(0)
				offer(l, 7, "n", store.Behind{Fresh: true}, start) // is to be read as well
				l.SetRoom(room)
				return fifth
			})
			read(func() store.Delivery {
				offer(l, 2, "m", store.Behind{Fresh: true}, start)
				return offer(l, 6, "m", store.Behind{Fresh: true}, start)
			})
			for l.Runnable(start) {
				if d := l.Begin(start).Delivery(); d.Seq == 6 {
					t.Error("the sixth may begin, before the second")
				}
			}
		})
	}
}

// TestLater410SuspendsThoughAnEarlierOneCouldNot: the secret was rotated between the
// two attempts, so that the store refuses the suspension that the first asks for.
func TestLater410SuspendsThoughAnEarlierOneCouldNot(t *testing.T) {
	l := direct()
	for seq, message := range []string{"m0", "m1", "m2"} {
		offer(l, int64(seq+1), message, store.Behind{}, start)
	}
	end := func(a *lane.Attempt, res lane.Result) {
		l.Proceed(a)
		l.Ended(a, &res, start)
	}
	gone := lane.Result{Attempt: store.Attempt{Error: store.HTTPStatus, StatusCode: 410}}
	end(l.Begin(start), lane.Result{Attempt: store.Attempt{StatusCode: 204}}) // now two at a time
	first := l.Begin(start)
	rotated := *webhook
	rotated.Version, rotated.Secret = 2, store.NewSecret()
	l.Changed(&rotated, start)
	second := l.Begin(start)

	end(first, gone)
	suspension := l.BeginJob(start)
	end(second, gone)
	l.JobDone(suspension, &lane.Answer{}, start)
	if got := l.Ready(start).Job; suspension.Kind != lane.Suspend || got != lane.Suspend {
		t.Errorf("the lane wanted job %v, then %v; want a suspension each time, %v", suspension.Kind, got, lane.Suspend)
	}
}

// TestGoneSuspendsThoughTheLaneIsToldOfThePutLater: a page shows a webhook that has
// just been put, and an attempt begins; then the lane is told of the PUT, and the
// endpoint answers 410.
func TestGoneSuspendsThoughTheLaneIsToldOfThePutLater(t *testing.T) {
	l := direct()
	l.SetRoom(0)
	d := offer(l, 1, "m", store.Behind{}, start) // is to be read
	l.SetRoom(1 << 20)
	put := *webhook
	put.Version, put.Health.Version = 2, 2
	caughtUp(l, store.Backlog{Webhook: &put, Fresh: []store.Delivery{d}}, start)
	a := l.Begin(start)
	l.Proceed(a)
	later := start.Add(time.Millisecond)
	l.Changed(&put, later)
	l.Ended(a, &lane.Result{Attempt: store.Attempt{Error: store.HTTPStatus, StatusCode: 410}}, later)
	if got := l.Ready(later); got.Job != lane.Suspend || got.Attempt {
		t.Errorf("the lane wants job %v, and an attempt: %t; want a suspension, %v, and none", got.Job, got.Attempt, lane.Suspend)
	}
}

// retried is a lane with the first event of a message under way, which failed an hour
// ago and is retried.
func retried() (l *lane.Lane, first *lane.Attempt) {
	l = direct()
	l.Drop(start)
	caughtUp(l, store.Backlog{Webhook: webhook, Due: []store.Delivery{putOff(1, store.Delivery{Attempts: 1, Failures: 1, FailedAt: start.Add(-time.Hour)})}}, start)
	first = l.Begin(start)
	l.Proceed(first)
	return l, first
}

// putOff is an event of the message that has been put off.
func putOff(seq int64, d store.Delivery) store.Delivery {
	d.Seq, d.AccountID, d.EventID, d.MessageID, d.Body = seq, "a", fmt.Sprint("e", seq), "m", []byte("{}")
	d.AcceptedAt, d.State, d.DueAt = start, store.Pending, start
	return d
}

// TestEventDoesNotOvertakeWhatIsUnreadForLong: the second event of a message was put off
// behind the first, and is in the store alone for longer than the order wait, while the
// first is under way.
func TestEventDoesNotOvertakeWhatIsUnreadForLong(t *testing.T) {
	l, first := retried()
	offer(l, 3, "m", store.Behind{PutOff: 2, DueAt: start}, start)
	later := start.Add(2 * orderWait)
	l.Ended(first, &lane.Result{Attempt: store.Attempt{Error: store.HTTPStatus, StatusCode: 500}}, later)
	if l.Runnable(later) {
		t.Errorf("%s may begin, before the second", l.Begin(later).Delivery().EventID)
	}
}

// TestEventDoesNotOvertakeWhatWasPutOffLongAgo: the third is put off meanwhile, and not
// read again, before the fourth is handed over and the second read.
func TestEventDoesNotOvertakeWhatWasPutOffLongAgo(t *testing.T) {
	l, first := retried()
	offer(l, 3, "m", store.Behind{PutOff: 2, DueAt: start}, start)
	outcomes := l.Ready(start).Outcomes
	if len(outcomes) != 1 || outcomes[0].State != store.Pending {
		t.Fatalf("%d outcomes, want that the third is put off", len(outcomes))
	}
	l.Recorded(&outcomes[0], start)
	caughtUp(l, store.Backlog{Webhook: webhook, Due: []store.Delivery{putOff(2, store.Delivery{Behind: store.Behind{PutOff: 1, DueAt: start, FailedAt: start.Add(-time.Hour)}})}}, start)
	offer(l, 4, "m", store.Behind{Fresh: true, PutOff: 2, DueAt: start}, start)
	later := start.Add(2 * orderWait)
	acknowledge := func(a *lane.Attempt) {
		l.Ended(a, &lane.Result{Attempt: store.Attempt{StatusCode: 204}}, later)
	}
	acknowledge(first)
	second := l.Begin(later)
	if got := second.Delivery().Seq; got != 2 {
		t.Fatalf("event %d begins, want the second", got)
	}
	l.Proceed(second)
	acknowledge(second)
	if l.Runnable(later) {
		t.Errorf("%s may begin, before the third", l.Begin(later).Delivery().EventID)
	}
}

// TestEventDoesNotOvertakeWhatWasPutOffSinceItWasRead: the fourth is handed over as it
// was read some time ago. Since then the second and the third have been put off, and
// the second is in memory again.
func TestEventDoesNotOvertakeWhatWasPutOffSinceItWasRead(t *testing.T) {
	l := direct()
	second := offer(l, 2, "m", store.Behind{Fresh: true}, start)
	offer(l, 3, "m", store.Behind{Fresh: true}, start)
	outcomes := l.Ready(start).Outcomes
	if len(outcomes) != 2 || outcomes[1].State != store.Pending {
		t.Fatalf("%d outcomes, want that the second and the third are put off", len(outcomes))
	}
	for i := range outcomes {
		l.Recorded(&outcomes[i], start)
	}
	fourthBeforeThird(t, l, second, start)
}

// TestEventDoesNotOvertakeWhatOthersPutOffSinceItWasRead: the same by another process.
func TestEventDoesNotOvertakeWhatOthersPutOffSinceItWasRead(t *testing.T) {
	l := direct()
	l.Lost(start)
	l.CameBack(start.Add(time.Millisecond))
	fourthBeforeThird(t, l, offered(2, "m", store.Behind{}, start), start.Add(time.Second))
}

// fourthBeforeThird fails if the fourth event of a message goes before the third, which
// was put off after the start.
func fourthBeforeThird(t *testing.T, l *lane.Lane, second store.Delivery, now time.Time) {
	t.Helper()
	second.DueAt, second.Behind = start, store.Behind{} // the first has ended
	caughtUp(l, store.Backlog{Webhook: webhook, Due: []store.Delivery{second}, NextDue: now.Add(orderWait)}, now)
	a := l.Begin(now)
	l.Proceed(a)

	fourth := offered(4, "m", store.Behind{Fresh: true}, start)
	l.Offer(&store.Acceptance{Delivery: fourth, Webhook: webhook, Read: start}, now)
	l.Ended(a, &lane.Result{Attempt: store.Attempt{StatusCode: 204}}, now)
	if l.Runnable(now) {
		t.Errorf("%s may begin, before the third", l.Begin(now).Delivery().EventID)
	}
}

// TestEventBehindAFreshOneIsSoonLookedAt: the first need not make the second due when it
// ends, as it has not been put off itself.
func TestEventBehindAFreshOneIsSoonLookedAt(t *testing.T) {
	l := direct()
	offer(l, 2, "m", store.Behind{Fresh: true}, start)
	outcomes := l.Ready(start).Outcomes
	if len(outcomes) != 1 || outcomes[0].State != store.Pending {
		t.Fatalf("%d outcomes, want that the second is put off", len(outcomes))
	}
	if wait := outcomes[0].DueAt.Sub(start); wait > 5*time.Second {
		t.Errorf("the second is looked at after %v, want a few seconds", wait)
	}
}
