package dispatcher

import (
	"container/list"
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
// first byte, or the account was lost.
var errWithdrawn = errors.New("the attempt is not to be made any more")

// attempt is one that is under way.
type attempt struct {
	lane    *lane
	item    *item
	webhook *store.Webhook // as of the start
	term    int            // of the lane, then
	tenure  int            // of the lane, then
	probe   bool
	since   time.Time  // its connection was made then or later
	class   fair.Class // as which it is counted
	slow    bool
	sent    bool // it has a connection
	started time.Time

	at *list.Element // among those that are not slow yet
}

// startAttempts gives free slots to lanes, in turn. Each attempt has a worker, which
// goes on with another one as long as there is one.
func (d *Dispatcher) startAttempts(now time.Time) {
	for a := d.nextAttempt(now); a != nil; a = d.nextAttempt(now) {
		if !d.workers.pass(a) {
			d.attempts.Go(func() { d.work(a) })
		}
	}
}

// nextAttempt begins that of the next lane's next delivery; nil: there is none, or
// no slot.
func (d *Dispatcher) nextAttempt(now time.Time) *attempt {
	if !d.running || len(d.pending)+d.writing >= maxUnrecorded || d.apart >= maxApart {
		return nil
	}
	l, ok := d.nextLane(now)
	if !ok {
		return nil
	}
	a := &attempt{lane: l, webhook: l.webhook, term: l.term, tenure: l.tenure, class: l.class(), started: now, probe: l.pace.open, since: l.dialledSince}
	if a.probe {
		a.item = l.probe
	} else {
		a.item = l.window.ready.pop()
	}
	a.item.state = inFlight
	d.release(l, len(a.item.delivery.Body))
	l.attempts[a] = struct{}{}
	d.slots.Take(a.class, 1)
	if d.slots.Total() == 1 {
		d.wakeLoop() // to watch it
	}
	a.at = d.quick.PushBack(a)
	if l.runnable(now) {
		d.turns.Enter(&l.slot, l, l.class())
	}
	return a
}

// work is a worker: it makes one attempt after the other.
func (d *Dispatcher) work(a *attempt) {
	for w := newWorker(); a != nil; {
		res := d.post(a)
		if a = d.ended(a, &res, time.Now(), w); a == nil {
			a = <-w
		}
	}
}

// post makes the attempt's HTTP request.
func (d *Dispatcher) post(a *attempt) egress.Result {
	return d.send(d.workCtx, "an attempt", a.lane.account, &egress.Request{
		URL:      a.webhook.CallbackURL,
		Header:   d.header(a.webhook, a.item.delivery.EventID, a.item.delivery.Body, a.item.delivery.Attempts+1, time.Now()),
		Body:     a.item.delivery.Body,
		Deadline: a.started.Add(d.cfg.AttemptTimeout), MadeSince: a.since,
		Proceed: func() error { return d.proceed(a) },
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
	defer d.survive(what, account, &panicked)
	return d.cfg.Sender.Post(ctx, r)
}

func (d *Dispatcher) header(w *store.Webhook, eventID string, body []byte, number int, now time.Time) []egress.Field {
	return []egress.Field{
		{Name: "Content-Type", Value: "application/json"},
		{Name: "User-Agent", Value: d.cfg.UserAgent},
		{Name: "Webhook-Id", Value: eventID},
		{Name: "Webhook-Timestamp", Value: strconv.FormatInt(now.Unix(), 10)},
		{Name: "Webhook-Signature", Value: signature.Header(w.SigningSecrets(now), eventID, now, body)},
		{Name: "Webhook-Attempt", Value: strconv.Itoa(number)},
	}
}

// proceed is the last question before the first byte: is the webhook still the
// one that this attempt began with, and the account still this process's?
func (d *Dispatcher) proceed(a *attempt) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a.tenure != a.lane.tenure || !d.cfg.Store.May(a.lane.account) {
		return errWithdrawn
	}
	w := a.lane.webhook
	if w == nil || w.ID != a.webhook.ID || w.Version != a.webhook.Version {
		return errWithdrawn
	}
	if !a.sent { // else it is asked again, for another connection
		a.sent = true
		a.lane.sent++
	}
	return nil
}

// ended takes in how an attempt ended and returns the next one for its worker; nil:
// it is to wait.
func (d *Dispatcher) ended(a *attempt, res *egress.Result, now time.Time, w worker) *attempt {
	d.mu.Lock()
	d.uncount(a, res)
	var line *attemptLine
	switch res.Kind {
	case egress.Withdrawn, egress.Interrupted:
		d.takeBack(a)
	case egress.Exhausted:
		d.takeBack(a)
		if d.exhausted.due("", now) {
			d.cfg.Logger.Error("no more files can be opened; attempts wait until others are closed (see ulimit -n)", "error", res.Err)
		}
	default:
		if res.Kind == egress.NoAuthorities && d.authorities.due("", now) {
			d.cfg.Logger.Error("this machine knows no certificate authority, so no endpoint's certificate can be verified; install the system's (ca-certificates) or give --callback-ca, and start again", "error", res.Err)
		}
		line = d.conclude(a, res, now)
	}
	d.reconsider(a.lane, now)
	next := d.nextAttempt(now)
	if next == nil {
		d.workers.wait(w)
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
	defer d.survive("telling of an attempt", line.attempt.lane.account, &panicked)
	line.write(d.cfg.Logger)
	d.cfg.Observe(line.observation)
}

// uncount ends the attempt's part in the counts.
func (d *Dispatcher) uncount(a *attempt, res *egress.Result) {
	if !a.slow {
		d.quick.Remove(a.at)
	}
	d.slots.GiveBack(a.class, 1)
	delete(a.lane.attempts, a)
	if a.slow {
		a.lane.pace.slow--
		a.lane.pace.suspect = a.lane.pace.suspect || !mayBeOurs(res)
	}
	if a.sent {
		a.lane.sent--
	}
}

// takeBack undoes the start of an attempt that sent nothing, or that our
// shutdown cut short: it is not counted. After a PUT it waits with the others
// until everything has been made due.
func (d *Dispatcher) takeBack(a *attempt) {
	l := a.lane
	if !a.probe && a.current() && a.tenure == l.tenure && l.active() && !l.pace.open && a.item.seq() >= l.webhook.FirstSeq {
		a.item.state = ready
		d.hold(l, len(a.item.delivery.Body))
		l.window.ready.pushFront(a.item)
		return
	}
	now := time.Now()
	for _, it := range l.window.finish(a.item, now, d.overtaking(now)) {
		d.putOff(l, it, now)
	}
	l.window.forget(a.item)
	d.fallBehind(l) // to be read again, if it is still PENDING
}

// conclude decides what an attempt means for its delivery and its lane.
func (d *Dispatcher) conclude(a *attempt, res *egress.Result, now time.Time) *attemptLine {
	del := a.item.delivery
	made := attemptOf(res, a.started, now)
	made.Number, made.Probe = del.Attempts+1, a.probe
	o := store.Outcome{Attempt: made, State: store.Delivered, Failures: del.Failures}
	if res.Kind == egress.Acknowledged {
		d.acknowledged(a, made.Duration)
	} else {
		after := parseRetryAfter(res.RetryAfter, now)
		d.refused(a, res, &o, after, now)
		if res.StatusCode == http.StatusGone && a.current() {
			a.lane.suspend = a.webhook
		}
	}
	d.settle(a.lane, a.item, o)
	d.finish(a, o.State, now)
	return &attemptLine{attempt: a, made: made, err: res.Err, due: o.DueAt, observation: Observation{
		Outcome: outcomeWord(made), Duration: made.Duration, State: o.State, AcceptedAt: del.AcceptedAt, Now: now, Probe: a.probe,
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
func (d *Dispatcher) finish(a *attempt, state store.State, now time.Time) {
	var failed time.Time
	if state == store.Pending {
		failed = orNow(a.item.delivery.FailedAt, now)
	}
	for _, it := range a.lane.window.finish(a.item, failed, d.overtaking(now)) {
		d.putOff(a.lane, it, it.chain.since)
	}
}

func (d *Dispatcher) acknowledged(a *attempt, took time.Duration) {
	l := a.lane
	if a.probe {
		l.probe = nil
	}
	if a.current() && l.pace.succeeded(took, l.sent+1) {
		l.makeDue = true // and everything is read from the beginning
		d.fallBehind(l)
	}
}

// refused is anything but a 2xx.
func (d *Dispatcher) refused(a *attempt, res *egress.Result, o *store.Outcome, after time.Duration, now time.Time) {
	l, del := a.lane, a.item.delivery
	if a.probe {
		l.probe = nil
	}
	if !a.current() {
		// The endpoint that failed is not the account's any more, or has been put
		// again since: it gets the event at once, its schedule unused.
		o.State, o.DueAt = store.Pending, now
		return
	}
	if res.Kind == egress.Internal {
		// That says nothing of the endpoint. A probe counts as well, else one event
		// could keep its lane probing for ever.
		d.countFailure(a, o, after, now)
		if a.probe {
			l.pace.probeFailed(now, 0)
		}
		return
	}
	if a.probe {
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
	d.countFailure(a, o, after, now)
	if res.TimedOut() {
		l.pace.rest(now.Sub(a.started), d.cfg.Jitter(), now)
	}
	if l.pace.failed(overload(res), silent(res), a.started, now) {
		l.expireAt = now
		l.dialledSince = now
		d.fallBehind(l)
	}
}

// countFailure uses up one attempt of the delivery's schedule.
func (d *Dispatcher) countFailure(a *attempt, o *store.Outcome, after time.Duration, now time.Time) {
	o.Failures++
	o.State = store.Failed
	if due, again := d.policy.next(a.item.delivery.AcceptedAt, now, o.Failures, after); again {
		o.State, o.DueAt = store.Pending, due
	}
}

// current reports whether the attempt says something about the lane's present
// endpoint, or at least about what it was after the last PUT.
func (a *attempt) current() bool { return a.term == a.lane.term }

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
	attempt     *attempt
	made        *store.Attempt
	err         error
	due         time.Time
	observation Observation
}

func (l *attemptLine) write(log *slog.Logger) {
	level := slog.LevelInfo
	if l.made.Error == "" {
		level = slog.LevelDebug
	}
	if !log.Enabled(context.Background(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 11)
	attrs = append(attrs,
		slog.String("outcome", l.observation.Outcome),
		slog.String("account", l.attempt.lane.account),
		slog.String("event", l.attempt.item.delivery.EventID),
		slog.Int("attempt", l.made.Number),
		slog.String("host", host(l.attempt.webhook.CallbackURL)),
		slog.Duration("took", l.made.Duration),
	)
	if l.made.StatusCode != 0 {
		attrs = append(attrs, slog.Int("status", l.made.StatusCode))
	}
	if l.made.Detail != "" {
		attrs = append(attrs, slog.String("detail", l.made.Detail))
	}
	if l.err != nil {
		attrs = append(attrs, slog.String("error", l.err.Error()))
	}
	if l.made.Probe {
		attrs = append(attrs, slog.Bool("probe", true))
	}
	if !l.due.IsZero() {
		attrs = append(attrs, slog.Time("next", l.due))
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
