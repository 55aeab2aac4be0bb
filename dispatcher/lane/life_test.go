package lane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/recapito/recapito/dispatcher/lane"
	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
)

// TestLife plays random lives of one lane over a store in memory: everything that may
// happen to it in any order, with all that it does under way for any time. It holds the
// order of messages, the limit and the breaker at each start of an attempt, the lane's
// own counts after each step, and in the end that everything has been delivered.
func TestLife(t *testing.T) {
	for range lives {
		rapid.Check(t, func(t *rapid.T) {
			w := newLife(t)
			t.Repeat(w.steps())
			w.finish()
		})
	}
}

// TestHealthyLife plays lives with an endpoint that acknowledges everything: no event
// waits for the end of the order wait.
func TestHealthyLife(t *testing.T) {
	for range lives {
		rapid.Check(t, func(t *rapid.T) {
			w := newLife(t)
			steps := w.steps()
			delete(steps, "endpoint")
			delete(steps, "webhook")
			t.Repeat(steps)
			w.setApart(false)
			w.room = 1 << 30
			w.finished(func() bool {
				again := w.ready().Again
				return !again.IsZero() && again.Sub(w.now) < orderWait/2 && w.next()
			})
		})
	}
}

// lives is how often as many lives are played as -rapid.checks says.
const lives = 10

func (w *life) steps() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"accept":   w.accept,
		"more":     w.accept,
		"others":   w.acceptElsewhere,
		"look":     func(*rapid.T) { w.look() },
		"hear":     func(*rapid.T) { w.hear() },
		"replay":   w.replay,
		"begin":    func(*rapid.T) { w.begin() },
		"end":      w.end,
		"ask":      func(*rapid.T) { w.ask() },
		"answer":   func(*rapid.T) { w.answer() },
		"record":   w.record,
		"tell":     func(*rapid.T) { w.tell() },
		"go on":    w.goOn,
		"further":  w.goOn,
		"time":     func(t *rapid.T) { w.pass(drawWait(t)) },
		"next":     func(*rapid.T) { w.next() },
		"endpoint": func(t *rapid.T) { w.result = rapid.SampledFrom(results).Draw(t, "result") },
		"webhook":  w.change,
		"room":     func(t *rapid.T) { w.room = rapid.SampledFrom([]int{1 << 30, 50, 0}).Draw(t, "room") },
		"drop":     func(*rapid.T) { w.lane.Drop(w.now) },
		"anew":     func(*rapid.T) { w.lane.ReadAnew(w.now) },
		"apart":    func(t *rapid.T) { w.setApart(rapid.Bool().Draw(t, "apart")) },
		"lost":     w.lose,
		"probe":    func(*rapid.T) { w.askForProbe() },
		"restart":  w.restart,
		"slow":     func(*rapid.T) { w.slow() },
		"state":    func(t *rapid.T) { w.recordChange(rapid.IntRange(0, 3).Draw(t, "fails") == 0) },
		"":         w.check,
	}
}

func (w *life) setApart(apart bool) {
	w.apart = apart
	w.lane.SetApart(apart)
}

// goOn lets things take their course for a while.
func (w *life) goOn(t *rapid.T) {
	for range rapid.IntRange(1, 30).Draw(t, "rounds") {
		w.tell()
		for w.begin() {
		}
		w.end(t)
		w.ready()
		w.recordSome(len(w.outcomes))
		w.answer()
		w.ask()
	}
}

const orderWait = time.Minute

// replayTick passes between a replay and the next end of its delivery, as it does where
// both are commits: a store tells one replay of a delivery from the next by its time.
const replayTick = 2 * time.Microsecond

var results = []lane.Result{
	{Attempt: store.Attempt{StatusCode: 204}}, {Attempt: store.Attempt{Error: store.HTTPStatus, StatusCode: 500}},
	{Attempt: store.Attempt{Error: store.HTTPStatus, StatusCode: 503}, RetryAfter: time.Hour}, {Attempt: store.Attempt{Error: store.HTTPStatus, StatusCode: 410}},
	{Attempt: store.Attempt{Error: store.Timeout}, TimedOut: true}, {Attempt: store.Attempt{Error: store.DNSFailed}, TimedOut: true, MayBeOurs: true},
	{Attempt: store.Attempt{Error: store.InternalError}, Internal: true}, {Void: true}, {Void: true},
}

