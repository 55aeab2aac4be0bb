package lane

import (
	"errors"
	"fmt"
)

// Check counts anew what the lane holds, and says where that differs from what it
// believes. Tests call it, this package's and its user's.
func (l *Lane) Check() error {
	var errs []error
	equal := func(what string, got, want int) {
		if got != want {
			errs = append(errs, fmt.Errorf("%s: believed %d, counted %d", what, got, want))
		}
	}
	held, underWay, outcomes, members, replays, replaying := l.kept, 0, 0, 0, 0, 0
	for _, it := range l.window.items {
		if it.delivery.IsReplay() {
			replays++
			if it.state == inFlight {
				replaying++
			}
		}
		switch it.state {
		case waiting, ready:
			held += len(it.delivery.Body)
		case inFlight:
			underWay++
		case attempted, settled:
			outcomes++
		}
		if it.message != nil {
			members++
		}
	}
	for i := range l.late {
		held += len(l.late[i].Delivery.Body)
	}
	equal("bytes", l.held, held)
	equal("attempts under way", l.attempts, underWay)
	equal("replays", l.window.replays, replays)
	equal("replays under way", l.replaying, replaying)
	equal("outcomes to be recorded", l.outcomes, outcomes)
	for id, c := range l.window.messages {
		members -= c.members
		if c.head == nil && len(c.rest) > 0 {
			errs = append(errs, fmt.Errorf("message %v: %d wait for nothing", id, len(c.rest)))
		}
		if c.members == 0 && !l.working {
			errs = append(errs, fmt.Errorf("message %v stays for ever", id))
		}
	}
	equal("members of messages", -members, 0)
	if l.sent > l.attempts || l.health.Slow() > l.attempts {
		errs = append(errs, fmt.Errorf("%d sent and %d slow of %d attempts", l.sent, l.health.Slow(), l.attempts))
	}
	return errors.Join(errs...)
}
