package dispatcher_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// step is one thing that happens in a run of the model: something that the
// platform, an account, an endpoint, the operator or time does.
type step struct {
	Kind    string
	Account int
	Events  []int // of these messages
	Answer  string
	Wait    time.Duration
}

const modelAccounts = 3

// slowStore takes time: what it answers is as old as that, and what it records
// is known to the dispatcher only later.
type slowStore struct {
	store.Queue
	n atomic.Int64
}

func (s *slowStore) pause() { time.Sleep(time.Duration(s.n.Add(1)%5) * time.Millisecond) }

func (s *slowStore) Backlog(ctx context.Context, q store.BacklogQuery) (store.Backlog, error) {
	s.pause()
	defer s.pause()
	return s.Queue.Backlog(ctx, q)
}

func (s *slowStore) Oldest(ctx context.Context, account string) (store.Backlog, error) {
	defer s.pause()
	return s.Queue.Oldest(ctx, account)
}

func (s *slowStore) MakeDue(ctx context.Context, account string, now time.Time, limit int) (int, error) {
	defer s.pause()
	return s.Queue.MakeDue(ctx, account, now, limit)
}

func (s *slowStore) Record(ctx context.Context, outcomes []store.Outcome, now time.Time) error {
	s.pause()
	defer s.pause()
	return s.Queue.Record(ctx, outcomes, now)
}

func drawStep(t *rapid.T) step {
	return step{
		Kind: rapid.SampledFrom([]string{
			"accept", "accept", "accept", "accept", "answer", "answer", "wait", "wait", "put", "delete", "create", "rotate", "restart",
		}).Draw(t, "kind"),
		Account: rapid.IntRange(0, modelAccounts-1).Draw(t, "account"),
		Events:  rapid.SliceOfN(rapid.IntRange(0, 5), 1, 60).Draw(t, "events"),
		Answer:  rapid.SampledFrom([]string{"ok", "ok", "slow", "500", "503", "410", "hang", "flaky"}).Draw(t, "answer"),
		Wait: rapid.SampledFrom([]time.Duration{
			time.Millisecond, 3 * time.Millisecond, 7 * time.Millisecond, 100 * time.Millisecond, 2 * time.Second, 12 * time.Second, time.Minute, 20 * time.Minute, 5 * time.Hour,
		}).Draw(t, "wait"),
	}
}

// world runs a plan against the dispatcher and keeps what it must hold true.
type world struct {
	*rig
	errs    []string
	answers [modelAccounts]string
	url     [modelAccounts]string // the present one; empty: no webhook
	urls    int
	events  map[string]*modelEvent
	order   map[string][]*modelEvent // by account and message
	open    map[string]*modelEvent   // the one under way, by account and message
	starts  int                      // of the process
}

type modelEvent struct {
	id, message string
	accepted    time.Time
	acked       int // times acknowledged
	ackedIn     int // by which process
	attempts    int
	settled     bool // acknowledged, or its webhook was deleted
}

func (w *world) errorf(format string, args ...any) {
	w.errs = append(w.errs, fmt.Sprintf("at %v: ", time.Since(w.recv.start))+fmt.Sprintf(format, args...))
}

// answer is every endpoint.
func (w *world) answer(ctx context.Context, c call) egress.Result {
	w.recv.mu.Lock()
	account, _ := index(c.ID)
	behaviour := w.answers[account]
	e := w.events[c.ID]
	w.checkStart(c, e, account)
	w.open[e.message] = e
	w.recv.mu.Unlock()

	var res egress.Result
	switch behaviour {
	case "ok":
		res = ok(ctx, c)
	case "slow":
		time.Sleep(1500 * time.Millisecond)
		res = ok(ctx, c)
	case "hang":
		res = hang(ctx, c)
	case "flaky":
		time.Sleep(10 * time.Millisecond)
		if res = ok(ctx, c); len(c.ID)%3 == c.Attempt%3 {
			res = status(500)(ctx, c)
		}
	default:
		var code int
		_, _ = fmt.Sscan(behaviour, &code)
		res = status(code)(ctx, c)
	}

	w.recv.mu.Lock()
	defer w.recv.mu.Unlock()
	delete(w.open, e.message)
	if res.Kind == egress.Acknowledged {
		e.acked++
		e.ackedIn = w.starts
		e.settled = true
	}
	return res
}

func index(id string) (account, message int) {
	_, _ = fmt.Sscanf(id, "a%d-m%d-", &account, &message)
	return account, message
}

// checkStart holds the invariants that concern the start of an attempt.
func (w *world) checkStart(c call, e *modelEvent, account int) {
	e.attempts++
	if c.URL != w.url[account] {
		w.errorf("%s went to %q, the present URL is %q", c.ID, c.URL, w.url[account])
	}
	if e.acked > 0 && e.ackedIn == w.starts {
		w.errorf("%s came again after it was acknowledged, without a restart", c.ID)
	}
	if o := w.open[e.message]; o != nil {
		w.errorf("%s began while %s of the same message was under way", c.ID, o.id)
	}
	for _, o := range w.order[e.message] {
		if o == e {
			break
		}
		if !o.settled && time.Since(e.accepted) < time.Minute {
			w.errorf("%s overtook %s after %v", c.ID, o.id, time.Since(e.accepted))
		}
	}
}

