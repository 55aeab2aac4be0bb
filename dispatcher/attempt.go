package dispatcher

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/dispatcher/fair"
	"github.com/recapito/recapito/dispatcher/signature"
	"github.com/recapito/recapito/store"
)

// Observation is what metrics learn of an attempt.
type Observation struct {
	Outcome    string // an error kind's word, or ACKNOWLEDGED
	Duration   time.Duration
	State      store.State // of the delivery, after it
	AcceptedAt time.Time
	Now        time.Time
	Probe      bool
}

// errWithdrawn: the webhook changed between the start of an attempt and its
// first byte.
var errWithdrawn = errors.New("the webhook has changed")

// flight is an attempt under way.
type flight struct {
	lane    *lane
	item    *item
	webhook *store.Webhook // as of the start
	term    int            // of the lane, then
	probe   bool
	since   time.Time  // its connection was made then or later
	class   fair.Class // as which it is counted
	slow    bool
	sent    bool // it has a connection
	started time.Time

	prev, next *flight // in the list of those not yet slow
}

// startAttempts gives free slots to lanes, in turn. Each attempt has a
// goroutine, which goes on with another one as long as there is one.
func (d *Dispatcher) startAttempts(now time.Time) {
	for f := d.nextFlight(now); f != nil; f = d.nextFlight(now) {
		if !d.crew.pass(f) {
			d.attempts.Go(func() { d.fly(f) })
		}
	}
}

// nextFlight takes the next lane's next delivery into flight; nil: there is
// none, or no slot.
func (d *Dispatcher) nextFlight(now time.Time) *flight {
	if !d.running || len(d.pending)+d.writing >= maxUnrecorded || d.apart >= maxApart {
		return nil
	}
	l, ok := d.turns.Next(d.slots.Any)
	if !ok {
		return nil
	}
	f := &flight{lane: l, webhook: l.webhook, term: l.term, class: l.class(), started: now, probe: l.pace.open, since: l.dialledSince}
	if f.probe {
		f.item = l.probe
	} else {
		f.item = l.window.ready.pop()
	}
	f.item.state = inFlight
	d.release(l, len(f.item.delivery.Body))
	l.flights[f] = struct{}{}
	d.slots.Take(f.class, 1)
	if d.slots.Total() == 1 {
		d.wakeLoop() // to watch it
	}
	d.flights.push(f)
	if l.runnable(now) {
		d.turns.Enter(&l.slot, l, l.class())
	}
	return f
}

// fly makes one attempt after the other.
func (d *Dispatcher) fly(f *flight) {
	for s := newSeat(); f != nil; {
		res := d.post(f)
		if f = d.land(f, &res, time.Now(), s); f == nil {
			f = <-s
		}
	}
}

// post makes the HTTP request. A panic is a failure of this attempt alone.
func (d *Dispatcher) post(f *flight) (res egress.Result) {
	var panicked error
	defer func() {
		if panicked != nil {
			res = egress.Result{Kind: egress.Internal, Err: panicked}
		}
	}()
	defer d.survive("an attempt", f.lane.account, &panicked)
	return d.cfg.Sender.Post(d.workCtx, &egress.Request{
		URL:      f.webhook.CallbackURL,
		Header:   d.header(f, time.Now()),
		Body:     f.item.delivery.Body,
		Deadline: f.started.Add(d.cfg.AttemptTimeout), MadeSince: f.since,
		Proceed: func() error { return d.proceed(f) },
	})
}

func (d *Dispatcher) header(f *flight, now time.Time) []egress.Field {
	del := f.item.delivery
	return []egress.Field{
		{Name: "Content-Type", Value: "application/json"},
		{Name: "User-Agent", Value: d.cfg.UserAgent},
		{Name: "Webhook-Id", Value: del.EventID},
		{Name: "Webhook-Timestamp", Value: strconv.FormatInt(now.Unix(), 10)},
		{Name: "Webhook-Signature", Value: signature.Header(f.webhook.SigningSecrets(now), del.EventID, now, del.Body)},
		{Name: "Webhook-Attempt", Value: strconv.Itoa(del.Attempts + 1)},
	}
}

// proceed is the last question before the first byte: is the webhook still the
// one that this attempt began with?
func (d *Dispatcher) proceed(f *flight) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := f.lane.webhook
	if w == nil || w.ID != f.webhook.ID || w.Version != f.webhook.Version {
		return errWithdrawn
	}
	if !f.sent { // else it is asked again, for another connection
		f.sent = true
		f.lane.sent++
	}
	return nil
}

