package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/recapito/recapito/dispatcher/lane"
	"github.com/recapito/recapito/store"
)

// SetClockBack lets the dispatcher believe that the system's clock was set
// back.
func (d *Dispatcher) SetClockBack(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock.wall = d.clock.wall.Add(by)
}

// Check counts everything anew and compares it with what the dispatcher
// believes.
func (d *Dispatcher) Check() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	equal := func(what string, got, want int) {
		if got != want {
			errs = append(errs, fmt.Errorf("%s: believed %d, counted %d", what, got, want))
		}
	}
	var taken, held [lane.Classes]int
	var n [states]int
	for account, m := range d.lanes {
		for a := range m.attempts {
			taken[a.class]++
		}
		if m.slot.Waits() && !m.Runnable(time.Now()) {
			errs = append(errs, fmt.Errorf("%s waits for a slot that it cannot use", account))
		}
		if err := m.Check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", account, err))
		}
		equal(account+"'s bytes", m.held, m.Held())
		held[m.class] += m.held
		n[m.state()]++
		// A lane is looked at when its job ends, not at a time that comes meanwhile.
		if since := m.DueSince(time.Now()); !since.Equal(m.dueSince.at) && time.Since(since) > 100*time.Millisecond {
			errs = append(errs, fmt.Errorf("%s has had something due since %v, believed %v", account, since, m.dueSince.at))
		}
		r := m.Ready(time.Now())
		d.recorder.addChange(m, r.Change)
		if m.alarm.at.IsZero() && !r.Again.IsZero() {
			errs = append(errs, fmt.Errorf("%s wants to be looked at at %v and will not be", account, r.Again))
		}
	}
	for c := range lane.Classes {
		equal(fmt.Sprint("slots in use by class ", c), d.slots.Taken(c), taken[c])
		equal(fmt.Sprint("bytes held by class ", c), d.jobs.memory.Taken(c), held[c])
	}
	for i := doubted; i < states; i++ {
		equal(fmt.Sprint("lanes in state ", i), d.counts.lanes[i], n[i])
	}
	return errors.Join(errs...)
}

// IsOpen reports whether the account's breaker is open.
func (d *Dispatcher) IsOpen(account string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.lanes[account]
	return m != nil && m.Open()
}

// Shown is what is told of the state of an account's endpoint; false: its lane knows
// nothing of it.
func (d *Dispatcher) Shown(account string) (h store.Health, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.lanes[account]; m != nil && m.State() != "" {
		return m.Shown(), true
	}
	return h, false
}

// Owing is owing.
type Owing = owing

func (o *Owing) Accepted(n int)                  { o.accepted(n) }
func (o Owing) Next() int                        { return o.next() }
func (o *Owing) Removed(n, of int) time.Duration { return o.removed(n, of) }

// WithLanes has so many lanes, each with a delivery that is due.
func WithLanes(n int, s Store, sender Sender) (*Dispatcher, error) {
	d, err := New(Config{Store: s, Sender: sender})
	if err != nil {
		return nil, err
	}
	d.workers.ctx, d.scan.Done = context.Background(), true
	d.slots.barred = time.Now().Add(time.Hour)
	now := time.Now()
	for i := range n {
		account := fmt.Sprint("acc_", i)
		d.Accepted([]store.Acceptance{{
			Delivery: store.Delivery{AccountID: account, EventID: "evt", MessageID: "m", Seq: int64(i) + 1, State: store.Pending, AcceptedAt: now.Add(-time.Duration(i)), Body: []byte("{}")},
			Webhook:  &store.Webhook{AccountID: account, Status: store.Active},
		}})
	}
	return d, nil
}