func drawWait(t *rapid.T) time.Duration {
	return rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 7 * time.Second, time.Minute, time.Hour}).Draw(t, "wait")
}

// life is a lane with what surrounds it.
type life struct {
	*rapid.T
	store    *memory.Store
	lane     *lane.Lane
	now      time.Time
	room     int
	result   lane.Result
	open     []*lane.Attempt
	outcomes []lane.Outcome
	asked    *lane.Job // an answer is on its way
	reply    lane.Answer
	events   []*event
	urls     int
	apart    bool
	untold   []func()           // what the store is about to tell
	stream   stream             // what it tells of others
	told     *store.Webhook     // last
	changed  time.Time          // the webhook, but for rotations
	broken   time.Time          // the open breaker saw a failure
	hurried  bool               // and is to probe before its gap is over
	gone     bool               // the endpoint has answered 410
	acked    bool               // it has acknowledged, and its breaker has not opened since
	messages int                // how many there are
	replays  int                // so many were asked for
	failures int                // in a row since the lane began or the webhook was changed, which the endpoint is to blame for
	changing *lane.HealthChange // is being recorded
	emitted  time.Time          // the last
}

type event struct {
	id, message string
	acked       bool
	first       time.Time // failure
	replay      int       // the number of the replay that it is in; 0: it is in its first run
	since       time.Time // when that was asked for
}

// told hands on what the store tells. It tells one process of nothing else.
type told struct {
	store.Listener
	w *life
}

func (l told) Accepted(batch []store.Acceptance) {
	if l.w.stream.takes(batch) {
		return
	}
	l.w.untold = append(l.w.untold, func() {
		for i := range batch {
			l.w.lane.Handed()
			l.w.lane.SetRoom(l.w.room)
			l.w.lane.Offer(&batch[i], l.w.now)
		}
	})
}

func (l told) Replayed(h *store.Webhook, seqs []int64) {
	l.w.untold = append(l.w.untold, func() { l.w.lane.Replayed(h, seqs, l.w.now) })
}

func (l told) ReplayStarted() {}

func (l told) WebhookChanged(_ string, h *store.Webhook) {
	l.w.untold = append(l.w.untold, func() {
		l.w.lane.Changed(h, l.w.now)
		before := l.w.told
		if !sameEndpoint(before, h) {
			l.w.broken, l.w.acked, l.w.changed = time.Time{}, false, l.w.now
			l.w.failures = 0
		}
		l.w.told, l.w.gone = h, false
	})
}

// sameEndpoint: the webhook was neither made nor put nor suspended in between.
func sameEndpoint(a, b *store.Webhook) bool {
	return a != nil && b != nil && a.ID == b.ID && a.Health.Version == b.Health.Version
}

func (l told) HealthChanged([]store.HealthChange) {}

// tell hands on what the store has told: before the next write, but a read may be
// earlier.
func (w *life) tell() {
	for _, tell := range w.untold {
		tell()
	}
	w.untold = nil
}

var config = &lane.Config{OrderWait: orderWait, Policy: lane.Policy{
	Schedule: lane.DefaultSchedule, Horizon: 72 * time.Hour, Reserve: 10 * time.Second, Jitter: func() float64 { return 0.5 },
}}

func newLife(t *rapid.T) *life {
	w := &life{T: t, store: memory.New(memory.Config{}), now: start.AddDate(-1, 0, 0), room: 1 << 30, result: results[0], messages: rapid.SampledFrom([]int{5, 50}).Draw(t, "messages")}
	w.lane = lane.New(config, "a", lane.Scan{Done: rapid.Bool().Draw(t, "scanned")})
	w.store.Listen(told{w: w})
	_, _, err := w.store.PutAccount(context.Background(), "a", w.now)
	w.must(err)
	w.create()
	w.tell()
	return w
}

func (w *life) must(err error) {
	if err != nil {
		w.Fatal(err)
	}
}

