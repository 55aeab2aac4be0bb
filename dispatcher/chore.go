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
	// choreRows bounds the rows of one write for a lane, so that the store goes
	// on accepting.
	choreRows = 500
	// expireGap is how late a lane without attempts may give up deliveries past
	// the horizon.
	expireGap = 5 * time.Minute
	// idleAfter is how long a lane with nothing to do remembers its endpoint.
	idleAfter = time.Minute
)

// chore is one request of a lane to the store.
type chore struct {
	// do asks the store. It returns a function that handles the answer. That
	// function is not called if a change of the lane made the answer worthless.
	do    func(d *Dispatcher, ctx context.Context, l *lane) (takeIn func(now time.Time), err error)
	reads bool // deliveries into memory
}

// choreQueue holds the lanes with a chore: in each class those that read, which wait
// for memory as well, and those that write in a class of their own.
type choreQueue struct {
	turns fair.Turns[*lane]
	ready chan struct{} // holds a token while there may be something to do
}

// writes are the class of the lanes that write.
const writes = classes

func newChoreQueue() choreQueue {
	return choreQueue{turns: fair.NewTurns[*lane](int(writes) + 1), ready: make(chan struct{}, 1)}
}

func (q *choreQueue) enter(l *lane, c chore) {
	class := writes
	if c.reads {
		class = l.class()
	}
	q.turns.Enter(&l.work, l, class)
	q.signal()
}

// signal wakes a worker, if any lane waits for one.
func (q *choreQueue) signal() {
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
func (q *choreQueue) next(memory *fair.Shares) *lane {
	l, ok := q.turns.Next(func(c fair.Class) bool { return c == writes || memory.Any(c) })
	if ok {
		q.signal()
	}
	return l
}

// wants returns the lane's chore, if it has one, and the time at which to ask
// again if nothing changes before: later than now, or never.
func (d *Dispatcher) wants(l *lane, now time.Time) (c chore, again time.Time) {
	switch {
	case now.Before(l.retryAt):
		return c, l.retryAt
	case l.suspend != nil:
		return chore{do: (*Dispatcher).suspendIt}, again
	case l.cancel:
		return chore{do: (*Dispatcher).cancelSome}, again
	case l.makeDue && l.aside > 0:
		return c, again // those on their way to be put off are to be made due as well
	case l.makeDue:
		return chore{do: (*Dispatcher).makeSomeDue}, again
	case l.group != nil:
		return c, again // nothing is attempted until what was has been recorded
	case !l.known:
		return chore{(*Dispatcher).readPage, true}, again
	case l.webhook == nil:
		return c, again
	case l.pace.open || !l.active():
		return d.wantsAtRest(l, now)
	case !l.hasPageRoom():
		return c, again
	case l.more || l.isDue(now):
		return chore{(*Dispatcher).readPage, true}, again
	}
	return c, l.dueAt
}

// wantsAtRest is wants for a lane whose deliveries all wait.
func (d *Dispatcher) wantsAtRest(l *lane, now time.Time) (c chore, again time.Time) {
	switch {
	case !now.Before(l.expireAt):
		return chore{do: (*Dispatcher).expireSome}, again
	case !l.active() || l.probe != nil || l.window.len() > 0:
		return c, l.expireAt
	case now.Before(l.pace.nextProbe):
		return c, earliest(l.expireAt, l.pace.nextProbe)
	}
	return chore{(*Dispatcher).readProbe, true}, l.expireAt
}

// reconsider updates everything about a lane after a change: its class, its
// place among those that wait for a slot, its chore, its alarm, its end.
func (d *Dispatcher) reconsider(l *lane, now time.Time) {
	if !d.running {
		return
	}
	if !now.Before(l.retryAt) {
		l.retryAt = time.Time{}
	}
	d.classify(l)
	d.census.count(l)
	if l.runnable(now) {
		d.turns.Enter(&l.slot, l, l.class())
	} else {
		l.slot.Leave()
	}
	var again time.Time
	if !l.working { // else whoever works for it reconsiders it
		var c chore
		if c, again = d.wants(l, now); c.do != nil {
			d.chores.enter(l, c)
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
	d.census.leave(l)
	delete(d.lanes, l.account)
}

// doChores does the chores of one lane after another until ctx ends.
func (d *Dispatcher) doChores(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.chores.ready:
		}
		d.mu.Lock()
		l := d.chores.next(&d.memory)
		var c chore
		var epoch int
		if l != nil {
			c, _ = d.wants(l, time.Now())
			epoch = l.epoch
			l.working, l.lost, l.noted = true, false, time.Time{}
			l.window.ask()
		}
		d.mu.Unlock()
		if l != nil {
			d.doChore(ctx, l, c, epoch)
		}
	}
}

func (d *Dispatcher) doChore(ctx context.Context, l *lane, c chore, epoch int) {
	var takeIn func(time.Time)
	var err error
	if c.do != nil {
		takeIn, err = d.ask(ctx, l, c)
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
	if late := d.takeLate(l); len(late) > 0 || l.lost {
		l.more = true // not merged: read it
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

// ask does a chore's part outside the lock.
func (d *Dispatcher) ask(ctx context.Context, l *lane, c chore) (takeIn func(time.Time), err error) {
	defer d.survive("working on a lane", l.account, &err)
	return c.do(d, ctx, l)
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
	n, err := d.cfg.Store.MakeDue(ctx, l.account, time.Now(), choreRows)
	return func(now time.Time) {
		l.makeDue = n == choreRows
		l.dueBy(now)
	}, err
}

// cancelSome cancels what a deleted webhook left, a part at a time.
func (d *Dispatcher) cancelSome(ctx context.Context, l *lane) (func(time.Time), error) {
	n, err := d.cfg.Store.Cancel(ctx, l.account, time.Now(), choreRows)
	return func(time.Time) { l.cancel = n == choreRows }, err
}

// expireSome gives up what is past the horizon, a part at a time, and finds out
// when there will be more.
func (d *Dispatcher) expireSome(ctx context.Context, l *lane) (func(time.Time), error) {
	begin := time.Now()
	n, err := d.cfg.Store.Expire(ctx, l.account, begin.Add(-d.cfg.RetryHorizon), begin, choreRows)
	if err != nil || n == choreRows {
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
