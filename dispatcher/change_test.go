package dispatcher_test

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/store"
)

// operator has the log, with a line for each change that is counted.
type operator struct{ logged }

func (l *operator) configure(cfg *dispatcher.Config) {
	cfg.Logger = slog.New(slog.NewTextHandler(l, nil))
	cfg.Tell.Change = func(what dispatcher.Change) { fmt.Fprintln(l, "counted", what) }
}

var attemptsAndTimes = regexp.MustCompile(`(?m)^.* msg=attempt .*\n|time=\S+ `)

// want compares with the lines since it was last called, but for those of attempts.
func (l *operator) want(t *testing.T, when string, lines ...string) {
	t.Helper()
	got := slices.Collect(strings.Lines(attemptsAndTimes.ReplaceAllString(l.take(), "")))
	for i := range lines {
		lines[i] += "\n"
	}
	if !slices.Equal(got, lines) {
		t.Errorf("%s:\n got %q\nwant %q", when, got, lines)
	}
}

// TestBreakerIsToldOnceAChange: that it opened, at WARN; that it closed, at INFO, by
// an acknowledgement and by a PUT; and no probe.
func TestBreakerIsToldOnceAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log operator
		r := newRig(t, log.configure)
		r.account("a")
		r.recv.set(status(500))
		r.accept("a", many(50)...)
		r.after(time.Second) // the state is recorded so often
		opened := `level=WARN msg="breaker opened" account=a host=a.example outcome=HTTP_STATUS status=500`
		log.want(t, "ten failures", opened, "counted BREAKER_OPENED")
		r.after(3 * time.Minute) // some probes
		r.stop()
		r.start()
		r.after(time.Minute)
		log.want(t, "failed probes and a restart")
		r.recv.set(ok)
		r.after(6 * time.Minute)
		log.want(t, "an acknowledged probe", `level=INFO msg="breaker closed" account=a host=a.example`, "counted BREAKER_CLOSED")
		r.recv.set(status(500))
		r.accept("a", many(50)...)
		r.after(time.Second)
		log.want(t, "ten failures again", opened, "counted BREAKER_OPENED")
		r.recv.set(ok)
		if _, err := r.store.ReplaceCallbackURL(context.Background(), "a", url("b")+"?token=hidden", time.Now()); err != nil {
			t.Fatal(err)
		}
		r.settle()
		log.want(t, "a PUT", `level=INFO msg="breaker closed" account=a host=a.example`, "counted BREAKER_CLOSED")
		r.accept("a", many(50)...)
		r.settle()
		log.want(t, "a healthy endpoint")
	})
}

// TestSuspensionIsToldOnce: at WARN, however many attempts were answered 410, and not
// again when the suspended webhook is changed or found.
func TestSuspensionIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log operator
		r := newRig(t, log.configure)
		r.account("a")
		r.accept("a", many(20)...) // may go several at a time then
		r.settle()
		r.recv.set(status(410))
		r.accept("a", many(20)...)
		r.settle()
		log.want(t, "410", `level=WARN msg="webhook suspended" account=a host=a.example`, "counted WEBHOOK_SUSPENDED")
		now := time.Now()
		if _, err := r.store.RotateSecret(context.Background(), "a", store.NewSecret(), now.Add(time.Hour), now); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.stop()
		r.start()
		r.settle()
		log.want(t, "a rotation and a restart")
	})
}

var (
	ages     = regexp.MustCompile(` took=\S+`)
	someSent = regexp.MustCompile(`STOPPED matched=20 sent_again=\d+`)
)

// TestEndOfAReplayIsToldOnce: with its counts, of one account and of several, however it
// ended.
func TestEndOfAReplayIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log operator
		r := newRig(t, log.configure)
		want := func(when string, lines ...string) {
			t.Helper()
			all := someSent.ReplaceAllString(ages.ReplaceAllString(log.take(), ""), "STOPPED matched=20 sent_again=N")
			_, _ = log.Write([]byte(all))
			log.want(t, when, lines...)
		}
		r.account("a")
		r.ended("a", many(20)...)
		r.after(time.Second)
		r.replayAll("a", "rpl_1")
		r.after(time.Minute)
		want("a replay of 20", `level=INFO msg="replay ended" account=a replay=rpl_1 state=DONE matched=20 sent_again=20 left_out=0`, "counted REPLAY_ENDED")

		r.recv.set(hang)
		r.replayAll("a", "rpl_2")
		r.after(time.Second)
		if err := r.store.StopReplay(context.Background(), "a", "rpl_2", time.Now()); err != nil {
			t.Fatal(err)
		}
		r.after(10 * time.Second)
		want("one that is stopped", `level=INFO msg="replay ended" account=a replay=rpl_2 state=STOPPED matched=20 sent_again=N left_out=0`, "counted REPLAY_ENDED")
		r.recv.set(ok)
		r.after(10 * time.Minute)
		log.take()

		if err := r.store.StartReplayGroup(context.Background(), store.ReplayGroup{ID: "rpg_1", Asked: []byte("{}"), StartedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
		r.after(time.Minute)
		got := ages.ReplaceAllString(log.take(), "")
		for _, line := range []string{
			`msg="replay ended" account=a replay=`,
			`msg="replay ended" replay=rpg_1 state=DONE accounts=1 skipped=0 matched=20 sent_again=20 left_out=0`,
		} {
			if n := strings.Count(got, line); n != 1 {
				t.Errorf("a replay of all accounts: %d times %q, want once:\n%s", n, line, got)
			}
		}
		r.replayAll("a", "rpl_3")
		r.after(time.Minute)
		if got := log.take(); strings.Contains(got, "rpg_1") {
			t.Errorf("with the end of the next replay, that of all accounts is told again:\n%s", got)
		}
	})
}
