package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/store"
)

// plan is a life of three accounts: what the platform, the accounts, their
// endpoints, the store, the operator and time do.
type plan struct {
	WindowBytes int
	MaxInFlight int
	Connect     time.Duration
	Stale       bool
	Shared      bool // the store, with other processes
	Steps       []step
}

type step struct {
	Kind    string
	Account int
	Events  []int // of these messages
	Answer  string
	Trouble string
	Wait    time.Duration
	Clock   time.Duration // by which it jumps
}

// killAfter is how long the last thing that a process did took so far.
func (s step) killAfter() time.Duration { return s.Wait % (7 * time.Millisecond) }

// expiry is how long the process has no lease.
func (s step) expiry() time.Duration { return min(s.Wait, time.Minute) }

// String says what the step uses.
func (s step) String() string {
	switch s.Kind {
	case "accept":
		return fmt.Sprintf("accept a%d %v", s.Account, s.Events)
	case "answer":
		return fmt.Sprintf("answer a%d %s", s.Account, s.Answer)
	case "wait":
		return fmt.Sprintf("wait %v", s.Wait)
	case "trouble":
		return fmt.Sprintf("trouble: %s", s.Trouble)
	case "restart":
		return "restart"
	case "kill":
		return fmt.Sprintf("kill while a%d %v is accepted since %v", s.Account, s.Events, s.killAfter())
	case "replay":
		return fmt.Sprintf("replay a%d %v", s.Account, s.Events)
	case "fence":
		return fmt.Sprintf("fenced for %v", s.killAfter())
	case "lease":
		return fmt.Sprintf("no lease for %v", s.expiry())
	case "clock":
		return fmt.Sprintf("restart with the clock %v away", s.Clock)
	}
	return fmt.Sprintf("%s a%d", s.Kind, s.Account)
}

const modelAccounts = 3

func drawPlan(t *rapid.T) plan {
	kinds := []string{
		"accept", "accept", "accept", "accept", "answer", "answer", "wait", "wait",
		"put", "put the same", "delete", "create", "rotate", "probe", "trouble", "restart", "kill", "clock", "replay", "replay", "replay all",
	}
	shared := rapid.Bool().Draw(t, "shared")
	if shared {
		kinds = append(kinds, "move", "move", "fence", "lease")
	}
	return plan{
		WindowBytes: rapid.SampledFrom([]int{1 << 20, 4000, 400}).Draw(t, "window bytes"),
		MaxInFlight: rapid.SampledFrom([]int{16, 4, 1}).Draw(t, "slots"),
		Connect:     rapid.SampledFrom([]time.Duration{time.Millisecond, 20 * time.Millisecond}).Draw(t, "connect"),
		Stale:       rapid.Bool().Draw(t, "stale"),
		Shared:      shared,
		Steps:       rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step { return drawStep(t, kinds) }), 1, 40).Draw(t, "steps"),
	}
}

func drawStep(t *rapid.T, kinds []string) step {
	return step{
		Kind:    rapid.SampledFrom(kinds).Draw(t, "kind"),
		Account: rapid.IntRange(0, modelAccounts-1).Draw(t, "account"),
		Events:  rapid.SliceOfN(rapid.IntRange(0, 5), 1, 60).Draw(t, "events"),
		Answer:  rapid.SampledFrom([]string{"ok", "ok", "slow", "500", "503", "503 for long", "410", "hang", "flaky"}).Draw(t, "answer"),
		Trouble: rapid.SampledFrom([]string{"", failingReads, refused, lost, doubtful, failingForOne, failingForOne}).Draw(t, "trouble"),
		Wait: rapid.SampledFrom([]time.Duration{
			time.Millisecond, 3 * time.Millisecond, 7 * time.Millisecond, 100 * time.Millisecond,
			2 * time.Second, 12 * time.Second, time.Minute, 20 * time.Minute, 5 * time.Hour,
		}).Draw(t, "wait"),
		Clock: rapid.SampledFrom([]time.Duration{-time.Hour, time.Hour}).Draw(t, "clock"),
	}
}

// TestModelOfTheWholeLife plays random lives of three accounts and holds the
// invariants (docs/architecture.md) at every attempt, after every long wait, and
// at the end. Lives on SQLite take longer, so there are fewer of them: a fifth of what
// -rapid.checks says. They wait for the disk, and those in memory for the CPU,
// so that they share the time.
func TestModelOfTheWholeLife(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		for range 5 { // each as many as -rapid.checks says
			rapid.Check(t, func(rt *rapid.T) { live(rt, t, &inMemory{}) })
		}
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		n, failed := 0, false
		rapid.Check(t, func(rt *rapid.T) {
			if n++; n%5 != 0 && !failed {
				return
			}
			failed = true // and is to be found again
			live(rt, t, &onDisk{dir: t.TempDir()})
			failed = false
		})
	})
}