func (w *world) do(s step) {
	ctx, account := context.Background(), fmt.Sprint("a", s.Account)
	switch s.Kind {
	case "accept":
		w.acceptAll(account, s)
	case "answer":
		w.recv.mu.Lock()
		w.answers[s.Account] = s.Answer
		w.recv.mu.Unlock()
	case "wait":
		w.after(s.Wait)
	case "put":
		w.newURL(s.Account, func(url string) error {
			_, err := w.store.ReplaceCallbackURL(ctx, account, url, time.Now())
			return err
		})
	case "create":
		w.newURL(s.Account, func(url string) error {
			_, err := w.store.CreateWebhook(ctx, store.Webhook{AccountID: account, ID: store.NewID("wh_"), CallbackURL: url, Status: store.Active, Secret: store.NewSecret()})
			return err
		})
	case "rotate":
		_, _ = w.store.RotateSecret(ctx, account, store.NewSecret(), time.Now().Add(time.Hour), time.Now())
	case "delete":
		w.recv.mu.Lock()
		w.url[s.Account] = ""
		for _, e := range w.events {
			if a, _ := index(e.id); a == s.Account {
				e.settled = true
			}
		}
		w.recv.mu.Unlock()
		_ = w.store.DeleteWebhook(ctx, account, time.Now())
	case "restart":
		w.stop()
		w.starts++
		w.start()
	}
	w.settle()
}

// newURL changes the URL. An attempt may begin between the commit and the
// return of the call, to either; both are held to the new one from here on, as
// the change is made between two instants of the bubble's clock.
func (w *world) newURL(account int, change func(url string) error) {
	w.urls++
	url := fmt.Sprintf("https://a%d.example/%d", account, w.urls)
	w.recv.mu.Lock()
	before := w.url[account]
	w.url[account] = url
	w.recv.mu.Unlock()
	if change(url) != nil {
		w.recv.mu.Lock()
		w.url[account] = before
		w.recv.mu.Unlock()
	}
}

func (w *world) acceptAll(account string, s step) {
	var events []store.Event
	w.recv.mu.Lock()
	var made []*modelEvent
	for _, m := range s.Events {
		w.next++
		message := fmt.Sprintf("%s-m%d", account, m)
		e := &modelEvent{id: fmt.Sprintf("%s-%06d", message, w.next), message: message, accepted: time.Now()}
		w.events[e.id] = e
		made = append(made, e)
		w.order[message] = append(w.order[message], e)
		events = append(events, store.Event{AccountID: account, ID: e.id, MessageID: message, Channel: "SMS", Payload: []byte(`{"v":1}`)})
	}
	w.recv.mu.Unlock()
	verdicts, _ := w.store.Accept(context.Background(), events, time.Now())
	for i, v := range verdicts {
		if v != store.Accepted {
			w.recv.mu.Lock()
			delete(w.events, made[i].id)
			made[i].settled = true
			w.recv.mu.Unlock()
		}
	}
}

// finish heals everything and holds what must be true in the end.
func (w *world) finish() {
	w.recv.mu.Lock()
	for i := range w.answers {
		w.answers[i] = "ok"
	}
	w.recv.mu.Unlock()
	for i := range modelAccounts {
		w.do(step{Kind: "put", Account: i}) // suspended ones go on
	}
	w.after(10 * time.Minute)
	for id, e := range w.events {
		a, _ := index(id)
		d, attempts, err := w.store.Delivery(context.Background(), fmt.Sprint("a", a), id)
		switch {
		case err != nil:
			w.errorf("%s was accepted and is gone: %v", id, err)
		case d.State == store.Pending:
			w.errorf("%s is PENDING ten minutes after its endpoint healed (%d attempts, due %v)", id, d.Attempts, d.DueAt)
		case d.State == store.Delivered && e.acked == 0:
			w.errorf("%s is DELIVERED but never arrived", id)
		case d.State == store.Failed && d.FinishedAt.Sub(d.AcceptedAt) < 72*time.Hour && d.Failures < 13:
			w.errorf("%s was given up early: after %v and %d failures", id, d.FinishedAt.Sub(d.AcceptedAt), d.Failures)
		case w.starts == 0 && len(attempts) != e.attempts && d.State == store.Delivered:
			w.errorf("%s: %d attempts recorded, %d arrived", id, len(attempts), e.attempts)
		}
	}
	if s := w.disp.Stats(); s.HeldBytes != 0 || s.SlotsInUse != 0 || s.SuspectInUse != 0 || s.Unrecorded != 0 {
		w.errorf("idle, but %+v", s)
	}
}

// TestModelOfTheWholeLife plays random lives of three accounts and holds the
// invariants of DESIGN §5 at every attempt and at the end.
func TestModelOfTheWholeLife(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := rapid.SliceOfN(rapid.Custom(drawStep), 1, 40).Draw(rt, "plan")
		var errs []string
		synctest.Test(t, func(t *testing.T) {
			w := &world{events: map[string]*modelEvent{}, order: map[string][]*modelEvent{}, open: map[string]*modelEvent{}}
			w.rig = newRig(t, func(c *dispatcher.Config) {
				c.MaxInFlight, c.WindowBytes = 16, 400
				c.Store = &slowStore{Queue: c.Store}
			})
			w.recv.connect = time.Millisecond
			w.recv.set(w.answer)
			for i := range modelAccounts {
				w.answers[i] = "ok"
				if _, _, err := w.store.PutAccount(context.Background(), fmt.Sprint("a", i), time.Now()); err != nil {
					t.Fatal(err)
				}
				w.do(step{Kind: "create", Account: i})
			}
			for _, s := range plan {
				w.do(s)
			}
			w.finish()
			errs = w.errs
		})
		if len(errs) > 0 {
			rt.Fatalf("%s", strings.Join(errs[:min(len(errs), 5)], "\n"))
		}
	})
}
