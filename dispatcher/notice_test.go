package dispatcher_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// logged is what was logged. A test reads it while others may write.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

// take returns it and empties it.
func (l *logged) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// wantTold holds the log against how often the operator is to be told, all of it at
// level ERROR, and empties it.
func wantTold(t *testing.T, log *logged, text string, want int) {
	t.Helper()
	told, all := 0, log.take()
	for line := range strings.Lines(all) {
		if strings.Contains(line, "level=ERROR") && strings.Contains(line, text) {
			told++
		}
	}
	if told != want {
		t.Errorf("the operator was told %q %d times, want %d; the log:\n%s", text, told, want, all)
	}
}

// The trouble of one account is told when it begins and when it changes, and once
// a minute else, however often its lane is tried.
func TestTroubleOfALaneIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logged
		s := &pickyStore{fails: failsFor(""), suspends: failsFor("a")}
		r := newRig(t, func(c *dispatcher.Config) {
			s.Store, c.Store = c.Store, s
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		r.account("a")
		r.recv.set(status(410))
		r.accept("a", "m")
		r.after(10*time.Minute - time.Second)
		wantTold(t, &log, errBroken.Error(), 10)
		s.mu.Lock()
		s.suspends = func(string) error { return errors.New("another one") }
		s.mu.Unlock()
		r.after(10 * time.Second)
		wantTold(t, &log, "another one", 1)
	})
}

// A machine without authorities is the operator's trouble: told at level ERROR, once
// a minute. Endpoints are probed, so that they are not called in vain by every
// delivery, and get all of it once there are authorities.
func TestNoAuthoritiesIsTheOperatorsTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logged
		r := newRig(t, func(c *dispatcher.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		r.account("a")
		r.recv.set(func(context.Context, call) egress.Result {
			return egress.Result{Kind: egress.NoAuthorities, Err: errors.New("x509: no roots")}
		})
		events := r.accept("a", many(100)...)
		r.after(10 * time.Second)
		wantTold(t, &log, "certificate authority", 1)
		r.after(time.Hour)
		if n := len(r.recv.got()); n > 30 {
			t.Errorf("%d attempts in an hour, want ten and then probes at gaps up to 5 min", n)
		}
		r.recv.set(ok)
		r.after(6 * time.Minute)
		for _, id := range events {
			r.wantState("a", id, store.Delivered)
		}
	})
}

// A way out that fails is the operator's trouble: told at level ERROR, once a minute. It
// uses up no schedule, opens no breaker, leaves no attempt in the history, and all goes
// on as soon as it is repaired.
func TestNoWayOutIsTheOperatorsTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logged
		r := newRig(t, func(c *dispatcher.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		r.account("a")
		r.recv.set(func(context.Context, call) egress.Result {
			time.Sleep(time.Second)
			return egress.Result{Kind: egress.NoWayOut, Err: errors.New("the proxy cannot be reached")}
		})
		events := r.accept("a", many(100)...)
		r.after(10*time.Minute - time.Second)
		wantTold(t, &log, "the proxy cannot be reached", 10)
		if s := r.disp.Stats(); s.Open != 0 || s.Suspect != 0 {
			t.Errorf("after ten minutes: %+v, want neither an open breaker nor a suspect lane", s)
		}
		r.recv.set(ok)
		r.after(2 * time.Second)
		for _, id := range events {
			r.wantState("a", id, store.Delivered)
			if _, attempts := r.delivery("a", id); len(attempts) != 1 {
				t.Fatalf("%s: %d attempts in the history, want the one that was delivered", id, len(attempts))
			}
		}
	})
}
