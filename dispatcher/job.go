package dispatcher

import (
	"context"
	"time"

	"github.com/recapito/recapito/dispatcher/fair"
)

// storeRetryGap is how long a lane waits after an error of the store.
// It doubles up to maxStoreRetryGap.
const (
	storeRetryGap    = 500 * time.Millisecond
	maxStoreRetryGap = 5 * time.Second
)

const (
	// jobRows bounds the rows of one write for a lane, so that the store goes
	// on accepting.
	jobRows = 500
	// expireGap is how late a lane without attempts may give up deliveries past
	// the horizon.
	expireGap = 5 * time.Minute
	// idleAfter is how long a lane with nothing to do remembers its endpoint.
	idleAfter = time.Minute
)

// job is one read or write that a lane wants of the store.
type job struct {
	// do asks the store. It returns a function that handles the answer. That
	// function is not called if a change of the lane made the answer worthless.
	do    func(d *Dispatcher, ctx context.Context, l *lane) (takeIn func(now time.Time), err error)
	reads bool // deliveries into memory
}

// jobQueue holds the lanes with a job: in each class those that read, which wait
// for memory as well, and those that write in a class of their own.
type jobQueue struct {
	turns fair.Turns[*lane]
	ready chan struct{} // holds a token while there may be something to do
}

// writes are the class of the lanes that write.
const writes = classes

func newJobQueue() jobQueue {
	return jobQueue{turns: fair.NewTurns[*lane](int(writes) + 1), ready: make(chan struct{}, 1)}
}

func (q *jobQueue) add(l *lane, j job) {
	class := writes
	if j.reads {
		class = l.class()
	}
	q.turns.Enter(&l.work, l, class)
	q.signal()
}

// signal has a job done, if any lane waits with one.
func (q *jobQueue) signal() {
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
func (q *jobQueue) next(memory *fair.Shares) *lane {
	l, ok := q.turns.Next(func(c fair.Class) bool { return c == writes || memory.Any(c) })
	if ok {
		q.signal()
	}
	return l
}

// wants returns the lane's job, if it has one, and the time at which to ask
// again if nothing changes before: later than now, or never.
func (d *Dispatcher) wants(l *lane, now time.Time) (j job, again time.Time) {
	switch {
	case now.Before(l.retryAt):
		return j, l.retryAt
	case l.suspend != nil:
		return job{do: (*Dispatcher).suspendIt}, again
	case l.cancel:
		return job{do: (*Dispatcher).cancelSome}, again
	case l.makeDue && l.aside > 0:
		return j, again // those on their way to be put off are to be made due as well
	case l.makeDue:
		return job{do: (*Dispatcher).makeSomeDue}, again
	case l.group != nil:
		return j, again // nothing is attempted until what was has been recorded
	case !l.known:
		return job{(*Dispatcher).readPage, true}, again
	case l.webhook == nil:
		return j, again
	case l.pace.open || !l.active():
		return d.wantsWithoutAttempts(l, now)
	case !l.hasPageRoom():
		return j, again
	case l.more || l.isDue(now):
		return job{(*Dispatcher).readPage, true}, again
	}
	return j, l.dueAt
}

// wantsWithoutAttempts is wants for a lane of which nothing is attempted, but
// probes.
func (d *Dispatcher) wantsWithoutAttempts(l *lane, now time.Time) (j job, again time.Time) {
	switch {
	case !now.Before(l.expireAt):
		return job{do: (*Dispatcher).expireSome}, again
	case !l.active() || l.probe != nil || l.window.len() > 0:
		return j, l.expireAt
	case now.Before(l.pace.nextProbe):
		return j, earliest(l.expireAt, l.pace.nextProbe)
	}
	return job{(*Dispatcher).readProbe, true}, l.expireAt
}

// reconsider updates everything about a lane after a change: its class, its
// place among those that wait for a slot, its job, its alarm, its end.
func (d *Dispatcher) reconsider(l *lane, now time.Time) {
	if l.lost {
		d.depart(l)
		return
	}
	if !d.running {
		return
	}
	if !now.Before(l.retryAt) {
		l.retryAt = time.Time{}
	}
	d.classify(l)
	d.counts.count(l)
	if l.runnable(now) {
		d.turns.Enter(&l.slot, l, l.class())
	} else {
		l.slot.Leave()
	}
	var again time.Time
	if !l.working { // else whoever works for it reconsiders it
		var j job
		if j, again = d.wants(l, now); j.do != nil {
			d.jobs.add(l, j)
		} else {
			l.work.Leave()
		}
	}
	if l.pace.resting(now) {
		again = earliest(again, l.pace.resumeAt)
	}
	if !l.idle() {
		l.idleAt = time.Time{}
	} else if l.idleAt.IsZero() {
		l.idleAt = now
	}
	if !l.idleAt.IsZero() {
		again = earliest(again, l.idleAt.Add(idleAfter))
		if !now.Before(again) {
			d.forget(l)
			return
		}
	}
	if d.alarms.set(l, again) {
		d.wakeLoop()
	}
}

// forget removes a lane that has been idle for a while.
func (d *Dispatcher) forget(l *lane) {
	d.alarms.set(l, time.Time{})
	d.counts.leave(l)
	delete(d.lanes, l.account)
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
		l := d.jobs.next(&d.memory)
		var j job
		var epoch int
		if l != nil {
			j, _ = d.wants(l, time.Now())
			epoch = l.epoch
			l.working, l.missed, l.noted = true, 0, time.Time{}
			l.window.ask()
		}
		d.mu.Unlock()
		if l != nil {
			d.doJob(ctx, l, j, epoch)
		}
	}
}

