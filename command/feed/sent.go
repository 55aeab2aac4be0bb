package feed

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/recapito/recapito/gen/client"
)

// Sent counts what became of events.
type Sent struct {
	Accepted, Duplicates int
	Skipped              map[client.SkipReason]int
}

func (s *Sent) add(r *client.EventsResult) {
	s.Accepted += int(r.Accepted)
	s.Duplicates += int(r.Duplicates)
	for _, e := range r.Skipped {
		if s.Skipped == nil {
			s.Skipped = make(map[client.SkipReason]int)
		}
		s.Skipped[e.Reason]++
	}
}

// Skips counts the skipped events, whatever the reason.
func (s *Sent) Skips() (n int) {
	for _, k := range s.Skipped {
		n += k
	}
	return n
}

// All counts the events that the server has answered for.
func (s *Sent) All() int { return s.Accepted + s.Duplicates + s.Skips() }

func (s *Sent) String() string {
	text := fmt.Sprintf("accepted %d, duplicates %d, skipped %d", s.Accepted, s.Duplicates, s.Skips())
	var why []string
	for _, reason := range slices.Sorted(maps.Keys(s.Skipped)) {
		why = append(why, fmt.Sprintf("%s %d", reason, s.Skipped[reason]))
	}
	if len(why) > 0 {
		text += " (" + strings.Join(why, ", ") + ")"
	}
	return text
}