func live(rt *rapid.T, t *testing.T, rows rows) {
	p := drawPlan(rt)
	rt.Log(p)
	var errs []string
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rows, &p)
		for _, s := range p.Steps {
			w.do(s)
		}
		w.finish()
		errs = w.errs
		close(w.over)
		w.stop()
		w.stop = func() {}
		w.killed.Wait()
		rows.close(t)
	})
	if len(errs) > 0 {
		text := strings.Join(errs[:min(len(errs), 5)], "\n")
		if !t.Failed() {
			t.Errorf("%v\n%s", p, text) // a life that does not happen twice
		}
		rt.Log(text)
		rt.Fatal("an invariant does not hold") // always the same words, so that rapid can shrink the plan
	}
}

// world runs a plan against the dispatcher and keeps what must hold of it.
type world struct {
	*rig
	rows     rows
	slow     *slowStore
	kept     store.Store                    // as it is, without delay or trouble
	power    context.CancelFunc             // of the process
	over     chan struct{}                  // of the process, closed at its end
	settled  [modelAccounts]<-chan struct{} // of accounts that others have
	fenced   bool                           // the process was once
	refused  map[string]bool                // attempts of which the outcome was
	killed   sync.WaitGroup                 // processes that were
	errs     []string
	accounts [modelAccounts]endpoint
	urls     int
	starts   int // of the process
	events   map[string]*modelEvent
	order    map[string][]*modelEvent // by account and message
	open     map[string]*modelEvent   // the one under way, by its queue
	replays  int                      // so many were asked for
}

// endpoint is what an account has, and what has gone there.
type endpoint struct {
	answer   string
	healthy  time.Time // since when it has answered well, from a store without trouble
	open     int       // attempts under way
	acked    bool      // something was, since the start of the process
	failures int       // in a row
	failed   time.Time // the last of them
	hurried  time.Time // the breaker was to probe at once
	madeDue  time.Time // by a success after so many
	term     int       // of the webhook, see told
	moved    time.Time // since when it is the dispatcher's again
	probes   bool      // its breaker was open when its lane began: the first attempt is at once,
	wasOpen  bool      // and the first success makes everything due
}

type modelEvent struct {
	id, message string
	accepted    time.Time
	acked       int // times acknowledged
	ackedIn     int // by which process
	attempts    int
	deleted     bool      // its webhook was
	first       time.Time // failure
	failed      time.Time
	term        int       // of the failure
	replayedAt  time.Time // as its row had it when it was attempted last
	replay      int       // its number, since when it was accepted is when it was asked for; 0: none
	due         time.Time // by a PUT or the clock's having been set back, until an attempt begins
}

func newWorld(t *testing.T, rows rows, p *plan) *world {
	kept := rows.open(t)
	w := &world{rows: rows, kept: kept, slow: newSlowStore(kept), events: map[string]*modelEvent{}, order: map[string][]*modelEvent{}, refused: map[string]bool{}, over: make(chan struct{}), open: map[string]*modelEvent{}}
	w.rig = newRig(t, func(c *dispatcher.Config) {
		w.plugIn(c, c.Sender.(*receiver))
		c.MaxInFlight, c.WindowBytes, c.Retention = p.MaxInFlight, p.WindowBytes, 10000*time.Hour
	})
	w.store = w.slow // newRig has put another one there
	w.recv.connect.Store(int64(p.Connect))
	w.recv.stale = p.Stale
	w.slow.shared, w.slow.recording, w.slow.refused = p.Shared, w.checkRecorded, w.refuse
	w.recv.set(w.answer)
	for i := range modelAccounts {
		w.accounts[i] = endpoint{answer: "ok", healthy: time.Now()}
		if _, _, err := kept.PutAccount(context.Background(), name(i), time.Now()); err != nil {
			t.Fatal(err)
		}
		w.do(step{Kind: "create", Account: i})
	}
	return w
}

func name(account int) string { return fmt.Sprint("a", account) }

func (w *world) do(s step) {
	switch s.Kind {
	case "accept":
		w.acceptAll(s)
	case "answer":
		w.recv.mu.Lock()
		w.accounts[s.Account].answer, w.accounts[s.Account].healthy = s.Answer, time.Now()
		w.recv.mu.Unlock()
	case "wait":
		w.after(s.Wait)
		w.checkProgress()
	case "probe":
		w.probe(s.Account)
	case "trouble":
		w.slow.setTrouble(s.Trouble)
		w.healedNow()
	case "restart":
		w.stop()
		w.rows.close(w.t)
		w.begin()
	case "clock":
		w.stop()
		w.rows.close(w.t)
		w.jump(s.Clock)
		w.begin()
		w.noteRewound()
	case "kill":
		w.kill(s)
	case "replay all":
		w.replayAll(name(s.Account))
	case "replay":
		w.replay(s)
	case "move":
		w.move(s.Account)
	case "fence":
		w.outlive(s)
	case "lease":
		w.slow.expire(time.Now())
		w.after(s.expiry())
		w.checkSlots(s.expiry())
		w.slow.expire(time.Time{})
		w.healedNow()
	default:
		w.change(s)
	}
	w.settle()
	if err := w.disp.Check(); err != nil {
		w.errorf("after %v: %v", s, err)
	}
	w.checkWaits()
	w.checkHealth()
}