// land takes in how an attempt ended and returns the next one for its
// goroutine; nil: it is to wait for it in its seat.
func (d *Dispatcher) land(f *flight, res *egress.Result, now time.Time, s seat) *flight {
	d.mu.Lock()
	d.unlist(f, res)
	var line *attemptLine
	switch res.Kind {
	case egress.Withdrawn, egress.Interrupted:
		d.takeBack(f)
	case egress.Exhausted:
		d.takeBack(f)
		if d.exhausted.due("", now) {
			d.cfg.Logger.Error("no more files can be opened; attempts wait until others are closed (see ulimit -n)", "error", res.Err)
		}
	default:
		if res.Kind == egress.NoAuthorities && d.authorities.due("", now) {
			d.cfg.Logger.Error("this machine knows no certificate authority, so no endpoint's certificate can be verified; install the system's (ca-certificates) or give --callback-ca, and start again", "error", res.Err)
		}
		line = d.conclude(f, res, now)
	}
	d.reconsider(f.lane, now)
	next := d.nextFlight(now)
	if next == nil {
		d.crew.wait(s)
	}
	d.startAttempts(now)
	d.mu.Unlock()
	if line != nil {
		d.tell(line)
	}
	return next
}

// tell tells the operator of an attempt.
func (d *Dispatcher) tell(line *attemptLine) {
	var panicked error
	defer d.survive("telling of an attempt", line.flight.lane.account, &panicked)
	line.write(d.cfg.Logger)
	d.cfg.Observe(line.observation)
}

// unlist ends the flight's part in the counts.
func (d *Dispatcher) unlist(f *flight, res *egress.Result) {
	d.flights.remove(f)
	d.slots.GiveBack(f.class, 1)
	delete(f.lane.flights, f)
	if f.slow {
		f.lane.pace.slow--
		f.lane.pace.suspect = f.lane.pace.suspect || !mayBeOurs(res)
	}
	if f.sent {
		f.lane.sent--
	}
}

// takeBack undoes the start of an attempt that sent nothing, or that our
// shutdown cut short: it is not counted. After a PUT it waits with the others
// until everything has been made due.
func (d *Dispatcher) takeBack(f *flight) {
	l := f.lane
	if !f.probe && f.current() && l.active() && !l.pace.open && f.item.seq() >= l.webhook.FirstSeq {
		f.item.state = ready
		d.hold(l, len(f.item.delivery.Body))
		l.window.ready.pushFront(f.item)
		return
	}
	now := time.Now()
	for _, it := range l.window.finish(f.item, now, d.overtaking(now)) {
		d.putOff(l, it, now)
	}
	l.window.forget(f.item)
	d.fallBehind(l) // to be read again, if it is still PENDING
}

