package lane_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
)

// The host may be elsewhere since the breaker opened.
func TestFirstProbeUsesNoConnectionOfBefore(t *testing.T) {
	l, now := direct(), start.Add(time.Second)
	var oldest store.Delivery
	for i := range 10 {
		d := offer(l, int64(i+1), fmt.Sprint("m", i), store.Behind{}, now)
		if i == 0 {
			oldest = d
		}
		fail(l, 500, now)
	}
	outcomes := l.Ready(now).Outcomes
	for i := range outcomes {
		l.Recorded(&outcomes[i], now)
	}
	page := store.Backlog{Webhook: webhook, Fresh: []store.Delivery{oldest}}
	caughtUp(l, page, now)
	caughtUp(l, page, now.Add(5*time.Second))
	if !l.Runnable(now.Add(5 * time.Second)) {
		t.Fatal("no probe may begin")
	}
	probe := l.Begin(now.Add(5 * time.Second))
	if !probe.Probe || probe.MadeSince.Before(now) {
		t.Errorf("a probe: %t, by a connection made at %v or later; want one made since the breaker opened at %v", probe.Probe, probe.MadeSince, now)
	}
}
