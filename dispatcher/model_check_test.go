package dispatcher_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

func (w *world) errorf(format string, args ...any) {
	w.errs = append(w.errs, fmt.Sprintf("at %v: ", time.Since(w.recv.start))+fmt.Sprintf(format, args...))
}

// answer is every endpoint.
func (w *world) answer(ctx context.Context, c call) egress.Result {
	w.recv.mu.Lock()
	e, n := w.events[c.ID], index(c.ID)
	end := &w.accounts[n]
	known := w.slow.toldOf(name(n))
	term := known.term
	if !known.at.Before(time.Now().Add(-w.recv.connects())) {
		term = 0 // it may have begun before the change, or after
	}
	if end.term != term {
		end.term, end.failures = term, 0
	}
	w.renew(e)
	w.checkStart(c, e, n)
	process := w.starts
	w.open[e.queue()] = e
	e.attempts++
	end.open++
	behaviour := end.answer
	w.recv.mu.Unlock()

	res := behave(ctx, c, behaviour)

	w.recv.mu.Lock()
	defer w.recv.mu.Unlock()
	if res.Kind != egress.Acknowledged && res.Kind != egress.Interrupted && e.first.IsZero() {
		e.first = time.Now()
	}
	if process != w.starts {
		return res // it was killed meanwhile: nobody hears of it
	}
	delete(w.open, e.queue())
	end.open--
	switch {
	case res.Kind == egress.Acknowledged:
		e.acked++
		e.ackedIn = w.starts
		end.acked = true
		if end.failures >= 10 || end.wasOpen {
			end.madeDue = time.Now()
		}
		end.failures, end.wasOpen = 0, false
	case res.Kind != egress.Interrupted && res.StatusCode != 410 && w.current(c, n, term):
		end.failures++
		end.failed = time.Now()
		e.failed, e.term = end.failed, term
	}
	return res
}

func behave(ctx context.Context, c call, behaviour string) egress.Result {
	switch behaviour {
	case "ok":
		return ok(ctx, c)
	case "slow":
		time.Sleep(1500 * time.Millisecond)
		return ok(ctx, c)
	case "hang":
		return hang(ctx, c)
	case "flaky":
		time.Sleep(10 * time.Millisecond)
		if len(c.ID)%3 == c.Attempt%3 {
			return status(500)(ctx, c)
		}
		return ok(ctx, c)
	case "503 for long":
		return unavailableForLong(ctx, c)
	}
	var code int
	_, _ = fmt.Sscan(behaviour, &code)
	return status(code)(ctx, c)
}

func index(id string) (account int) {
	_, _ = fmt.Sscanf(id, "a%d-", &account)
	return account
}

// current reports whether an attempt that began in that term says something
// about the account's present endpoint.
func (w *world) current(c call, account, term int) bool {
	h, err := w.kept.Webhook(context.Background(), name(account))
	return err == nil && h.CallbackURL == c.URL && w.slow.toldOf(name(account)).term == term
}

// minGap is between a failure and the next attempt, and before a first probe.
const minGap = 5 * time.Second

// checkStart holds what must be true when an attempt sends its first byte.
func (w *world) checkStart(c call, e *modelEvent, account int) {
	w.checkBarred(c, account)
	if !w.goesThere(c.URL, account) {
		w.errorf("%s went to %q, which is not the active URL: %+v", c.ID, c.URL, w.slow.toldOf(name(account)).webhook)
	}
	if e.acked > 0 && e.ackedIn == w.starts {
		w.errorf("%s came again after it was acknowledged, without a restart", c.ID)
	}
	if d, _, err := w.kept.Delivery(context.Background(), name(account), c.ID); e.acked > 0 && (err != nil || d.State == store.Delivered) {
		w.errorf("%s came again after its acknowledgement was recorded (%v)", c.ID, err)
	}
	if o := w.open[e.queue()]; o != nil {
		w.errorf("%s began while %s of the same message was under way", c.ID, o.id)
	}
	e.due = time.Time{}
	w.checkOrder(e, account)
	age := time.Since(e.accepted)
	// What is withdrawn goes back to where it waits, and a read may take in two
	// more than there is room for.
	if held, most := w.disp.Stats().HeldBytes, w.cfg.WindowBytes+40*(w.cfg.MaxInFlight+5); held > most {
		w.errorf("%d bytes wait in memory, want %d at most", held, most)
	}
	if age > 72*time.Hour+time.Minute {
		w.errorf("%s was attempted %v after it was accepted", c.ID, age)
	}
	end := &w.accounts[account]
	hurried := !end.hurried.Before(end.failed)
	if !end.probes && !hurried && e.term == end.term && end.failures < 10 && !end.madeDue.After(e.failed) && time.Since(e.failed) < minGap {
		w.errorf("%s came again after %v", c.ID, time.Since(e.failed))
	}
	if end.open > 0 && !end.acked {
		w.errorf("%s began beside %d others, though nothing has been acknowledged", c.ID, end.open)
	}
	end.probes = false
	since := time.Since(end.failed)
	// One that had begun before the breaker opened has yet to connect.
	if end.failures >= 10 && since > w.recv.connects() && (since < minGap && !hurried || end.open > 0) {
		w.errorf("%s began %v after failure %d in a row, beside %d others", c.ID, since, end.failures, end.open)
	}
	w.checkConnection(c, account)
}

