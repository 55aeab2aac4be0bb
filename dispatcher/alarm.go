package dispatcher

import (
	"container/heap"
	"time"
)

// alarms are the lanes with a time at which they must be looked at, earliest
// first. The rows in the store decide; no work is lost with an alarm.
type alarms struct {
	h    alarmHeap
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

// set moves the lane's alarm; the zero time removes it. It reports whether the
// lane is now the earliest.
func (a *alarms) set(l *member, at time.Time) (earliest bool) {
	switch {
	case at.Equal(l.alarm) && (l.alarmIndex >= 0 || at.IsZero()):
		return false
	case at.IsZero():
		heap.Remove(&a.h, l.alarmIndex)
		l.alarm = at
		return false
	case l.alarmIndex >= 0:
		l.alarm = at
		heap.Fix(&a.h, l.alarmIndex)
	default:
		l.alarm = at
		heap.Push(&a.h, l)
	}
	return l.alarmIndex == 0
}

// due removes and returns a lane whose time has come, or returns nil.
func (a *alarms) due(now time.Time) *member {
	if len(a.h) == 0 || a.h[0].alarm.After(now) {
		return nil
	}
	l := heap.Pop(&a.h).(*member)
	l.alarm = time.Time{}
	return l
}

func (a *alarms) next() (time.Time, bool) {
	if len(a.h) == 0 {
		return time.Time{}, false
	}
	return a.h[0].alarm, true
}

type alarmHeap []*member

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].alarm.Before(h[j].alarm) }
func (h alarmHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].alarmIndex, h[j].alarmIndex = i, j
}

func (h *alarmHeap) Push(x any) {
	l := x.(*member)
	l.alarmIndex = len(*h)
	*h = append(*h, l)
}

func (h *alarmHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	l.alarmIndex = -1
	return l
}
