package dispatcher

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/dispatcher/fair"
	"github.com/recapito/recapito/dispatcher/lane"
	"github.com/recapito/recapito/dispatcher/signature"
	"github.com/recapito/recapito/store"
)

// errWithdrawn: the webhook changed between the start of an attempt and its
// first byte, or the account was lost.
var errWithdrawn = errors.New("the attempt is not to be made any more")

// attempt is one under way.
type attempt struct {
	*lane.Attempt
	member     *member
	class      fair.Class // as which its slot is counted
	listed     bool
	followed   func(*store.Outcome) // nil: nobody follows it
	prev, next *attempt             // see attemptList
}

// startAttempts gives free slots to lanes, in turn. Each attempt has a
// worker, which goes on with another one as long as there is one.
func (d *Dispatcher) startAttempts(now time.Time) {
	for a := d.nextAttempt(now); a != nil; a = d.nextAttempt(now) {
		d.workers.run(a)
	}
}

// nextAttempt gives a slot to the next lane; nil: there is none, or no slot.
func (d *Dispatcher) nextAttempt(now time.Time) *attempt {
	if !d.workers.running() || d.recorder.isFull() {
		return nil
	}
	m, ok := d.nextLane(now)
	if !ok {
		return nil
	}
	a := &attempt{member: m, class: m.SlotClass(), Attempt: m.Begin(now)}
	m.take()
	d.counts.count(m, now)
	d.slots.take(a)
	if d.slots.Total() == 1 {
		d.alarms.wake() // to watch it
	}
	if m.Runnable(now) {
		d.slots.turns.Enter(&m.slot, m, m.SlotClass())
	}
	return a
}

// post makes the attempt's HTTP request.
func (a *attempt) post(ctx context.Context) egress.Result {
	d, del := a.member.d, a.Delivery()
	return d.send(ctx, "an attempt", a.member.Account(), &egress.Request{
		URL:      a.Webhook.CallbackURL,
		Header:   a.follow(d.cfg.header(a.Webhook, del.EventID, del.Body, del.Attempts+1, a.Started)),
		Body:     del.Body,
		Deadline: a.Started.Add(d.cfg.AttemptTimeout), MadeSince: a.MadeSince,
		Proceed: a.proceed, Sent: a.sent,
	})
}

// send makes a request. A panic is a failure of this one alone.
func (d *Dispatcher) send(ctx context.Context, what, account string, r *egress.Request) (res egress.Result) {
	var panicked error
	defer func() {
		if panicked != nil {
			res = egress.Result{Kind: egress.Internal, Err: panicked}
		}
	}()
	defer survive(d.cfg.Logger, what, account, &panicked)
	return d.cfg.Sender.Post(ctx, r)
}

func (c *Config) header(w *store.Webhook, eventID string, body []byte, number int, now time.Time) []egress.Field {
	return []egress.Field{
		{Name: "Content-Type", Value: "application/json"},
		{Name: "User-Agent", Value: c.UserAgent},
		{Name: "Webhook-Id", Value: eventID},
		{Name: "Webhook-Timestamp", Value: strconv.FormatInt(now.Unix(), 10)},
		{Name: "Webhook-Signature", Value: signature.Header(w.SigningSecrets(now), eventID, now, body)},
		{Name: "Webhook-Attempt", Value: strconv.Itoa(number)},
	}
}

// proceed asks for its first byte.
func (a *attempt) proceed() error {
	d := a.member.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.cfg.Store.May(a.member.Account()) || !a.member.Proceed(a.Attempt) {
		return errWithdrawn
	}
	return nil
}

// sent counts the attempt if the lease has run out since it was allowed to proceed: the
// process was stopped between, and others may have taken the account over.
func (a *attempt) sent() {
	if d := a.member.d; !d.cfg.Store.May("") {
		d.workers.late.Add(1)
	}
}

// ended takes in how the attempt ended and returns the next one for its worker; nil:
// it is to wait for it.
func (a *attempt) ended(res *egress.Result, own worker) *attempt {
	m, d, now := a.member, a.member.d, time.Now()
	d.mu.Lock()
	d.slots.giveBack(a)
	result := resultOf(res, a.Started, now)
	o, counts := m.Ended(a.Attempt, &result, now)
	d.workers.notice(res, d.cfg.Logger, now)
	m.apply(now)
	next := d.nextAttempt(now)
	if next == nil {
		d.workers.wait(own)
	}
	d.startAttempts(now)
	d.mu.Unlock()
	if counts {
		a.tell(&o, res.Err, now)
	}
	return next
}

// resultOf is what a lane is told of a request that has ended now.
func resultOf(res *egress.Result, started, now time.Time) lane.Result {
	return lane.Result{
		Attempt:  *attemptOf(res, started, now),
		Void:     res.Kind == egress.Withdrawn || res.Kind == egress.Interrupted || res.Kind == egress.Exhausted || res.Kind == egress.NoWayOut,
		Internal: res.Kind == egress.Internal,
		// Our resolver and our proxy may be, and what our machine knows of authorities is.
		MayBeOurs:  res.Kind == egress.DNSFailed || res.Kind == egress.NoAuthorities || res.Kind == egress.NoWayOut || res.ByProxy,
		TimedOut:   res.TimedOut(),
		RetryAfter: parseRetryAfter(res.RetryAfter, now),
	}
}

// attemptOf is the record of a request that has ended now.
func attemptOf(res *egress.Result, started, now time.Time) *store.Attempt {
	return &store.Attempt{
		At: started, Duration: now.Sub(started),
		StatusCode: res.StatusCode, Error: errorKind(res.Kind), Detail: string(res.Detail),
		Location: res.Location, Header: res.Header, Response: res.Excerpt,
		Phases: store.Phases(res.Phases), Reused: res.Reused, Address: res.Address,
	}
}

func errorKind(k egress.Kind) store.ErrorKind {
	if k == egress.Acknowledged {
		return ""
	}
	return store.ErrorKind(k.String())
}