// checkConnection: where the host may have moved, its name is looked up again.
func (w *world) checkConnection(c call, account int) {
	made, known, end := w.recv.start.Add(c.Made), w.slow.toldOf(name(account)), &w.accounts[account]
	if known.changed.Before(time.Now()) && made.Before(known.committed) {
		w.errorf("%s went over a connection made %v before the webhook was changed", c.ID, known.committed.Sub(made))
	}
	if end.failures >= 10 && time.Since(end.failed) > w.recv.connects() && made.Before(end.failed) {
		w.errorf("%s went over a connection made %v before failure %d in a row", c.ID, end.failed.Sub(made), end.failures)
	}
}

// checkOrder: an event waits until each earlier one of its message has ended, or
// first failed a minute ago.
func (w *world) checkOrder(e *modelEvent, account int) {
	for _, o := range w.order[e.message] {
		if o == e {
			return
		}
		wait := time.Since(o.first)
		if !o.before(e) || o.acked > 0 || o.deleted || o.attempts >= 13 || time.Since(o.accepted) > 71*time.Hour || (!o.first.IsZero() && (wait < 0 || wait >= time.Minute)) {
			continue
		}
		if d, _, err := w.kept.Delivery(context.Background(), name(account), o.id); err == nil && d.State == store.Pending {
			w.errorf("%s overtook %s, which first failed at %v", e.id, o.id, o.first)
		}
	}
}

// goesThere: an attempt goes where the dispatcher has been told, or where a
// page from the store may have told it. What changes in the same instant may
// come first or last.
func (w *world) goesThere(url string, account int) bool {
	known := w.slow.toldOf(name(account))
	may := []*store.Webhook{known.webhook}
	if time.Now().Equal(known.at) {
		may = append(may, known.before)
	}
	if h, err := w.kept.Webhook(context.Background(), name(account)); err == nil {
		may = append(may, &h)
	}
	for _, h := range may {
		if h != nil && h.Status == store.Active && h.CallbackURL == url {
			return true
		}
	}
	return false
}

// patience is how long it may take until an endpoint that has healed has got
// all that is due: the longest gap between probes, and a bit.
const patience = 6 * time.Minute

// checkProgress: nothing that may be delivered is left lying.
func (w *world) checkProgress() {
	for id, e := range w.events {
		end := &w.accounts[index(id)]
		if end.answer != "ok" || time.Since(end.healthy) < patience || !w.slow.works(index(id)) || !w.slow.owned(name(index(id))) {
			continue
		}
		rewound := !e.due.IsZero() && time.Since(e.due) > patience
		if !rewound && time.Since(e.accepted) < patience {
			continue
		}
		h, err := w.kept.Webhook(context.Background(), name(index(id)))
		d, _, _ := w.kept.Delivery(context.Background(), name(index(id)), id)
		if d.State == store.Pending && (err != nil || h.Status == store.Active) && (rewound || time.Since(d.DueAt) > 10*time.Second) {
			w.errorf("%s is PENDING, due %v, though its endpoint has been healthy since %v", id, d.DueAt, end.healthy)
		}
	}
}

