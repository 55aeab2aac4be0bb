package lane_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher/lane"
	"github.com/recapito/recapito/store"
)

// Where both are ready, a new event goes before a replay that came first.
func TestNewEventGoesBeforeAReplay(t *testing.T) {
	now := start
	l := lane.New(&lane.Config{OrderWait: time.Minute, Policy: lane.Policy{Schedule: lane.DefaultSchedule, Horizon: time.Hour, Jitter: func() float64 { return 0.5 }}}, "a", lane.Scan{Done: true})
	l.SetRoom(1 << 20)
	w := &store.Webhook{AccountID: "a", ID: "wh_1", Status: store.Active, FirstSeq: 1}
	delivery := func(seq int64, replay store.Replay) store.Delivery {
		d := store.Delivery{Seq: seq, AccountID: "a", EventID: fmt.Sprint("e", seq), MessageID: fmt.Sprint("m", seq), Body: []byte("{}"), AcceptedAt: now, State: store.Pending, Replay: replay}
		if d.IsReplay() {
			d.DueAt = now
		}
		return d
	}
	l.Replayed(w, []int64{1}, now)
	if k := l.Ready(now).Job; k != lane.Page {
		t.Fatalf("the lane wants job %d, want the page with the replay", k)
	}
	l.JobDone(l.BeginJob(now), &lane.Answer{Page: store.Backlog{Webhook: w, Replays: []store.Delivery{delivery(1, store.Replay{At: now, WebhookID: "wh_1"})}}}, now)
	l.Offer(&store.Acceptance{Webhook: w, Delivery: delivery(2, store.Replay{})}, now)
	if !l.Runnable(now) {
		t.Fatal("the lane is not runnable")
	}
	if got := l.Begin(now).Delivery().EventID; got != "e2" {
		t.Errorf("%s goes first, want e2, which is new", got)
	}
	if l.Runnable(now) {
		t.Error("the lane is runnable beyond its limit of 1")
	}
}

// TestReplayThatHasBegunWaitsForNoEarlierOne: an earlier event of its message, which was
// replayed later, is recorded while the lane reads the retry.
func TestReplayThatHasBegunWaitsForNoEarlierOne(t *testing.T) {
	l, now := direct(), start
	replay := func(seq int64) store.Delivery {
		return store.Delivery{
			Seq: seq, AccountID: "a", EventID: fmt.Sprint("e", seq), MessageID: "m", Body: []byte("{}"), AcceptedAt: start, State: store.Pending,
			DueAt: now, Attempts: 1, Replay: store.Replay{At: start, WebhookID: webhook.ID, Attempts: 1},
		}
	}
	l.Replayed(webhook, []int64{1}, now)
	caughtUp(l, store.Backlog{Webhook: webhook, Replays: []store.Delivery{replay(1)}}, now)
	first := l.Begin(now)
	l.Proceed(first)
	l.Ended(first, &lane.Result{Attempt: store.Attempt{StatusCode: 204}}, now)
	outcomes := l.Ready(now).Outcomes

	l.Replayed(webhook, []int64{2}, now)
	read := l.BeginJob(now)
	if read.Kind != lane.Page {
		t.Fatalf("wants job %v, want a page", read.Kind)
	}
	l.Recorded(&outcomes[0], now)
	second := replay(2)
	second.Attempts, second.Failures, second.FailedAt = 2, 1, now.Add(-time.Hour)
	second.Behind = store.Behind{PutOff: 1, DueAt: now}
	l.JobDone(read, &lane.Answer{Page: store.Backlog{Webhook: webhook, Replays: []store.Delivery{second}}}, now)
	if !l.Runnable(now) {
		t.Error("the retry waits for the earlier event, which was replayed since it began")
	}
}
