package store

import (
	"testing"
	"time"
)

// A change holds if it was seen of the webhook as it is, and is none already.
func TestChangeOfHealthHolds(t *testing.T) {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		c     HealthChange
		holds bool
	}{
		{"seen of it", HealthChange{WebhookID: "wh_1", Version: 3, To: HealthFailing, At: at}, true},
		{"seen of a later version, as after a rotation", HealthChange{WebhookID: "wh_1", Version: 4, To: HealthFailing, At: at}, true},
		{"seen before the PUT", HealthChange{WebhookID: "wh_1", Version: 2, To: HealthFailing, At: at}, false},
		{"seen of another webhook", HealthChange{WebhookID: "wh_2", Version: 3, To: HealthFailing, At: at}, false},
		{"is so already", HealthChange{WebhookID: "wh_1", Version: 3, To: HealthHealthy, At: at}, false},
		{"was left and is so again", HealthChange{WebhookID: "wh_1", Version: 3, To: HealthHealthy, At: at.Add(time.Second)}, true},
	} {
		w := Webhook{ID: "wh_1", Version: 5, Health: Health{State: HealthHealthy, Since: at, Version: 3}}
		if got := tt.c.Apply(&w); got != tt.holds || got && (w.Health.State != tt.c.To || !w.Health.Since.Equal(tt.c.At)) {
			t.Errorf("%s: holds %t, and the health is %+v; want %t", tt.name, got, w.Health, tt.holds)
		}
	}
}

// A tally is read as it was written, and what is none is refused.
func TestTallyIsReadAsItWasWritten(t *testing.T) {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	var tally Tally
	tally.AddPending(300, 30_000)
	tally.AddSkipped()
	tally.AddAttempt(7, &Attempt{Number: 1, At: at, Duration: 1234 * time.Millisecond, StatusCode: 204})
	tally.AddAttempt(8, &Attempt{Number: 2, At: at.Add(time.Second), Error: Timeout})
	b := tally.Append(nil)
	got, rest, err := ReadTally(append(b, 'x'))
	if err != nil || string(rest) != "x" || got.Pending() != 300 || got.Skipped() != 1 || got.Acknowledged() != 1 || got.InARow != 1 ||
		got.Success != tally.Success || got.Failure != tally.Failure {
		t.Fatalf("read %+v and %q (%v), want %+v and x", got, rest, err, tally)
	}
	for n := range b {
		if _, _, err := ReadTally(b[:n]); err == nil {
			t.Errorf("the first %d bytes of %d are read as a tally", n, len(b))
		}
	}
}

// Attempts that began together may be recorded in any order.
func TestTheLastMarkDoesNotDependOnTheOrder(t *testing.T) {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for _, seqs := range [][]int64{{1, 2}, {2, 1}} {
		var tally Tally
		for _, seq := range seqs {
			tally.AddAttempt(seq, &Attempt{Number: 1, At: at, StatusCode: 204})
			tally.AddAttempt(seq, &Attempt{Number: 2, At: at, Error: Timeout})
		}
		if tally.Success.Seq != 2 || tally.Failure.Seq != 2 {
			t.Errorf("recorded as %v: the last marks are of %d and %d, want 2 and 2", seqs, tally.Success.Seq, tally.Failure.Seq)
		}
	}
}

// What is told of answer times is right to an eighth.
func TestAnswerTimesAreRightToAnEighth(t *testing.T) {
	for d := time.Millisecond; d < 10*time.Minute; d += d/7 + 1 {
		var tally Tally
		tally.AddAttempt(1, &Attempt{Duration: d, StatusCode: 204})
		if got, ok := tally.AnswerTime(0.5); !ok || got < d-d/8 || got > d+d/8 {
			t.Errorf("of one answer after %v: got %v", d, got)
		}
	}
}