// checkWaits: what accounts are told that their deliveries wait for is so, at a
// time when nothing moves.
func (w *world) checkWaits() {
	now, underWay := time.Now(), 0
	for i := range modelAccounts {
		if !w.slow.owned(name(i)) {
			continue
		}
		page, err := w.kept.Deliveries(context.Background(), store.DeliveryQuery{AccountID: name(i), States: []store.State{store.Pending}, Limit: 1 << 20})
		if err != nil {
			w.errorf("%v", err)
		}
		pending := page.Deliveries
		slices.SortFunc(pending, func(a, b store.Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
		webhook, err := w.kept.Webhook(context.Background(), name(i))
		suspended := err == nil && webhook.Status == store.Suspended
		var hook *store.Webhook
		if err == nil {
			hook = &webhook
		}
		open, before := w.disp.IsOpen(name(i)), map[string]string{}
		// What had begun when others attempted it is withdrawn when it connects.
		moved := time.Since(w.accounts[i].moved) <= w.recv.connects()
		for n, wait := range w.disp.Waits(name(i), hook, pending, now) {
			d := &pending[n]
			if wait.For == store.ForOutcome {
				underWay++
			}
			if problem := falseWait(wait, d, n == w.probed(pending), open, suspended, before[queueOf(d)], now); problem != "" && (!moved || wait.For != store.ForEarlierEvent) {
				w.errorf("%s waits for %s until %v, but %s", d.EventID, wait.For, wait.NextAttempt, problem)
			}
			w.recv.mu.Lock()
			if e := w.events[d.EventID]; w.open[e.queue()] == e && wait.For != store.ForOutcome {
				w.errorf("%s waits for %s, but is under way", d.EventID, wait.For)
			}
			w.recv.mu.Unlock()
			before[queueOf(d)] = d.EventID
		}
	}
	if s := w.disp.Stats(); underWay > s.SlotsInUse+s.Unrecorded {
		w.errorf("%d are said to be under way, but there are %d attempts and %d outcomes to record", underWay, s.SlotsInUse, s.Unrecorded)
	}
}

// checkHealth: what is told and recorded of endpoints is so, soon after a change.
func (w *world) checkHealth() {
	const soon = 3 * time.Second
	for i := range modelAccounts {
		end := &w.accounts[i]
		shown, ok := w.disp.Shown(name(i))
		webhook, err := w.kept.Webhook(context.Background(), name(i))
		if !ok || err != nil || !w.slow.owned(name(i)) || !w.slow.works(i) || time.Since(end.healthy) < 2*soon {
			continue
		}
		if late := time.Since(shown.Since) > soon; late && (webhook.Health.State != shown.State || !webhook.Health.Since.Equal(shown.Since)) {
			w.errorf("a%d is %s since %v; recorded is %s since %v", i, shown.State, shown.Since, webhook.Health.State, webhook.Health.Since)
		}
		w.recv.mu.Lock()
		failures, failed := end.failures, end.failed
		if end.term != w.slow.toldOf(name(i)).term || !failed.After(end.moved) {
			failures = 0
		}
		w.recv.mu.Unlock()
		failing := shown.State == store.HealthFailing || shown.State == store.HealthProbing || shown.State == store.HealthSuspended
		if failures >= 3 && !failing {
			w.errorf("a%d is %s after %d failures in a row", i, shown.State, failures)
		}
	}
}

// falseWait says what is wrong with what is told of a delivery.
func falseWait(wait store.Wait, d *store.Delivery, oldest, open, suspended bool, behind string, now time.Time) string {
	timed := !wait.NextAttempt.IsZero()
	switch {
	case timed && !wait.NextAttempt.After(now):
		return "that is past"
	case wait.For == store.ForOutcome:
		return ""
	case wait.For == store.ForPut:
		return "" // is SUSPENDED, or is about to be
	case suspended:
		return "the webhook is SUSPENDED"
	case open != (wait.For == store.ForProbe):
		return fmt.Sprint("that the breaker is open is ", open)
	case wait.For == store.ForEarlierEvent && behind == "":
		return "there is none"
	case wait.For == store.ForEarlierEvent && wait.EventID != behind:
		return fmt.Sprintf("not for %q but for %q", wait.EventID, behind)
	case wait.For == store.ForRetry && !wait.NextAttempt.Equal(d.DueAt):
		return fmt.Sprint("it is due ", d.DueAt)
	case timed && open && !oldest:
		return "the probe goes with an older one"
	case timed && wait.For != store.ForRetry && wait.For != store.ForProbe:
		return "nobody knows that"
	}
	return ""
}

func (w *world) checkEnd() {
	for id, e := range w.events {
		d, attempts, err := w.kept.Delivery(context.Background(), name(index(id)), id)
		failures := 0
		for _, a := range attempts {
			if a.Error != "" && !a.Probe {
				failures++
			}
		}
		age := d.FinishedAt.Sub(e.accepted)
		switch {
		case err != nil:
			w.errorf("%s was accepted and is gone: %v", id, err)
		case d.State == store.Pending:
			w.errorf("%s is PENDING a day after its endpoint healed (%d attempts, due %v)", id, d.Attempts, d.DueAt)
		case d.State == store.Delivered && e.acked == 0:
			w.errorf("%s is DELIVERED but never arrived", id)
		case d.State == store.Cancelled && !e.deleted:
			w.errorf("%s was CANCELLED, but its webhook never was deleted", id)
		case d.State == store.Failed && age < 71*time.Hour && d.Failures < 13:
			w.errorf("%s was given up early: after %v and %d failures", id, age, d.Failures)
		case d.Failures > failures:
			w.errorf("%s: %d failures counted, %d attempts used up the schedule", id, d.Failures, failures)
		case e.replay == 0 && w.starts == 0 && !w.fenced && len(attempts) != e.attempts && d.State == store.Delivered:
			w.errorf("%s: %d attempts recorded, %d arrived", id, len(attempts), e.attempts)
		}
	}
	if s := w.disp.Stats(); s.HeldBytes != 0 || s.SlotsInUse != 0 || s.Unrecorded != 0 || s.Lanes != 0 {
		w.errorf("idle, but %+v", s)
	}
}
