package dispatcher

import (
	"time"

	"github.com/recapito/recapito/store"
)

// Waits says what each of an account's PENDING deliveries waits for. They and
// the webhook are as the store has them; nil: there is no webhook.
func (d *Dispatcher) Waits(account string, w *store.Webhook, pending []store.Delivery, now time.Time) []store.Wait {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lanes[account]
	if l == nil {
		l = &lane{} // the scan of the start has not found it yet
	}
	waits := make([]store.Wait, len(pending))
	for i := range pending {
		waits[i] = d.wait(l, w, &pending[i], now)
	}
	return waits
}

func (d *Dispatcher) wait(l *lane, w *store.Webhook, del *store.Delivery, now time.Time) store.Wait {
	it := l.window.items[del.Seq]
	switch {
	case it != nil && (it.state == inFlight || it.state == attempted):
		return store.Wait{For: store.ForOutcome}
	case l.suspend != nil:
		return store.Wait{For: store.ForPut}
	case l.pace.open:
		return l.waitForProbe(del, now)
	case it != nil && it.state == waiting:
		return store.Wait{For: store.ForEarlierEvent, EventID: del.Behind.EventID}
	case it != nil && it.state == ready:
		return store.Wait{For: store.ForTurn}
	}
	own := *del
	if l.makeDue {
		own.DueAt, own.Behind.DueAt = notLater(own.DueAt, now), notLater(own.Behind.DueAt, now)
	}
	if !own.DueAt.After(now) && d.overtaking(now)(behindSince(&own, now)) {
		own.Behind = store.Behind{}
	}
	return own.Wait(w, now)
}

// waitForProbe: the oldest delivery is the probe, and the others wait for its
// success.
func (l *lane) waitForProbe(del *store.Delivery, now time.Time) store.Wait {
	wait := store.Wait{For: store.ForProbe}
	if del.Seq == l.oldest && l.pace.nextProbe.After(now) {
		wait.NextAttempt = l.pace.nextProbe
	}
	return wait
}

func notLater(at, now time.Time) time.Time {
	if at.After(now) {
		return now
	}
	return at
}