func (w *life) url() string {
	w.urls++
	return fmt.Sprintf("https://a.example/%d", w.urls)
}

func (w *life) create() {
	_, err := w.store.CreateWebhook(context.Background(), store.Webhook{AccountID: "a", ID: store.NewID("wh_"), CallbackURL: w.url(), Status: store.Active, Secret: store.NewSecret()})
	w.must(err)
}

func (w *life) webhook() store.Webhook {
	h, err := w.store.Webhook(context.Background(), "a")
	w.must(err)
	return h
}

func (w *life) accept(t *rapid.T) {
	w.tell()
	var events []store.Event
	for _, m := range rapid.SliceOfN(rapid.IntRange(1, w.messages), 1, 80).Draw(t, "messages") {
		e := &event{id: fmt.Sprint("e", len(w.events)), message: fmt.Sprint("m", m)}
		w.events = append(w.events, e)
		events = append(events, store.Event{AccountID: "a", ID: e.id, MessageID: e.message, Payload: []byte(`{"v":1}`)})
	}
	_, err := w.store.Accept(context.Background(), events, w.now)
	w.must(err)
}

// replay sends again some of what has ended.
func (w *life) replay(t *rapid.T) {
	w.tell()
	ended := slices.DeleteFunc(slices.Clone(w.events), w.pending)
	if len(ended) == 0 {
		t.Skip("nothing has ended")
	}
	for _, e := range rapid.SliceOfNDistinct(rapid.SampledFrom(ended), 1, min(len(ended), 20), func(e *event) string { return e.id }).Draw(t, "replayed") {
		w.must(w.store.Replay(context.Background(), "a", e.id, w.now))
		d, _, err := w.store.Delivery(context.Background(), "a", e.id)
		w.must(err)
		w.replays++
		e.acked, e.first, e.replay, e.since = false, time.Time{}, w.replays, d.Replay.At
	}
}

// before reports whether one event of a message goes before another that was accepted
// later.
func (e *event) before(other *event) bool {
	return e.message == other.message && (e.replay == 0) == (other.replay == 0) && e.replay <= other.replay
}

func (w *life) event(id string) *event {
	return w.events[slices.IndexFunc(w.events, func(e *event) bool { return e.id == id })]
}

func (w *life) pending(e *event) bool {
	d, _, err := w.store.Delivery(context.Background(), "a", e.id)
	w.must(err)
	return d.State == store.Pending
}

// begin begins an attempt, if the lane may.
func (w *life) begin() bool {
	if !w.lane.Runnable(w.now) {
		return false
	}
	a := w.lane.Begin(w.now)
	e := w.event(a.Delivery().EventID)
	if e.acked {
		w.Fatalf("%s begins again after it was acknowledged", e.id)
	}
	replays := 0
	for _, o := range w.open {
		if o.Delivery().IsReplay() {
			replays++
		}
		if o.Delivery().MessageID == e.message && o.Delivery().IsReplay() == a.Delivery().IsReplay() {
			w.Fatalf("%s begins while %s of its message is under way", e.id, o.Delivery().EventID)
		}
		if a.Probe || o.Probe {
			w.Fatalf("%s begins beside %s, and one is a probe", e.id, o.Delivery().EventID)
		}
	}
	if p, known := w.lane.Pace(w.now); known && a.Delivery().IsReplay() && replays >= (p.Concurrency+1)/2 {
		w.Fatalf("%s begins beside %d others that are sent again, while %d attempts may be made at a time", e.id, replays, p.Concurrency)
	}
	for _, o := range w.events {
		if o == e {
			break
		}
		if o.before(e) && !o.acked && (o.first.IsZero() || w.now.Before(o.first.Add(orderWait))) && w.pending(o) {
			w.Fatalf("%s overtakes %s, which first failed at %v", e.id, o.id, o.first)
		}
	}
	if w.apart {
		w.Fatalf("%s begins though outcomes cannot be recorded", e.id)
	}
	if w.gone {
		w.Fatalf("%s begins after a 410", e.id)
	}
	if a.Probe && !w.hurried && w.now.Sub(w.broken) < 5*time.Second {
		w.Fatalf("%s probes %v after a failure", e.id, w.now.Sub(w.broken))
	}
	for _, o := range w.open {
		if !w.acked && o.Webhook == a.Webhook {
			w.Fatalf("%s begins beside %s, though nothing has been acknowledged", e.id, o.Delivery().EventID)
		}
	}
	if a.MadeSince.Before(w.changed) || w.lane.Open() && a.MadeSince.Before(w.broken) {
		w.Fatalf("%s may go by a connection made since %v; the webhook changed at %v, the open breaker saw a failure at %v", e.id, a.MadeSince, w.changed, w.broken)
	}
	if a.Probe != w.lane.Open() {
		w.Fatalf("%s begins, a probe: %t, while the breaker is open: %t", e.id, a.Probe, w.lane.Open())
	}
	w.hurried = w.hurried && !a.Probe
	w.open = append(w.open, a)
	if len(w.open) > lane.MaxLimit {
		w.Fatalf("%d attempts at a time", len(w.open))
	}
	w.proceed(a)
	return true
}