// conclude decides what an attempt means for its delivery and its lane.
func (d *Dispatcher) conclude(f *flight, res *egress.Result, now time.Time) *attemptLine {
	del := f.item.delivery
	a := attemptOf(res, f.started, now)
	a.Number, a.Probe = del.Attempts+1, f.probe
	o := store.Outcome{Attempt: a, State: store.Delivered, Failures: del.Failures}
	if res.Kind == egress.Acknowledged {
		d.acknowledged(f, a.Duration)
	} else {
		after := parseRetryAfter(res.RetryAfter, now)
		d.refused(f, res, &o, after, now)
		if res.StatusCode == http.StatusGone && f.current() {
			f.lane.suspend = f.webhook
		}
	}
	d.settle(f.lane, f.item, o)
	d.finish(f, o.State, now)
	return &attemptLine{flight: f, attempt: a, err: res.Err, due: o.DueAt, observation: Observation{
		Outcome: outcomeWord(a), Duration: a.Duration, State: o.State, AcceptedAt: del.AcceptedAt, Now: now, Probe: f.probe,
	}}
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

// finish lets the next event of the message go, or puts the later ones off: one
// that stays PENDING holds them back from when it first failed to go.
func (d *Dispatcher) finish(f *flight, state store.State, now time.Time) {
	var failed time.Time
	if state == store.Pending {
		failed = orNow(f.item.delivery.FailedAt, now)
	}
	for _, it := range f.lane.window.finish(f.item, failed, d.overtaking(now)) {
		d.putOff(f.lane, it, it.chain.since)
	}
}

func (d *Dispatcher) acknowledged(f *flight, took time.Duration) {
	l := f.lane
	if f.probe {
		l.probe = nil
	}
	if f.current() && l.pace.succeeded(took, l.sent+1) {
		l.makeDue = true // and everything is read from the beginning
		d.fallBehind(l)
	}
}

// refused is anything but a 2xx.
func (d *Dispatcher) refused(f *flight, res *egress.Result, o *store.Outcome, after time.Duration, now time.Time) {
	l, del := f.lane, f.item.delivery
	if f.probe {
		l.probe = nil
	}
	if !f.current() {
		// The endpoint that failed is not the account's any more, or has been put
		// again since: it gets the event at once, its schedule unused.
		o.State, o.DueAt = store.Pending, now
		return
	}
	if res.Kind == egress.Internal {
		// That says nothing of the endpoint. A probe counts as well, else one event
		// could keep its lane probing for ever.
		d.countFailure(f, o, after, now)
		if f.probe {
			l.pace.probeFailed(now, 0)
		}
		return
	}
	if f.probe {
		o.State, o.DueAt = store.Pending, del.DueAt
		l.dialledSince = now
		l.pace.probeFailed(now, after)
		return
	}
	if res.StatusCode == http.StatusGone {
		// The webhook is about to be suspended; after a PUT it goes on from here.
		o.State, o.DueAt = store.Pending, now
		return
	}
	d.countFailure(f, o, after, now)
	if res.TimedOut() {
		l.pace.rest(now.Sub(f.started), d.cfg.Jitter(), now)
	}
	if l.pace.failed(overload(res), silent(res), f.started, now) {
		l.expireAt = now
		l.dialledSince = now
		d.fallBehind(l)
	}
}

// countFailure uses up one attempt of the delivery's schedule.
func (d *Dispatcher) countFailure(f *flight, o *store.Outcome, after time.Duration, now time.Time) {
	o.Failures++
	o.State = store.Failed
	if due, again := d.policy.next(f.item.delivery.AcceptedAt, now, o.Failures, after); again {
		o.State, o.DueAt = store.Pending, due
	}
}

// current reports whether the flight says something about the lane's present
// endpoint, or at least about what it was after the last PUT.
func (f *flight) current() bool { return f.term == f.lane.term }

// overload: answers and silences that ask for fewer attempts at a time.
func overload(res *egress.Result) bool {
	if mayBeOurs(res) {
		return false // nothing was asked of it
	}
	return res.Kind != egress.HTTPStatus || res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500
}

// silent: the endpoint let the time of some phase pass. A resolver that does is
// not the endpoint.
func silent(res *egress.Result) bool { return res.TimedOut() && !mayBeOurs(res) }

// mayBeOurs: what failed is not the endpoint itself, but may be our resolver, or is
// what our machine knows of authorities.
func mayBeOurs(res *egress.Result) bool {
	return res.Kind == egress.DNSFailed || res.Kind == egress.NoAuthorities
}

func errorKind(k egress.Kind) store.ErrorKind {
	if k == egress.Acknowledged {
		return ""
	}
	return store.ErrorKind(k.String())
}

func outcomeWord(a *store.Attempt) string {
	if a.Error == "" {
		return egress.Acknowledged.String()
	}
	return string(a.Error)
}

// attemptLine is the one log line of an attempt: at level debug if it was
// acknowledged, as nearly all are, else at info. It names the callback's host,
// never its path or query.
type attemptLine struct {
	flight      *flight
	attempt     *store.Attempt
	err         error
	due         time.Time
	observation Observation
}

func (a *attemptLine) write(log *slog.Logger) {
	level := slog.LevelInfo
	if a.attempt.Error == "" {
		level = slog.LevelDebug
	}
	if !log.Enabled(context.Background(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 11)
	attrs = append(attrs,
		slog.String("outcome", a.observation.Outcome),
		slog.String("account", a.flight.lane.account),
		slog.String("event", a.flight.item.delivery.EventID),
		slog.Int("attempt", a.attempt.Number),
		slog.String("host", host(a.flight.webhook.CallbackURL)),
		slog.Duration("took", a.attempt.Duration),
	)
	if a.attempt.StatusCode != 0 {
		attrs = append(attrs, slog.Int("status", a.attempt.StatusCode))
	}
	if a.attempt.Detail != "" {
		attrs = append(attrs, slog.String("detail", a.attempt.Detail))
	}
	if a.err != nil {
		attrs = append(attrs, slog.String("error", a.err.Error()))
	}
	if a.attempt.Probe {
		attrs = append(attrs, slog.Bool("probe", true))
	}
	if !a.due.IsZero() {
		attrs = append(attrs, slog.Time("next", a.due))
	}
	log.LogAttrs(context.Background(), level, "attempt", attrs...)
}

func host(callbackURL string) string {
	u, err := url.Parse(callbackURL)
	if err != nil {
		return ""
	}
	return u.Host
}