// probe has an open breaker probe before its gap is over.
func (w *world) probe(account int) {
	w.recv.mu.Lock()
	end := &w.accounts[account]
	end.hurried = time.Now()
	w.recv.mu.Unlock()
	open, owned := w.disp.IsOpen(name(account)), w.slow.owned(name(account))
	got := w.disp.Probe(name(account), time.Now())
	if got != store.NotOpen && (!open || !owned) {
		w.errorf("a%d is to probe: %d, while its breaker is open: %t, and it is the process's: %t", account, got, open, owned)
	}
	if got != store.ProbeBegins {
		w.recv.mu.Lock()
		end.hurried = time.Time{}
		w.recv.mu.Unlock()
	}
}

// healedNow: progress is asked of the endpoints from now on.
func (w *world) healedNow() {
	for i := range w.accounts {
		w.accounts[i].healthy = time.Now()
	}
}

// change does something to the webhook, again and again until it is certain.
func (w *world) change(s step) {
	ctx, account := context.Background(), name(s.Account)
	w.urls++
	url := fmt.Sprintf("https://%s.example/%d", account, w.urls)
	secret := store.NewSecret()
	for {
		var err error
		switch s.Kind {
		case "put":
			_, err = w.store.ReplaceCallbackURL(ctx, account, url, time.Now())
		case "put the same":
			var h store.Webhook
			if h, err = w.kept.Webhook(ctx, account); err == nil {
				_, err = w.store.ReplaceCallbackURL(ctx, account, h.CallbackURL, time.Now())
			}
		case "create":
			_, err = w.store.CreateWebhook(ctx, store.Webhook{AccountID: account, ID: store.NewID("wh_"), CallbackURL: url, Status: store.Active, Secret: secret})
		case "rotate":
			_, err = w.store.RotateSecret(ctx, account, secret, time.Now().Add(time.Hour), time.Now())
		case "delete":
			time.Sleep(2 * time.Microsecond) // a store tells a replay from the next by its time
			w.recv.mu.Lock()
			for _, e := range w.events {
				e.deleted = e.deleted || strings.HasPrefix(e.id, account+"-")
			}
			w.recv.mu.Unlock()
			err = w.store.DeleteWebhook(ctx, account, time.Now())
		}
		if errors.Is(err, errTrouble) {
			continue
		}
		if err == nil && strings.HasPrefix(s.Kind, "put") && w.slow.owned(account) {
			w.noteDue(s.Account)
		}
		return
	}
}

// acceptAll hands events in, again and again until it is certain.
func (w *world) acceptAll(s step) {
	events, made := w.make(s)
	w.hand(events, made)
}

// make makes the events of a step.
func (w *world) make(s step) (events []store.Event, made []*modelEvent) {
	account := name(s.Account)
	w.recv.mu.Lock()
	defer w.recv.mu.Unlock()
	for _, m := range s.Events {
		w.next++
		message := fmt.Sprintf("%s-m%d", account, m)
		e := &modelEvent{id: fmt.Sprintf("%s-%06d", message, w.next), message: message, accepted: time.Now()}
		w.events[e.id] = e
		made = append(made, e)
		w.order[message] = append(w.order[message], e)
		events = append(events, store.Event{AccountID: account, ID: e.id, MessageID: message, Channel: "SMS", Payload: []byte(`{"v":1}`)})
	}
	return events, made
}

func (w *world) hand(events []store.Event, made []*modelEvent) {
	verdicts, err := w.store.Accept(context.Background(), events, time.Now())
	for err != nil {
		verdicts, err = w.store.Accept(context.Background(), events, time.Now())
	}
	w.recv.mu.Lock()
	defer w.recv.mu.Unlock()
	for i, v := range verdicts {
		if v != store.Accepted && v != store.Duplicate {
			delete(w.events, made[i].id)
			made[i].deleted = true
		}
	}
}

// finish heals everything and holds what must be true in the end.
func (w *world) finish() {
	w.do(step{Kind: "trouble"})
	for i := range modelAccounts {
		w.do(step{Kind: "answer", Account: i, Answer: "ok"})
	}
	w.do(step{Kind: "wait", Wait: time.Minute}) // until the last of the old answers have come
	w.bringBack()
	for i := range modelAccounts {
		if h, err := w.kept.Webhook(context.Background(), name(i)); err == nil && h.Status == store.Suspended {
			w.do(step{Kind: "put", Account: i})
		}
	}
	w.do(step{Kind: "wait", Wait: 7 * time.Minute})
	w.do(step{Kind: "wait", Wait: 25 * time.Hour}) // retries that were put off for long
	w.checkEnd()
}
