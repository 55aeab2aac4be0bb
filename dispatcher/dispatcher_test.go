package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
)

// call is one request that the receiver got.
type call struct {
	At      time.Duration // since the start of the test
	URL     string
	ID      string
	Attempt int
	Made    time.Duration // its connection
}

// receiver stands for every endpoint there is.
type receiver struct {
	mu     sync.Mutex
	start  time.Time
	calls  []call
	answer func(ctx context.Context, c call) egress.Result
	open   map[string]int // attempts under way, by URL
	peak   map[string]int
	// connect is how long a request takes to its first byte, dial how much
	// longer if it finds no idle connection.
	connect atomic.Int64
	dial    time.Duration
	idle    idle
	stale   bool // every kept connection ends when it is used again
}

// idle are the connections that a process keeps, by host, the one used last at
// the end.
type idle map[string][]link

// link is a connection.
type link struct{ made, used time.Time }

func (r *receiver) connects() time.Duration { return time.Duration(r.connect.Load()) }

func (r *receiver) Post(ctx context.Context, req *egress.Request) egress.Result {
	ctx, cancel := context.WithDeadline(ctx, req.Deadline)
	defer cancel()
	time.Sleep(r.connects())
	pool, l, kept := r.take(req)
	if !kept {
		time.Sleep(r.dial)
	}
	attempt, _ := strconv.Atoi(field(req, "Webhook-Attempt"))
	c := call{At: time.Since(r.start), URL: req.URL, ID: field(req, "Webhook-Id"), Attempt: attempt, Made: l.made.Sub(r.start)}
	if err := proceed(req); err != nil {
		return egress.Result{Kind: egress.Withdrawn, Err: err}
	}
	if kept && r.stale {
		// Over before a byte of the answer: it is made again on a new one.
		l = link{made: time.Now()}
		c.Made = l.made.Sub(r.start)
		if err := proceed(req); err != nil {
			return egress.Result{Kind: egress.Withdrawn, Err: err}
		}
	}
	r.mu.Lock()
	r.calls = append(r.calls, c)
	r.open[c.URL]++
	r.peak[c.URL] = max(r.peak[c.URL], r.open[c.URL])
	answer := r.answer
	r.mu.Unlock()
	defer func() { r.mu.Lock(); r.open[c.URL]--; pool.put(host(c.URL), l); r.mu.Unlock() }()
	return answer(ctx, c)
}

func proceed(req *egress.Request) error {
	if req.Proceed == nil {
		return nil
	}
	return req.Proceed()
}

// take returns an idle connection, as egress has them, or a new one, and where
// it is to be put.
func (r *receiver) take(req *egress.Request) (pool idle, l link, kept bool) {
	now, at := time.Now(), host(req.URL)
	r.mu.Lock()
	defer r.mu.Unlock()
	pool = r.idle
	pool[at] = slices.DeleteFunc(pool[at], func(l link) bool {
		return now.Sub(l.made) >= time.Minute || now.Sub(l.used) >= 45*time.Second
	})
	if req.Test {
		return idle{}, link{made: now}, false
	}
	for i, l := range slices.Backward(pool[at]) {
		if !l.made.Before(req.MadeSince) {
			pool[at] = slices.Delete(pool[at], i, i+1)
			return pool, l, true
		}
	}
	return pool, link{made: now}, false
}

func (p idle) put(at string, l link) {
	l.used = time.Now()
	p[at] = append(p[at], l)
}

func host(callbackURL string) string { return strings.Split(callbackURL, "/")[2] }

func field(req *egress.Request, name string) string {
	for _, f := range req.Header {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

func (r *receiver) set(answer func(context.Context, call) egress.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) got() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

func (r *receiver) clearPeak() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.peak)
}

// ids are the events in the order of their arrival.
func ids(calls []call) []string {
	out := make([]string, len(calls))
	for i, c := range calls {
		out[i] = c.ID
	}
	return out
}

func ok(context.Context, call) egress.Result {
	return egress.Result{Kind: egress.Acknowledged, StatusCode: 204}
}

func status(code int) func(context.Context, call) egress.Result {
	return func(context.Context, call) egress.Result {
		return egress.Result{Kind: egress.HTTPStatus, StatusCode: code}
	}
}

