package dispatcher

import (
	"container/heap"
	"time"
)

// timed is a lane's place in a [timeline]. The zero time: it has none.
type timed struct {
	at    time.Time
	index int
	m     *member
}

// timeline has lanes in order of a time, the earliest first.
type timeline []*timed

// set moves a lane; the zero time removes it. It reports whether the lane is now the
// earliest, and was not at this time.
func (h *timeline) set(t *timed, at time.Time) (earliest bool) {
	switch was := t.at; {
	case at.Equal(was):
		return false
	case at.IsZero():
		heap.Remove(h, t.index)
		t.at = at
		return false
	case was.IsZero():
		t.at = at
		heap.Push(h, t)
	default:
		t.at = at
		heap.Fix(h, t.index)
	}
	return t.index == 0
}

// first is the earliest time; zero: there is none.
func (h timeline) first() time.Time {
	if len(h) == 0 {
		return time.Time{}
	}
	return h[0].at
}

func (h timeline) Len() int           { return len(h) }
func (h timeline) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timeline) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timeline) Push(x any) {
	t := x.(*timed)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timeline) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}

// alarms are the lanes with a time at which they must be looked at. The rows in the
// store decide; no work is lost with an alarm.
type alarms struct {
	timeline
	kick chan struct{} // wakes the run loop
}

func newAlarms() alarms { return alarms{kick: make(chan struct{}, 1)} }

// wake makes the run loop look at them again.
func (a *alarms) wake() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// due removes and returns a lane whose time has come, or returns nil.
func (a *alarms) due(now time.Time) *member {
	if at := a.first(); at.IsZero() || at.After(now) {
		return nil
	}
	t := a.timeline[0]
	a.set(t, time.Time{})
	return t.m
}
