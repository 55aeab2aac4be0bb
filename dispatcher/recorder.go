package dispatcher

import (
	"slices"
	"time"

	"github.com/recapito/recapito/dispatcher/lane"
)

const (
	// recordBatch bounds the outcomes of one commit, failureBatch those of them
	// that are no first delivery: each has statements of its own, and what is
	// accepted at the same time waits for them.
	recordBatch  = 2048
	failureBatch = 64
	// maxUnrecorded outcomes wait for the store at most; beyond it no attempt
	// starts, so that a store that fails does not fill the memory. maxApart is the
	// same for those that are set apart, so that they take nothing from the others.
	maxUnrecorded = 8192
	maxApart      = 4 * maxUnrecorded
	// lastRecords is how long the outcomes of the last attempts are tried to be
	// recorded at shutdown; those that are not are attempts made again.
	lastRecords = 5 * time.Second
)

// recorder holds the outcomes on their way to the store. Dispatcher.mu guards it.
type recorder struct {
	pending []record      // not handed to the store yet
	changes []change      // the same, of states; one of a lane at most
	writing int           // handed to the store and not yet committed
	apart   int           // of lanes that are in a group, see recording
	wake    chan struct{} // holds a token while there may be something to record
}

// record is one of them.
type record struct {
	lane.Outcome
	member *member
}

// change is one of them.
type change struct {
	*lane.HealthChange
	member *member
}

func newRecorder() recorder { return recorder{wake: make(chan struct{}, 1)} }

// isFull reports whether no attempt is to start.
func (r *recorder) isFull() bool {
	return len(r.pending)+r.writing >= maxUnrecorded || r.apart >= maxApart
}

func (r *recorder) len() int { return len(r.pending) + r.writing + r.apart }

func (r *recorder) add(m *member, outcomes []lane.Outcome) {
	if len(outcomes) == 0 {
		return
	}
	for _, o := range outcomes {
		r.pending = append(r.pending, record{o, m})
	}
	r.signal()
}

func (r *recorder) addChange(m *member, c *lane.HealthChange) {
	if c != nil {
		r.changes = append(r.changes, change{c, m})
		r.signal()
	}
}

func (r *recorder) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// batch takes what is to be recorded next. Outcomes of lanes that are in a group join
// that.
func (r *recorder) batch() []record {
	if r.apart > 0 {
		r.pending = slices.DeleteFunc(r.pending, func(rec record) bool {
			g := rec.member.group
			if g != nil {
				g.records = append(g.records, rec)
				r.apart++
			}
			return g != nil
		})
	}
	n, most := 0, min(len(r.pending), recordBatch)
	for failures := 0; n < most && failures < failureBatch; n++ {
		if !r.pending[n].AtFirst() {
			failures++
		}
	}
	batch := r.pending[:n:n]
	r.pending = r.pending[n:]
	if len(r.pending) == 0 {
		r.pending = nil
	}
	r.writing = n
	return batch
}

// putBack undoes batch.
func (r *recorder) putBack(batch []record) {
	r.pending = slices.Concat(batch, r.pending)
	r.writing = 0
}

// done counts outcomes no more. g is the group that they were; nil: none.
func (r *recorder) done(batch []record, g *group) {
	if g == nil {
		r.writing = 0
	} else {
		r.apart -= len(batch)
	}
}
