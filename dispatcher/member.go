package dispatcher

import (
	"time"

	"github.com/recapito/recapito/dispatcher/fair"
	"github.com/recapito/recapito/dispatcher/lane"
	"github.com/recapito/recapito/store"
)

// member is a lane among the others: where it waits for what they share, and what it
// has of it. Dispatcher.mu guards it.
type member struct {
	*lane.Lane
	d        *Dispatcher
	attempts map[*attempt]struct{} // under way
	slot     fair.Place[*member]   // where it waits for a slot
	work     fair.Place[*member]   // where it waits for its job to be done
	class    fair.Class            // as which the memory is counted
	held     int                   // bytes of it
	group    *group                // its outcomes could not be recorded with those of others; nil: they could
	counted  state
	failed   notice // that the store did

	alarm    timed
	dueSince timed // in the timeline of counted
}

// memberOf finds or makes the account's lane.
func (d *Dispatcher) memberOf(account string) *member { return d.memberBy(account, d.scan.Scan) }

// memberBy makes it as a scan says.
func (d *Dispatcher) memberBy(account string, by lane.Scan) *member {
	m := d.lanes[account]
	if m == nil {
		m = &member{Lane: lane.New(&d.cfg.lane, account, by), d: d, attempts: map[*attempt]struct{}{}}
		m.alarm.m, m.dueSince.m = m, m
		m.class = m.Class()
		d.lanes[account] = m
	}
	if lost, _ := m.IsLost(); lost {
		m.CameBack(by.Gained)
		d.departures.ended(m)
	}
	return m
}

// offer hands over a delivery just committed, with the room that there is for it.
func (m *member) offer(a *store.Acceptance, now time.Time) {
	m.Handed()
	m.account(now)
	m.Offer(a, now)
	m.take()
}

// apply does what the lane wants after something happened.
func (m *member) apply(now time.Time) {
	d := m.d
	m.account(now)
	r := m.Ready(now)
	d.recorder.add(m, r.Outcomes)
	d.recorder.addChange(m, r.Change)
	if lost, settled := m.IsLost(); lost {
		m.depart(settled)
		return
	}
	if !d.workers.running() {
		return
	}
	d.counts.count(m, now)
	if r.Attempt {
		d.slots.turns.Enter(&m.slot, m, m.SlotClass())
	} else {
		m.slot.Leave()
	}
	if r.Job != lane.Nothing {
		d.jobs.enter(m, r.Job)
	} else {
		m.work.Leave()
	}
	if r.Over {
		m.forget()
	} else if d.alarms.set(&m.alarm, r.Again) {
		d.alarms.wake()
	}
}

// account counts what the lane holds, for its present class. If there is no room, the
// lane forgets it and reads it from the store later.
func (m *member) account(now time.Time) {
	memory, before := &m.d.jobs.memory, m.class
	m.class = m.Class()
	memory.Move(before, m.class, m.held)
	m.take()
	if m.class > before && m.held > 0 && memory.Left(m.class) < 0 {
		m.Drop(now)
		m.take()
	}
	if m.class < before {
		m.d.jobs.signal() // there may be room for others
	}
	m.SetRoom(memory.Left(m.class))
}

// take counts what the lane has taken of the memory, or given back.
func (m *member) take() {
	n := m.Held() - m.held
	m.held += n
	m.d.jobs.memory.Take(m.class, n)
	if n < 0 {
		m.d.jobs.signal() // there may be room for others
	}
}

// forget removes a lane.
func (m *member) forget() {
	m.d.alarms.set(&m.alarm, time.Time{})
	m.d.counts.leave(m)
	delete(m.d.lanes, m.Account())
}