// hang answers when the attempt's deadline has passed.
func hang(ctx context.Context, _ call) egress.Result {
	<-ctx.Done()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return egress.Result{Kind: egress.Timeout, Err: ctx.Err()}
	}
	return egress.Result{Kind: egress.Interrupted, Err: ctx.Err()}
}

// rig is a dispatcher over a store, memory unless told otherwise, inside a synctest bubble.
type rig struct {
	t     *testing.T
	store store.Store
	recv  *receiver
	cfg   dispatcher.Config
	disp  *dispatcher.Dispatcher
	stop  func()
	next  int
}

func newRig(t *testing.T, change ...func(*dispatcher.Config)) *rig {
	t.Helper()
	r := &rig{t: t, store: memory.New(memory.Config{}), recv: &receiver{
		start: time.Now(), answer: ok, open: map[string]int{}, peak: map[string]int{}, idle: idle{},
	}}
	r.cfg = dispatcher.Config{
		Store: r.store, Sender: r.recv,
		Jitter: func() float64 { return 0.5 }, // none
	}
	for _, c := range change {
		c(&r.cfg)
	}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *rig) start() {
	r.t.Helper()
	d, err := dispatcher.New(r.cfg)
	if err != nil {
		r.t.Fatalf("New: %v", err)
	}
	r.disp = d
	r.cfg.Store.Listen(d)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = d.Run(ctx) }()
	r.stop = func() { cancel(); <-done }
	synctest.Wait()
}

func url(account string) string { return "https://" + account + ".example/cb" }

// account makes an account with a webhook.
func (r *rig) account(id string) {
	r.t.Helper()
	ctx := context.Background()
	if _, _, err := r.store.PutAccount(ctx, id, time.Now()); err != nil {
		r.t.Fatalf("PutAccount(%s): %v", id, err)
	}
	w := store.Webhook{
		AccountID: id, ID: store.NewID("wh_"), CallbackURL: url(id), Status: store.Active,
		Secret: store.NewSecret(), CreatedAt: time.Now(), UpdatedAt: time.Now(),
	}
	if _, err := r.store.CreateWebhook(ctx, w); err != nil {
		r.t.Fatalf("CreateWebhook(%s): %v", id, err)
	}
}

// accept hands in events "account/message/n" and returns their IDs.
func (r *rig) accept(account string, messages ...string) []string {
	r.t.Helper()
	events := make([]store.Event, len(messages))
	out := make([]string, len(messages))
	for i, m := range messages {
		r.next++
		out[i] = fmt.Sprintf("%s-%s-%d", account, m, r.next)
		events[i] = store.Event{AccountID: account, ID: out[i], MessageID: m, Channel: "SMS", Payload: []byte(`{"v":1}`)}
	}
	verdicts, err := r.store.Accept(context.Background(), events, time.Now())
	if err != nil {
		r.t.Fatalf("Accept: %v", err)
	}
	for i, v := range verdicts {
		if v != store.Accepted {
			r.t.Fatalf("Accept(%s): verdict %v, want Accepted", out[i], v)
		}
	}
	return out
}

// many makes n distinct message ids.
func many(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "m" + strconv.Itoa(i)
	}
	return out
}

// settle waits until nothing moves any more without time passing.
func (r *rig) settle() { synctest.Wait() }

// after lets so much time pass.
func (r *rig) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) delivery(account, event string) (store.Delivery, []store.Attempt) {
	r.t.Helper()
	d, attempts, err := r.store.Delivery(context.Background(), account, event)
	if err != nil {
		r.t.Fatalf("Delivery(%s): %v", event, err)
	}
	return d, attempts
}

func (r *rig) wantState(account, event string, want store.State) {
	r.t.Helper()
	if d, _ := r.delivery(account, event); d.State != want {
		r.t.Errorf("delivery %s: state %s, want %s", event, d.State, want)
	}
}

func (r *rig) wantStates(want map[store.State]int64) {
	r.t.Helper()
	got := r.store.Stats().Deliveries
	for _, s := range []store.State{store.Pending, store.Delivered, store.Failed, store.Cancelled} {
		if got[s] != want[s] {
			r.t.Errorf("deliveries %s: got %d, want %d", s, got[s], want[s])
		}
	}
}

func (r *rig) wantCalls(want ...string) {
	r.t.Helper()
	if got := ids(r.recv.got()); !slices.Equal(got, want) {
		r.t.Errorf("arrivals:\n got %v\nwant %v", got, want)
	}
}
