package dispatcher

import "fmt"

// DumpLanes is for finding out why a lane is still there.
func (d *Dispatcher) DumpLanes() (out string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lanes {
		out += fmt.Sprintf("%s: %+v\n", l.account, *l)
	}
	return out
}
