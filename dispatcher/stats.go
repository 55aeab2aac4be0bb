package dispatcher

import (
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
	HeldBytes  int // bodies waiting in memory
	Unrecorded int // outcomes not yet on disk
}

// classWords name the classes in metrics.
var classWords = [lane.Classes]string{lane.Proven: "proven", lane.Handed: "handed", lane.Found: "found", lane.Suspect: "suspect"}

// Stats returns the gauges without looking at any lane.
func (d *Dispatcher) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	inUse := map[string]int{}
	for c, word := range classWords {
		inUse[word] = d.slots.Taken(fair.Class(c))
	}
	return Stats{
		Lanes: len(d.lanes), Suspect: d.counts[doubted], Open: d.counts[probing], Suspended: d.counts[suspended],
		SlotsInUse: d.slots.Total(), InUseBy: inUse, MaxSlots: d.cfg.MaxInFlight,
		HeldBytes: d.jobs.memory.Total(), Unrecorded: d.recorder.len(),
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

// counts are how many lanes there are in each state.
type counts [states]int

func (c *counts) count(m *member) {
	c[m.counted]--
	m.counted = m.state()
	c[m.counted]++
}

func (c *counts) leave(m *member) { c[m.counted]-- }