func (d *Dispatcher) doJob(ctx context.Context, l *lane, j job, epoch int) {
	var takeIn func(time.Time)
	var err error
	if j.do != nil {
		takeIn, err = d.ask(ctx, l, j)
	}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.release(l, l.kept)
	l.kept = 0
	if err == nil && takeIn != nil && l.epoch == epoch {
		err = d.takeIn(l, takeIn, now)
	}
	l.working = false
	for _, a := range d.takeLate(l) { // not merged
		l.miss(a.Delivery.Seq)
	}
	if l.missed != 0 {
		l.miss(l.missed)
	}
	clear(l.gone)
	l.window.answered()
	if err != nil && ctx.Err() == nil {
		l.retryGap = min(max(2*l.retryGap, storeRetryGap), maxStoreRetryGap)
		l.retryAt = now.Add(l.retryGap)
		if l.failed.due(err.Error(), now) {
			d.cfg.Logger.Error("working on a lane failed", "account", l.account, "error", err)
		}
	}
	if err == nil {
		l.retryGap = 0
	}
	d.reconsider(l, now)
	d.startAttempts(now)
}

// ask does a job's part outside the lock.
func (d *Dispatcher) ask(ctx context.Context, l *lane, j job) (takeIn func(time.Time), err error) {
	defer d.survive("working on a lane", l.account, &err)
	return j.do(d, ctx, l)
}

// takeIn takes in the answer. A panic makes the lane read anew.
func (d *Dispatcher) takeIn(l *lane, takeIn func(time.Time), now time.Time) (err error) {
	defer func() {
		if err != nil {
			d.fallBehind(l)
		}
	}()
	defer d.survive("working on a lane", l.account, &err)
	takeIn(now)
	return nil
}

// suspendIt makes the webhook SUSPENDED that has answered 410. The listener is
// told of it before that returns.
func (d *Dispatcher) suspendIt(ctx context.Context, l *lane) (func(time.Time), error) {
	d.mu.Lock()
	w := l.suspend
	d.mu.Unlock()
	if w == nil {
		return nil, nil // put again meanwhile
	}
	err := d.cfg.Store.SuspendWebhook(ctx, *w, time.Now())
	return func(time.Time) { l.suspend = nil }, err
}

// makeSomeDue makes what was put off due, a part at a time.
func (d *Dispatcher) makeSomeDue(ctx context.Context, l *lane) (func(time.Time), error) {
	n, err := d.cfg.Store.MakeDue(ctx, l.account, time.Now(), jobRows)
	return func(now time.Time) {
		l.makeDue = n == jobRows
		l.dueBy(now)
	}, err
}

// cancelSome cancels what a deleted webhook left, a part at a time.
func (d *Dispatcher) cancelSome(ctx context.Context, l *lane) (func(time.Time), error) {
	n, err := d.cfg.Store.Cancel(ctx, l.account, time.Now(), jobRows)
	return func(time.Time) { l.cancel = n == jobRows }, err
}

// expireSome gives up what is past the horizon, a part at a time, and finds out
// when there will be more.
func (d *Dispatcher) expireSome(ctx context.Context, l *lane) (func(time.Time), error) {
	begin := time.Now()
	n, err := d.cfg.Store.Expire(ctx, l.account, begin.Add(-d.cfg.RetryHorizon), begin, jobRows)
	if err != nil || n == jobRows {
		return nil, err
	}
	rest, err := d.cfg.Store.Oldest(ctx, l.account)
	return func(now time.Time) {
		l.expireAt = now
		switch {
		case len(rest.Fresh) > 0:
			l.oldest = rest.Fresh[0].Seq
			l.expireAt = latest(now, rest.Fresh[0].AcceptedAt.Add(d.cfg.RetryHorizon))
		case !l.active():
			l.dueAt = l.noted
			d.caughtUp(l, now) // nothing waits for the webhook to go on
		}
		l.expireAt = l.expireAt.Add(expireGap)
	}, err
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
