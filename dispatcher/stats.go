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
	HeldBytes    int // bodies in memory
	Unrecorded   int // outcomes not yet on disk
}

// Stats counts; it looks at every lane.
func (d *Dispatcher) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Stats{
		Lanes: len(d.lanes), SlotsInUse: d.slots.open, SuspectInUse: d.slots.suspect, MaxSlots: d.slots.max,
		HeldBytes: d.held, Unrecorded: len(d.pending) + d.writing,
	}
	for _, l := range d.lanes {
		switch {
		case l.webhook != nil && !l.active():
			s.Suspended++
		case l.pace.open:
			s.Open++
		case l.pace.suspect:
			s.Suspect++
		}
	}
	return s
}
