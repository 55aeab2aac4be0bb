package lane

import (
	"time"

	"github.com/recapito/recapito/store"
)

// Wait says what one of the account's PENDING deliveries waits for. It and the webhook
// are as the store has them; nil: there is none.
func (l *Lane) Wait(w *store.Webhook, del *store.Delivery, now time.Time) store.Wait {
	it := l.window.items[del.Seq]
	switch {
	case it != nil && (it.state == inFlight || it.state == attempted):
		return store.Wait{For: store.ForOutcome}
	case l.suspend != nil:
		return store.Wait{For: store.ForPut}
	case l.Open():
		return l.waitForProbe(del, now)
	case it != nil && it.state == waiting && it.behindEarlier():
		return store.Wait{For: store.ForEarlierEvent, EventID: del.Behind.EventID}
	case it != nil && (it.state == ready || it.state == waiting):
		return store.Wait{For: store.ForTurn}
	}
	own := *del
	if l.makeDue {
		own.DueAt, own.Behind.DueAt = notLater(own.DueAt, now), notLater(own.Behind.DueAt, now)
	}
	if !own.DueAt.After(now) && l.overtaking(now)(behindSince(&own, now)) {
		own.Behind = store.Behind{}
	}
	return own.Wait(w, now)
}

// waitForProbe: the oldest delivery is the probe, and the others wait for its
// success.
func (l *Lane) waitForProbe(del *store.Delivery, now time.Time) store.Wait {
	wait := store.Wait{For: store.ForProbe}
	if next := l.health.Breaker.NextProbe(); del.Seq == l.oldest.seq && next.After(now) {
		wait.NextAttempt = next
	}
	return wait
}

func notLater(at, now time.Time) time.Time {
	if at.After(now) {
		return now
	}
	return at
}