// proceed asks twice, as for a second connection.
func (w *life) proceed(a *lane.Attempt) {
	for range 2 {
		h, goes := w.webhook(), w.lane.Proceed(a)
		now := h.Status == store.Active && h.CallbackURL == a.Webhook.CallbackURL
		before := w.told != nil && w.told.Status == store.Active && w.told.CallbackURL == a.Webhook.CallbackURL
		if goes && !now && !before {
			w.Fatalf("%s goes to %s, want %+v or %+v", a.Delivery().EventID, a.Webhook.CallbackURL, h, w.told)
		}
	}
}

// end ends an attempt under way.
func (w *life) end(t *rapid.T) {
	if len(w.open) > 0 {
		w.endAt(rapid.IntRange(0, len(w.open)-1).Draw(t, "which"))
	}
}

func (w *life) endAt(i int) {
	a := w.open[i]
	w.open = slices.Delete(w.open, i, i+1)
	w.result.Attempt.At, w.result.Attempt.Duration = a.Started, w.now.Sub(a.Started)
	e, res, failures := w.event(a.Delivery().EventID), w.result, a.Delivery().Failures
	o, counts := w.lane.Ended(a, &res, w.now)
	w.hurried = w.hurried || a.Probe && !counts // it sent nothing, and begins anew
	present := w.webhook()                      // of which the lane may know from a page
	known := counts && sameEndpoint(a.Webhook, w.told)
	current := known && sameEndpoint(a.Webhook, &present)
	if current && res.Attempt.Error != "" && !res.Internal && w.lane.Open() {
		w.broken = w.now
	}
	w.gone = w.gone || current && res.Attempt.StatusCode == 410 && a.Webhook.Version == w.told.Version
	w.countFailure(a, &res, current)
	w.acked = (w.acked || known && res.Attempt.Error == "") && !w.lane.Open()
	if a.Probe && !res.Internal && o.Failures > failures {
		w.Fatalf("a probe of %s uses up its schedule", e.id)
	}
	acked := res.Attempt.Error == ""
	switch {
	case counts == res.Void:
		w.Fatalf("%+v counts: %t", res, counts)
	case !counts:
		return
	case !e.since.Equal(a.Delivery().Replay.At): // it has been replayed meanwhile
	case acked:
		e.acked = true
	case e.first.IsZero():
		e.first = w.now
	}
	if (o.State == store.Delivered) != acked || acked && o.Failures != a.Delivery().Failures {
		w.Fatalf("%s ended as %+v after %+v", e.id, o, res)
	}
}

// askForProbe: the open breaker need not wait for the end of its gap.
func (w *life) askForProbe() {
	underWay := slices.ContainsFunc(w.open, func(a *lane.Attempt) bool { return a.Probe })
	got := w.lane.ProbeNow(w.now)
	if got != store.NotOpen && (!w.lane.Open() || w.gone || (got == store.ProbeUnderWay) != underWay) {
		w.Fatalf("asked for a probe: %d; the breaker is open: %t, a probe under way: %t, after a 410: %t", got, w.lane.Open(), underWay, w.gone)
	}
	w.hurried = w.hurried || got == store.ProbeBegins
}

