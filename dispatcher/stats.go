package dispatcher

// Stats are the dispatcher's gauges.
type Stats struct {
	Lanes        int // accounts with pending or recent work
	Suspect      int // of these, kept to the shared quarter of the slots
	Open         int // of these, with an open breaker: only probes
	Suspended    int // of these, with a suspended webhook
	SlotsInUse   int
	SuspectInUse int
	MaxSlots     int
	HeldBytes    int // bodies waiting in memory
	Unrecorded   int // outcomes not yet on disk
}

// Stats returns the gauges without looking at any lane.
func (d *Dispatcher) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Stats{
		Lanes: len(d.lanes), Suspect: d.census[wary], Open: d.census[probing], Suspended: d.census[resting],
		SlotsInUse: d.slots.Total(), SuspectInUse: d.slots.Taken(suspect), MaxSlots: d.cfg.MaxInFlight,
		HeldBytes: d.memory.Total(), Unrecorded: len(d.pending) + d.writing + d.apart,
	}
}

// condition is what Stats says of a lane.
type condition int

const (
	ordinary condition = iota // or new, and not counted yet
	wary                      // suspect
	probing                   // with an open breaker
	resting                   // with a suspended webhook
	conditions
)

func (l *lane) condition() condition {
	switch {
	case l.webhook != nil && !l.active():
		return resting
	case l.pace.open:
		return probing
	case l.pace.doubted():
		return wary
	}
	return ordinary
}

// census counts lanes by condition.
type census [conditions]int

func (c *census) count(l *lane) {
	c[l.counted]--
	l.counted = l.condition()
	c[l.counted]++
}

func (c *census) leave(l *lane) { c[l.counted]-- }
