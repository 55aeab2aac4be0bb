package lane

import (
	"time"

	"github.com/recapito/recapito/store"
)

// probes are what the open breaker probes with.
type probes struct {
	probe  *item // to be attempted
	oldest oldest
}

// oldest is the delivery that the open breaker probes with next; zero: that is not
// known. As long as no other is left, it is a replay.
type oldest struct {
	seq      int64
	isReplay bool
}

func oldestIs(d *store.Delivery) oldest { return oldest{d.Seq, d.IsReplay()} }

// accepted notes a delivery in its first run, which may be older.
func (o *oldest) accepted(seq int64) {
	if o.seq != 0 && (o.isReplay || seq < o.seq) {
		*o = oldest{seq: seq}
	}
}

// replayed notes a replay, which may be older.
func (o *oldest) replayed() {
	if o.isReplay {
		*o = oldest{}
	}
}

// ProbeNow has the open breaker probe now, and says what becomes of that. The probe
// begins when the attempts from before the breaker opened have ended.
func (l *Lane) ProbeNow(now time.Time) store.Probing {
	switch {
	case l.lost || !l.Open() || !l.active() || l.suspend != nil:
		return store.NotOpen
	case l.probe != nil && l.probe.state == inFlight:
		return store.ProbeUnderWay
	}
	l.health.Breaker.ProbeNow(now)
	return store.ProbeBegins
}

// probeWith gives the open breaker the account's oldest delivery to probe with, a
// replay only if there is no other.
func (l *Lane) probeWith(page *store.Backlog, now time.Time) {
	l.renew(page.Webhook, now)
	left := append(page.Fresh, page.Replays...)
	switch {
	case !l.active():
	case len(left) == 0:
		// Nothing to probe with: the next event finds out.
		l.health.NothingToProbe()
		l.makeDue = true
	case !left[0].GoesTo(page.Webhook):
		l.cancel = true
	default:
		it := l.window.hold(&left[0])
		l.hold(len(left[0].Body))
		if left[0].Damaged {
			l.giveUpDamaged(it, now)
			return // the next one probes
		}
		l.probe, l.oldest, l.due = it, oldestIs(it.delivery), due{waiting: sinceAccepted(it.delivery)}
		l.probe.state = ready
		l.window.join(it).head = it // the window is empty
	}
}