func (w *life) slow() {
	if len(w.open) > 0 && w.now.Sub(w.open[0].Started) > lane.SlowAfter && !w.lane.Doubted() && w.lane.Proceed(w.open[0]) {
		w.lane.Slow(w.open[0])
	}
}

// ready takes what the lane wants to have recorded.
func (w *life) ready() lane.Ready {
	r := w.lane.Ready(w.now)
	w.outcomes = append(w.outcomes, r.Outcomes...)
	w.noteChange(r.Change)
	if !r.Again.IsZero() && !r.Over && !r.Again.After(w.now) {
		w.Fatalf("wants to be asked again at %v, which is not later than %v", r.Again, w.now)
	}
	return r
}

// record records some outcomes in one commit.
func (w *life) record(t *rapid.T) {
	w.ready()
	w.recordSome(rapid.IntRange(0, len(w.outcomes)).Draw(t, "n"))
}

func (w *life) recordSome(n int) {
	w.tell()
	var plain []store.Outcome
	for _, o := range w.outcomes[:n] {
		plain = append(plain, o.Outcome)
	}
	w.must(w.store.Record(context.Background(), plain, w.now))
	w.pass(time.Microsecond)
	for i := range plain {
		w.lane.Recorded(&w.outcomes[i], w.now)
	}
	w.outcomes = w.outcomes[n:]
}

// ask begins to ask the store, if the lane wants something of it. The store answers
// at once, and the lane is told later.
func (w *life) ask() bool {
	if w.ready().Job == lane.Nothing || w.asked != nil {
		return false
	}
	w.lane.SetRoom(w.room)
	ctx, a := context.Background(), w.lane.BeginJob(w.now)
	w.asked, w.reply = a, lane.Answer{}
	r, n := &w.reply, 0
	const most = 20
	switch a.Kind {
	case lane.Page:
		r.Page, r.Err = w.backlog(a.Query)
	case lane.Oldest:
		r.Page, r.Err = w.oldest()
	case lane.Suspend:
		r.Err = w.store.SuspendWebhook(ctx, *a.Webhook, w.now)
	case lane.MakeDue:
		n, r.Err = w.store.MakeDue(ctx, "a", w.now, most)
	case lane.Cancel:
		n, r.Err = w.store.Cancel(ctx, "a", w.now, most)
	case lane.Expire:
		if n, r.Err = w.store.Expire(ctx, "a", w.now.Add(-72*time.Hour), w.now, most); n < most {
			r.Page, r.Err = w.oldest()
		}
	}
	w.must(r.Err)
	r.All = n < most
	return true
}

func (w *life) answer() bool {
	if w.asked == nil {
		return false
	}
	if !w.asked.Kind.Reads() {
		w.tell() // of what was written, before the answer
	}
	w.lane.SetRoom(w.room)
	w.lane.JobDone(w.asked, &w.reply, w.now)
	w.asked = nil
	return true
}

func (w *life) pass(d time.Duration) { w.now = w.now.Add(d) }

// next passes the time until the lane wants to be asked again.
func (w *life) next() bool {
	r := w.ready()
	if r.Over || r.Again.IsZero() {
		return false
	}
	w.pass(r.Again.Sub(w.now))
	return true
}

func (w *life) change(t *rapid.T) {
	w.tell()
	ctx := context.Background()
	var err error
	switch rapid.SampledFrom([]string{"put", "put the same", "rotate", "delete and create"}).Draw(t, "change") {
	case "put":
		_, err = w.store.ReplaceCallbackURL(ctx, "a", w.url(), w.now)
	case "put the same":
		_, err = w.store.ReplaceCallbackURL(ctx, "a", w.webhook().CallbackURL, w.now)
	case "rotate":
		_, err = w.store.RotateSecret(ctx, "a", store.NewSecret(), w.now.Add(time.Second), w.now)
		if errors.Is(err, store.ErrTooMany) {
			err = nil
		}
	case "delete and create":
		w.pass(replayTick)
		w.must(w.store.DeleteWebhook(ctx, "a", w.now))
		w.tell()
		w.create()
	}
	w.must(err)
}

