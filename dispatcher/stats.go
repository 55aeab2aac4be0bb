package dispatcher

import (
	"time"

	"github.com/recapito/recapito/dispatcher/fair"
	"github.com/recapito/recapito/dispatcher/lane"
)

// Stats are the dispatcher's gauges.
type Stats struct {
	Lanes      int // accounts with pending or recent work
	Suspect    int // of these, kept to the shared quarter of the slots
	Open       int // of these, with an open breaker: only probes
	Suspended  int // of these, with a suspended webhook
	SlotsInUse int
	InUseBy    map[string]int // of these, by the class of their lane
	MaxSlots   int
	HeldBytes  int    // bodies waiting in memory
	Unrecorded int    // outcomes not yet on disk
	Late       uint64 // attempts sent when the lease had run out, since the start
	// DueSince is since when the delivery has been due that has been so the longest
	// and is not under way, by what Lanes are counted as: "healthy", "suspect",
	// "open", "suspended". Those where nothing is due are not there.
	DueSince map[string]time.Time
	Swept    time.Time // when what is past its retention was last looked for; zero: not yet
}

// classWords name the classes in metrics.
var classWords = [lane.Classes]string{lane.Proven: "proven", lane.Handed: "handed", lane.Found: "found", lane.Replaying: "replaying", lane.Suspect: "suspect"}

// Stats returns the gauges without looking at any lane.
func (d *Dispatcher) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	inUse := map[string]int{}
	for c, word := range classWords {
		inUse[word] = d.slots.Taken(fair.Class(c))
	}
	due := map[string]time.Time{}
	for s, word := range stateWords {
		if since := d.counts.due[s].first(); !since.IsZero() {
			due[word] = since
		}
	}
	lanes := &d.counts.lanes
	return Stats{
		Lanes: len(d.lanes), Suspect: lanes[doubted], Open: lanes[probing], Suspended: lanes[suspended],
		DueSince: due, Swept: d.sweeper.last(),
		SlotsInUse: d.slots.Total(), InUseBy: inUse, MaxSlots: d.cfg.MaxInFlight,
		HeldBytes: d.jobs.memory.Total(), Unrecorded: d.recorder.len(), Late: d.workers.late.Load(),
	}
}

// state is what Stats says of a lane.
type state int

const (
	healthy   state = iota // or new, and not counted yet
	doubted                // suspect
	probing                // with an open breaker
	suspended              // with a suspended webhook
	states
)

// stateWords name the states in metrics.
var stateWords = [states]string{healthy: "healthy", doubted: "suspect", probing: "open", suspended: "suspended"}

func (m *member) state() state {
	switch {
	case m.Suspended():
		return suspended
	case m.Open():
		return probing
	case m.Doubted():
		return doubted
	}
	return healthy
}

// counts are the lanes by state: how many, and since when something has been due.
type counts struct {
	lanes [states]int
	due   [states]timeline
}

func (c *counts) count(m *member, now time.Time) {
	since := m.DueSince(now)
	if is := m.state(); is != m.counted {
		c.leave(m)
		m.counted = is
		c.lanes[is]++
	}
	c.due[m.counted].set(&m.dueSince, since)
}

func (c *counts) leave(m *member) {
	c.lanes[m.counted]--
	c.due[m.counted].set(&m.dueSince, time.Time{})
}
