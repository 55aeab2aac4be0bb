package dispatcher

import (
	"context"
	"time"

	"github.com/recapito/recapito/dispatcher/fair"
	"github.com/recapito/recapito/dispatcher/lane"
)

// jobsAtOnce is how many goroutines do jobs. With two, a read is under way while
// another lane's answer is merged. More only compete for the disk.
const jobsAtOnce = 2

// jobRows bounds the rows of one write for a lane, so that the store goes on
// accepting.
const jobRows = 500

// jobs holds the lanes with a job, a read or write of the store: in each class those that
// read, which wait for memory as well, and those that write in a class of their own.
type jobs struct {
	memory fair.Shares // bytes of bodies that wait in it
	turns  fair.Turns[*member]
	ready  chan struct{} // holds a token while there may be something to do
}

// writes are the class of the lanes that write.
const writes = lane.Classes

func newJobs(memory fair.Shares) jobs {
	return jobs{memory: memory, turns: fair.NewTurns[*member](int(writes) + 1), ready: make(chan struct{}, 1)}
}

func (q *jobs) enter(m *member, k lane.Kind) {
	class := writes
	if k.Reads() {
		class = m.class
	}
	q.turns.Enter(&m.work, m, class)
	q.signal()
}

// signal has a job done, if any lane waits with one.
func (q *jobs) signal() {
	if q.turns.Len() == 0 {
		return
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// next removes and returns the next lane. Nil means that there is none, or no memory
// for it.
func (q *jobs) next() *member {
	m, ok := q.turns.Next(func(c fair.Class) bool { return c == writes || q.memory.Any(c) })
	if ok {
		q.signal()
	}
	return m
}

// doJobs does the jobs of one lane after another until ctx ends.
func (d *Dispatcher) doJobs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.jobs.ready:
		}
		d.mu.Lock()
		now := time.Now()
		m := d.jobs.next()
		var j *lane.Job
		if m != nil {
			m.account(now)
			j = m.BeginJob(now)
			m.account(now)
		}
		d.mu.Unlock()
		if m != nil {
			answer := m.do(ctx, j)
			m.done(ctx, j, answer)
		}
	}
}

// do asks the store, outside the lock.
func (m *member) do(ctx context.Context, j *lane.Job) (answer lane.Answer) {
	defer survive(m.d.cfg.Logger, "working on a lane", m.Account(), &answer.Err)
	s, now, n := m.d.cfg.Store, time.Now(), 0
	switch j.Kind {
	case lane.Page:
		answer.Page, answer.Err = s.Backlog(ctx, j.Query)
	case lane.Oldest:
		answer.Page, answer.Err = s.Oldest(ctx, m.Account())
	case lane.Suspend: // the listener is told of it before that returns
		answer.Err = s.SuspendWebhook(ctx, *j.Webhook, now)
	case lane.MakeDue:
		n, answer.Err = s.MakeDue(ctx, m.Account(), now, jobRows)
	case lane.Cancel:
		n, answer.Err = s.Cancel(ctx, m.Account(), now, jobRows)
	case lane.Expire:
		n, answer.Err = s.Expire(ctx, m.Account(), now.Add(-m.d.cfg.RetryHorizon), now, jobRows)
		if answer.Err == nil && n < jobRows {
			answer.Page, answer.Err = s.Oldest(ctx, m.Account())
		}
	}
	answer.All = n < jobRows
	return answer
}

// done takes in the answer.
func (m *member) done(ctx context.Context, j *lane.Job, answer lane.Answer) {
	d, now := m.d, time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := m.takeIn(j, &answer, now); err != nil {
		m.Drop(now) // and reads anew
		answer.Err = err
		m.JobDone(j, &answer, now)
	}
	if answer.Err != nil && ctx.Err() == nil && m.failed.due(answer.Err.Error(), now) {
		d.cfg.Logger.Error("working on a lane failed", "account", m.Account(), "error", answer.Err)
	}
	m.apply(now)
	d.startAttempts(now)
}

// takeIn makes an error of a panic.
func (m *member) takeIn(j *lane.Job, answer *lane.Answer, now time.Time) (err error) {
	defer survive(m.d.cfg.Logger, "working on a lane", m.Account(), &err)
	m.JobDone(j, answer, now)
	return nil
}
