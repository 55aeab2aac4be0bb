package service

import (
	"context"
	"sync"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

// status is what GET /status tells.
type status struct {
	version    string
	store      store.Store
	dispatcher *dispatcher.Dispatcher
	lately     *lately
}

func (s *status) now(_ context.Context, now time.Time) gen.ServiceStatus {
	d, st := s.dispatcher.Stats(), s.store.Stats()
	out := gen.ServiceStatus{
		At: gen.Time(now), Version: s.version, Pending: st.Deliveries[store.Pending], Damaged: int64(st.Damaged),
		Accounts: gen.AccountsAtWork{
			Healthy: int64(d.Lanes - d.Suspect - d.Open - d.Suspended), Suspect: int64(d.Suspect), Probing: int64(d.Open), Suspended: int64(d.Suspended),
		},
		Slots:      gen.AttemptSlots{InUse: int64(d.SlotsInUse), Most: int64(d.MaxSlots)},
		Unrecorded: int64(d.Unrecorded), Attempting: s.store.May(""), LastMinute: s.lately.show(now),
	}
	if since, due := d.DueSince["healthy"]; due {
		out.OldestDueAt = new(gen.Time(since))
	}
	if disk := st.Disk; disk != nil {
		out.Disk = showDisk(disk)
	}
	if shared, ok := s.store.(nodes); ok {
		n := shared.Nodes()
		out.Nodes = &gen.StoreNodes{Live: int64(n.Live), Shards: int64(n.Shards)}
	}
	return out
}

func showDisk(d *store.Disk) *gen.StoreDisk {
	out := &gen.StoreDisk{Bytes: d.Bytes}
	if d.Free >= 0 {
		out.FreeBytes = &d.Free
	}
	if !d.BackedUp.IsZero() {
		out.BackedUpAt = new(gen.Time(d.BackedUp))
	}
	return out
}

// lately counts what happened in the last minute, in steps of five seconds.
type lately struct {
	mu    sync.Mutex
	steps [12]stepCounts // a ring; mu guards it
}

const stepLength = 5 * time.Second

// stepCounts are what happened in one step.
type stepCounts struct {
	number                        int64 // of the step, since 1970
	accepted, acknowledged        int64
	failed, commits               int64
	committing, longestCommitting time.Duration
}

func (l *lately) count(now time.Time, add func(*stepCounts)) {
	number := now.UnixNano() / int64(stepLength)
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.steps[number%int64(len(l.steps))]
	if s.number != number {
		*s = stepCounts{number: number}
	}
	add(s)
}

func (l *lately) committed(now time.Time, c store.Commit) {
	if c.Err != nil {
		return
	}
	l.count(now, func(s *stepCounts) {
		s.accepted += int64(c.Events)
		s.commits++
		s.committing += c.Duration
		s.longestCommitting = max(s.longestCommitting, c.Duration)
	})
}

func (l *lately) attempted(o dispatcher.Observation) {
	l.count(o.Now, func(s *stepCounts) {
		if o.Outcome == string(gen.AttemptOutcomeACKNOWLEDGED) {
			s.acknowledged++
			return
		}
		s.failed++
	})
}

func (l *lately) show(now time.Time) gen.MinuteOfService {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out gen.MinuteOfService
	var all, longest time.Duration
	oldest := now.UnixNano()/int64(stepLength) - int64(len(l.steps))
	for _, s := range l.steps {
		if s.number <= oldest {
			continue
		}
		out.Accepted += s.accepted
		out.Acknowledged += s.acknowledged
		out.Failed += s.failed
		out.Commits += s.commits
		all += s.committing
		longest = max(longest, s.longestCommitting)
	}
	if out.Commits > 0 {
		out.CommitMs = gen.CommitTimes{Mean: new(milliseconds(all / time.Duration(out.Commits))), Longest: new(milliseconds(longest))}
	}
	return out
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
}