// lose loses the account and gets it back, when all that had begun has ended.
func (w *life) lose(t *rapid.T) {
	w.tell()
	w.lane.Lost(w.now)
	if w.lane.Runnable(w.now) {
		w.Fatal("a lost lane is runnable")
	}
	for len(w.open) > 0 {
		if w.lane.Proceed(w.open[0]) {
			w.Fatal("an attempt of a lost lane goes on")
		}
		w.endAt(0)
	}
	w.answer()
	w.ready()
	w.recordSome(len(w.outcomes))
	w.recordChange(false)
	w.putOffElsewhere(t)
	w.broken, w.acked, w.failures = time.Time{}, false, 0
	if is, settled := w.lane.IsLost(); !is || !settled {
		w.Fatalf("lost %t, settled %t, want true", is, settled)
	}
	w.lane.CameBack(w.now)
}

func (w *life) check(*rapid.T) {
	if err := w.lane.Check(); err != nil {
		w.Fatal(err)
	}
	if len(w.untold) > 0 {
		return
	}
	w.checkState()
	h := w.webhook()
	page, err := w.store.Deliveries(context.Background(), store.DeliveryQuery{AccountID: "a", States: []store.State{store.Pending}, Limit: 3})
	w.must(err)
	for i := range page.Deliveries {
		d := &page.Deliveries[i]
		wait := w.lane.Wait(&h, d, w.now)
		underWay := slices.ContainsFunc(w.open, func(a *lane.Attempt) bool { return a.Delivery().EventID == d.EventID })
		if wait.For != store.ForOutcome && wait.For != store.ForPut && (wait.For == store.ForProbe) != w.lane.Open() || underWay && wait.For != store.ForOutcome {
			w.Fatalf("%s waits for %s; the breaker is open: %t; it is under way: %t", d.EventID, wait.For, w.lane.Open(), underWay)
		}
		if wait.For == store.ForProbe && !wait.NextAttempt.IsZero() && d.EventID != w.probed() {
			w.Fatalf("%s waits for a probe at %v, which goes with %s", d.EventID, wait.NextAttempt, w.probed())
		}
	}
}

// probed is the event that a probe goes with.
func (w *life) probed() string {
	b, err := w.oldest()
	w.must(err)
	for _, d := range append(b.Fresh, b.Replays...) {
		return d.EventID
	}
	return ""
}

// finish heals everything, of which a PUT tells: then all that was accepted is
// delivered at once, or was cancelled or given up, and the lane is over.
func (w *life) finish() {
	w.result, w.room = results[0], 1<<30
	w.setApart(false)
	for len(w.open) > 0 {
		w.endAt(0)
	}
	w.put()
	w.finished(func() bool { return false })
	w.finished(w.next)
	if !w.lane.Ready(w.now).Over {
		w.Fatal("the lane is not over")
	}
}

func (w *life) put() {
	w.tell()
	_, err := w.store.ReplaceCallbackURL(context.Background(), "a", w.url(), w.now)
	w.must(err)
}

// finished does what there is to do until there is nothing any more.
func (w *life) finished(otherwise func() bool) {
	for n := 0; ; n++ {
		w.look()
		w.hear()
		w.ready()
		switch {
		case n > 100_000:
			w.Fatal("it never ends")
		case len(w.open) > 0:
			w.endAt(0)
		case len(w.outcomes) > 0:
			w.recordSome(len(w.outcomes))
		case w.changing != nil:
			w.recordChange(false)
		case w.begin(), w.answer(), w.ask(), otherwise():
		default:
			w.checkEnd()
			return
		}
		w.check(nil)
	}
}

func (w *life) checkEnd() {
	if n := w.store.Stats().Deliveries[store.Pending]; n > 0 || w.lane.Held() != 0 {
		w.Fatalf("%d are PENDING, %d bytes are held, but the lane wants nothing", n, w.lane.Held())
	}
	for _, e := range w.events {
		if d, _, _ := w.store.Delivery(context.Background(), "a", e.id); d.State == store.Delivered && !e.acked {
			w.Fatalf("%s is DELIVERED but was never acknowledged", e.id)
		}
	}
}
