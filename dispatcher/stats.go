package dispatcher

import "github.com/recapito/recapito/dispatcher/fair"

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
		HeldBytes: d.memory.Total(), Unrecorded: len(d.pending) + d.writing + d.apart,
	}
}

// health is what Stats says of a lane.
type health int

const (
	healthy   health = iota // or new, and not counted yet
	doubted                 // suspect
	probing                 // with an open breaker
	suspended               // with a suspended webhook
	healths
)

func (l *lane) health() health {
	switch {
	case l.webhook != nil && !l.active():
		return suspended
	case l.pace.open:
		return probing
	case l.pace.doubted():
		return doubted
	}
	return healthy
}

// counts are how many lanes there are of each health.
type counts [healths]int

func (c *counts) count(l *lane) {
	c[l.counted]--
	l.counted = l.health()
	c[l.counted]++
}

func (c *counts) leave(l *lane) { c[l.counted]-- }
