package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
)

// RunModel does random operations to the opened store and to store/memory, and
// fails where they answer differently. Of Seq it compares the order. Each open must
// give an empty store with the quota, which is closed at the end of the run.
func RunModel(t *testing.T, open func(*testing.T, store.Quota) store.Store) {
	rapid.Check(t, func(r *rapid.T) {
		quota := rapid.SampledFrom([]store.Quota{{}, {Events: 40}, {Bytes: 500}}).Draw(r, "quota")
		s := open(t, quota)
		defer func() { _ = s.Close() }() // before the next run opens its own
		m := &machine{model: memory.New(memory.Config{Quota: quota}), store: &numbered{Store: s}, opened: s, now: t0, modelHeard: &listener{}, storeHeard: &listener{}, followed: map[string]int64{}}
		m.model.Listen(m.modelHeard)
		m.store.Listen(m.storeHeard)
		r.Repeat(rapid.StateMachineActions(m))
	})
}

// machine is the state of one run. Its exported methods are the operations.
type machine struct {
	model, store           store.Store
	opened                 store.Store // as the test has opened it
	modelHeard, storeHeard *listener
	now                    time.Time
	known                  []store.Delivery // as they were read at some time
	webhooks, bulks        int
	followed               map[string]int64 // how far a reader is in the feed, by account
	next                   int64
}

// everything is more than a run makes. The contract does not say which ones a
// smaller limit takes.
const everything = 1 << 20

// answer is what an operation returns: its values and its sentinel.
type answer struct {
	Values []any
	Err    string
}

func answered(err error, values ...any) answer {
	switch {
	case err == nil:
		return answer{Values: values}
	case errors.Is(err, store.ErrNotFound):
		return answer{Err: "ErrNotFound"}
	case errors.Is(err, store.ErrConflict):
		return answer{Err: "ErrConflict"}
	case errors.Is(err, store.ErrNoWebhook):
		return answer{Err: "ErrNoWebhook"}
	case errors.Is(err, store.ErrTooMany):
		return answer{Err: "ErrTooMany"}
	}
	return answer{Err: err.Error()}
}

// both asks both stores and compares.
func (m *machine) both(r *rapid.T, what string, ask func(store.Store) answer) {
	r.Helper()
	want, got := ask(m.model), ask(m.store)
	if reflect.DeepEqual(want, got) {
		return // much faster than cmp
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		r.Fatalf("%s (-model +store):\n%s", what, diff)
	}
}

func (m *machine) account(r *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b"}).Draw(r, "account")
}

// owner is an account, or the platform, which has a webhook too.
func (m *machine) owner(r *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", store.Operations}).Draw(r, "owner")
}

func (m *machine) later(r *rapid.T) time.Time {
	m.now = m.now.Add(time.Duration(rapid.IntRange(0, 5).Draw(r, "seconds")) * time.Second)
	return m.now
}

func (m *machine) Provision(r *rapid.T) {
	id, now := m.owner(r), m.later(r)
	w := store.Webhook{AccountID: id, ID: fmt.Sprint("wh_", m.webhooks), CallbackURL: "https://x.example/", Status: store.Active, Secret: []byte("s"), CreatedAt: now, UpdatedAt: now}
	m.webhooks++
	if id != store.Operations {
		m.both(r, "PutAccount", func(s store.Store) answer {
			a, created, err := s.PutAccount(context.Background(), id, now)
			return answered(err, a, created)
		})
	}
	m.both(r, "CreateWebhook", func(s store.Store) answer {
		w, err := s.CreateWebhook(context.Background(), w)
		return answered(err, w)
	})
}

func (m *machine) Change(r *rapid.T) {
	id, now := m.owner(r), m.later(r)
	change := rapid.SampledFrom([]string{"url", "secret", "suspend", "delete", "erase"}).Draw(r, "change")
	ends := time.Duration(rapid.IntRange(0, 60).Draw(r, "ends")) * time.Second
	m.both(r, change, func(s store.Store) answer {
		ctx := context.Background()
		switch change {
		case "url":
			w, err := s.ReplaceCallbackURL(ctx, id, "https://y.example/", now)
			return answered(err, w)
		case "secret":
			w, err := s.RotateSecret(ctx, id, fmt.Append(nil, now), now.Add(ends), now)
			return answered(err, w)
		case "suspend":
			w, _ := s.Webhook(ctx, id)
			return answered(s.SuspendWebhook(ctx, w, now))
		case "delete":
			return answered(s.DeleteWebhook(ctx, id, now))
		}
		return answered(s.DeleteAccount(ctx, id))
	})
}

func (m *machine) Accept(r *rapid.T) {
	events, now := m.events(r), m.later(r)
	m.both(r, "Accept", func(s store.Store) answer {
		v, err := s.Accept(context.Background(), events, now)
		return answered(err, v)
	})
}

func (m *machine) events(r *rapid.T) (events []store.Event) {
	// One draw for each event: a run spends its time on draws.
	for _, n := range rapid.SliceOfN(rapid.IntRange(0, 2*2*3*10*200*4-1), 1, 100).Draw(r, "events") {
		e := event([]string{"a", "b"}[n%2], fmt.Sprint("e", n/120%200), fmt.Sprint("m", n/12%10))
		if n/24000 == 0 {
			e.Payload = []byte(`{"other":"content"}`)
		}
		e.Channel, e.Part = []string{"SMS", "RCS"}[n/2%2], n/4%3
		events = append(events, e)
	}
	return events
}

// Damager is a store in which an account's webhook can be made unreadable until
// it is repaired.
type Damager interface {
	Damage(accountID string) (repair func() error, err error)
}

// Damage accepts events while one account cannot be read: they are stored as if
// its own had not been handed in.
func (m *machine) Damage(r *rapid.T) {
	s, ok := m.opened.(Damager)
	id, events, now, ctx := m.account(r), m.events(r), m.later(r), context.Background()
	if _, err := m.model.Webhook(ctx, id); err != nil || !ok {
		r.Skip("nothing to damage")
	}
	repair, err := s.Damage(id)
	if err != nil {
		r.Fatal(err)
	}
	var others []store.Event
	for _, e := range events {
		if e.AccountID != id {
			others = append(others, e)
		}
	}
	m.both(r, "Accept beside an account that cannot be read", func(s store.Store) answer {
		handed := others
		if s == m.store {
			handed = events
		}
		verdicts, err := s.Accept(ctx, handed, now)
		return answered(err, slices.DeleteFunc(verdicts, func(v store.Verdict) bool { return v == store.Unreadable }))
	})
	_, url := m.store.ReplaceCallbackURL(ctx, id, "https://z.example/", now)
	_, backlog := m.store.Backlog(ctx, store.BacklogQuery{AccountID: id, Now: now, Fresh: 1})
	for name, err := range map[string]error{"ReplaceCallbackURL": url, "Backlog": backlog} {
		if err == nil || errors.Is(err, store.ErrNotFound) {
			r.Fatalf("%s of an account that cannot be read: got %v, want that it cannot", name, err)
		}
	}
	if err := repair(); err != nil {
		r.Fatal(err)
	}
}

func (m *machine) Record(r *rapid.T) {
	if len(m.known) == 0 {
		r.Skip("nothing was read")
	}
	now := m.later(r)
	outcomes := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) store.Outcome {
		d := rapid.SampledFrom(m.known).Draw(r, "delivery")
		return m.outcome(r, &d)
	}), 1, 40).Draw(r, "outcomes")
	m.both(r, "Record", func(s store.Store) answer { return answered(s.Record(context.Background(), outcomes, now)) })
}

func (m *machine) outcome(r *rapid.T, d *store.Delivery) store.Outcome {
	due := m.now.Add(time.Duration(rapid.IntRange(0, 20).Draw(r, "due")) * time.Second)
	o := store.Outcome{Delivery: d, State: store.Pending, Failures: d.Failures, DueAt: due}
	kind := rapid.SampledFrom([]string{"delivered", "delivered", "failed attempt", "put off", "fresh again", "behind", "given up"}).Draw(r, "outcome")
	if kind == "delivered" || kind == "failed attempt" {
		o.Attempt = &store.Attempt{Number: d.Attempts + 1, At: m.now, Duration: time.Millisecond, StatusCode: 204}
		if rapid.Bool().Draw(r, "phases") { // else it is an attempt that came to nothing
			o.Attempt.Phases, o.Attempt.Reused, o.Attempt.Address = store.Phases{DNS: time.Second, FirstByte: time.Microsecond}, true, "[2001:db8::1]:8443"
		}
	}
	switch kind {
	case "delivered":
		o.State, o.DueAt = store.Delivered, time.Time{}
	case "failed attempt":
		o.Failures++
		o.Attempt.StatusCode, o.Attempt.Error, o.Attempt.Response = 500, store.HTTPStatus, []byte("no")
		o.Attempt.Detail, o.Attempt.Location, o.Attempt.Header = "NO_ANSWER", "https://example.com/", "HTTP/1.1 500 Oops"
	case "fresh again":
		o.DueAt = time.Time{}
	case "behind":
		o.Behind = true
	case "given up":
		o.State, o.DueAt = store.Failed, time.Time{}
	}
	return o
}

// Health records changes of endpoints' states, some of which do not hold.
func (m *machine) Health(r *rapid.T) {
	now := m.later(r)
	states := []store.HealthState{store.HealthHealthy, store.HealthSlowed, store.HealthFailing, store.HealthProbing}
	changes := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) store.HealthChange {
		c := store.HealthChange{AccountID: m.account(r), To: rapid.SampledFrom(states).Draw(r, "state"), At: now, Error: store.HTTPStatus, StatusCode: 500}
		if w, err := m.model.Webhook(context.Background(), c.AccountID); err == nil && rapid.IntRange(0, 5).Draw(r, "old") > 0 {
			c.WebhookID, c.Version = w.ID, w.Version-int64(rapid.IntRange(0, 2).Draw(r, "versions"))
		}
		return c
	}), 1, 4).Draw(r, "changes")
	m.both(r, "RecordHealth", func(s store.Store) answer { return answered(s.RecordHealth(context.Background(), changes)) })
}

func (m *machine) Tidy(r *rapid.T) {
	id, now := m.account(r), m.later(r)
	before := now.Add(-time.Duration(rapid.IntRange(0, 30).Draw(r, "age")) * time.Second)
	chore := rapid.SampledFrom([]string{"MakeDue", "Expire", "Cancel", "Sweep", "Notify"}).Draw(r, "chore")
	m.both(r, chore, func(s store.Store) answer {
		ctx, n, err := context.Background(), 0, error(nil)
		switch chore {
		case "MakeDue":
			n, err = s.MakeDue(ctx, id, now, everything)
		case "Expire":
			n, err = s.Expire(ctx, id, before, now, everything)
		case "Cancel":
			n, err = s.Cancel(ctx, id, now, everything)
		case "Sweep":
			n, err = s.Sweep(ctx, now, now.Sub(before), everything)
		case "Notify":
			n, err = s.Notify(ctx, now.Add(store.NoticeDelay/2), 1)
		}
		return answered(err, n)
	})
}

func (m *machine) Replay(r *rapid.T) {
	if len(m.known) == 0 {
		r.Skip("nothing was read")
	}
	d, now := rapid.SampledFrom(m.known).Draw(r, "delivery"), m.later(r)
	m.both(r, "Replay", func(s store.Store) answer {
		return answered(s.Replay(context.Background(), d.AccountID, d.EventID, now))
	})
}

// Bulk begins, continues or ends a bulk replay.
func (m *machine) Bulk(r *rapid.T) {
	id, now := m.account(r), m.later(r)
	b := store.BulkReplay{ID: fmt.Sprint("rpl_", m.bulks), AccountID: id, Asked: []byte("{}"), StartedAt: now}
	b.Query.States = rapid.SampledFrom([][]store.State{nil, {store.Failed}, {store.Delivered, store.Cancelled}}).Draw(r, "states")
	b.Query.MessageID = rapid.SampledFrom([]string{"", "", "m1"}).Draw(r, "message")
	step := rapid.SampledFrom([]string{"start", "stop", "continue", "continue", "continue"}).Draw(r, "step")
	limit := rapid.IntRange(1, 30).Draw(r, "limit")
	if step == "start" {
		m.bulks++
	}
	m.both(r, step+" a bulk replay", func(s store.Store) answer {
		ctx := context.Background()
		switch step {
		case "start":
			return answered(s.StartReplay(ctx, b))
		case "stop":
			return answered(s.StopReplay(ctx, id, fmt.Sprint("rpl_", m.bulks-1), now))
		}
		worked, err := s.ContinueReplay(ctx, id, now, limit)
		return answered(err, worked)
	})
	m.both(r, "BulkReplays", func(s store.Store) answer {
		all, err := s.BulkReplays(context.Background(), id, 5)
		return answered(err, all)
	})
}

// Reopener is a store that can forget what it has in memory and read it anew.
type Reopener interface{ Reopen() error }

func (m *machine) Reopen(r *rapid.T) {
	s, ok := m.opened.(Reopener)
	if !ok {
		r.Skip("this store cannot")
	}
	if err := s.Reopen(); err != nil {
		r.Fatal(err)
	}
}

// List asks for one page of a listing.
func (m *machine) List(r *rapid.T) {
	q := store.DeliveryQuery{AccountID: m.account(r), Limit: rapid.IntRange(1, 30).Draw(r, "limit")}
	ago := func() time.Time { return m.now.Add(-time.Duration(rapid.IntRange(0, 30).Draw(r, "ago")) * time.Second) }
	// Half of the runs have none of the filters that leave out nearly all.
	filters := rapid.IntRange(0, 1023).Draw(r, "filters") & rapid.SampledFrom([]int{31, 1023}).Draw(r, "of these")
	if filters&1 != 0 {
		q.States = rapid.SliceOfNDistinct(rapid.SampledFrom([]store.State{store.Pending, store.Delivered, store.Failed, store.Cancelled}), 1, 3, rapid.ID).Draw(r, "states")
	}
	if filters&2 != 0 {
		q.MessageID = fmt.Sprint("m", rapid.IntRange(0, 9).Draw(r, "message"))
	}
	if filters&4 != 0 {
		q.From = ago()
	}
	if filters&8 != 0 {
		q.To = ago()
	}
	if filters&16 != 0 && len(m.known) > 0 {
		last := rapid.SampledFrom(m.known).Draw(r, "last")
		q.After = store.Place{AcceptedAt: last.AcceptedAt, Seq: last.Seq}
	}
	q.OldestFirst = filters&32 != 0
	if filters&64 != 0 {
		q.FinishedFrom = ago()
	}
	if filters&128 != 0 {
		q.FinishedTo = ago()
	}
	if filters&256 != 0 {
		q.FailedSince = ago()
	}
	if filters&512 != 0 {
		q.HoldingToo = rapid.SampledFrom([][]byte{nil, nil, []byte("other")}).Draw(r, "holding too")
		q.Error = store.HTTPStatus
		q.StatusCode = rapid.SampledFrom([]int{0, 0, 204, 500}).Draw(r, "status")
		q.Channel = rapid.SampledFrom([]string{"", "SMS", "RCS"}).Draw(r, "channel")
		q.Holding = rapid.SampledFrom([][]byte{nil, []byte("other"), []byte(`"id":"e1`)}).Draw(r, "holding")
	}
	m.both(r, "List", func(s store.Store) answer {
		ds, err := s.Deliveries(context.Background(), q)
		return answered(err, ds)
	})
}

// ListAttempts asks for attempts, all together and page by page: pages may differ
// in their order.
func (m *machine) ListAttempts(r *rapid.T) {
	q := store.AttemptQuery{AccountID: m.account(r), Limit: everything}
	ago := func() time.Time { return m.now.Add(-time.Duration(rapid.IntRange(0, 30).Draw(r, "ago")) * time.Second) }
	filters := rapid.IntRange(0, 31).Draw(r, "filters")
	if filters&1 != 0 {
		q.Outcome = rapid.SampledFrom([]store.AttemptOutcome{store.AttemptAcknowledged, store.AttemptFailed}).Draw(r, "outcome")
	}
	if filters&2 != 0 {
		q.MessageID = fmt.Sprint("m", rapid.IntRange(0, 9).Draw(r, "message"))
	}
	if filters&4 != 0 {
		q.From = ago()
	}
	if filters&8 != 0 {
		q.To = ago()
	}
	if filters&16 != 0 {
		q.Status = rapid.SampledFrom([]int{2, 5, store.NoAnswer}).Draw(r, "status")
	}
	m.both(r, "ListAttempts", func(s store.Store) answer {
		page, err := s.Attempts(context.Background(), q)
		return answered(err, page)
	})
	limit := rapid.IntRange(1, 20).Draw(r, "limit")
	m.both(r, "ListAttempts, by pages", func(s store.Store) answer {
		all, err := attemptPages(context.Background(), s, q, limit)
		return answered(err, all)
	})
}

// attemptPages reads all pages and puts them in order.
func attemptPages(ctx context.Context, s store.Store, q store.AttemptQuery, limit int) (all []store.AttemptOf, err error) {
	q.Limit = limit
	for {
		page, err := s.Attempts(ctx, q)
		if err != nil {
			return nil, err
		}
		if len(page.Attempts) > limit || !slices.IsSortedFunc(page.Attempts, newestAttempt) {
			return nil, fmt.Errorf("a page of %d with the limit %d, or not in order", len(page.Attempts), limit)
		}
		all = append(all, page.Attempts...)
		if page.Next == (store.AttemptPlace{}) {
			slices.SortFunc(all, newestAttempt)
			return all, nil
		}
		if q.After == page.Next {
			return nil, errors.New("a page that leads nowhere")
		}
		q.After = page.Next
	}
}

func newestAttempt(a, b store.AttemptOf) int { return b.Key().Compare(a.Key()) }

// Check compares what both hold and what both told, after each operation.
func (m *machine) Check(r *rapid.T) {
	ctx := context.Background()
	m.both(r, "PendingAccounts", func(s store.Store) answer {
		ids, err := s.PendingAccounts(ctx, "", 10)
		return answered(err, ids)
	})
	m.both(r, "RunningReplays", func(s store.Store) answer {
		ids, err := s.RunningReplays(ctx, "", 10)
		return answered(err, ids)
	})
	m.both(r, "Accounts", func(s store.Store) answer {
		page, err := s.Accounts(ctx, store.AccountQuery{Limit: 10, Now: m.now})
		slices.SortFunc(page.Accounts, func(a, b store.AccountHealth) int { return strings.Compare(a.ID, b.ID) }) // one may remember how they compared
		return answered(err, page.Accounts)
	})
	m.both(r, "Accounts that fail", func(s store.Store) answer {
		page, err := s.Accounts(ctx, store.AccountQuery{States: []store.HealthState{store.HealthFailing, store.HealthProbing}, Limit: 10, Now: m.now})
		slices.SortFunc(page.Accounts, func(a, b store.AccountHealth) int { return strings.Compare(a.ID, b.ID) })
		return answered(err, page.Accounts)
	})
	m.both(r, "Stats", func(s store.Store) answer {
		n := s.Stats().Deliveries
		return answered(nil, n[store.Pending], n[store.Delivered], n[store.Failed], n[store.Cancelled])
	})
	for _, id := range []string{"a", "b", store.Operations} {
		m.both(r, "Webhook", func(s store.Store) answer {
			w, err := s.Webhook(ctx, id)
			return answered(err, w)
		})
		m.both(r, "Backlog", func(s store.Store) answer {
			b, err := s.Backlog(ctx, store.BacklogQuery{AccountID: id, Now: m.now, Due: 50, Fresh: 50, Replays: 50})
			return answered(err, b)
		})
		m.both(r, "Oldest", func(s store.Store) answer {
			b, err := s.Oldest(ctx, id)
			return answered(err, b)
		})
		m.both(r, "Vitals", func(s store.Store) answer {
			v, err := s.Vitals(ctx, id, m.now)
			return answered(err, seen(&v))
		})
		first := store.Minute(m.now) - rapid.Int64Range(0, 3).Draw(r, "minutes ago")
		m.both(r, "Minutes", func(s store.Store) answer {
			all, err := s.Minutes(ctx, id, first, store.Minute(m.now))
			return answered(err, byMinute(all))
		})
		m.both(r, "HealthChanges", func(s store.Store) answer {
			page, err := s.HealthChanges(ctx, store.HealthChangeQuery{AccountID: id, Limit: 5})
			return answered(err, page)
		})
		m.checkHistory(r, id)
	}
	m.both(r, "what the listener was told", func(s store.Store) answer {
		l := m.modelHeard
		if s == m.store {
			l = m.storeHeard
		}
		told := answered(nil, l.accepted, l.changes, l.health)
		l.accepted, l.changes, l.health = nil, nil, nil
		return told
	})
}

func (m *machine) checkHistory(r *rapid.T, accountID string) {
	q := store.DeliveryQuery{AccountID: accountID, Limit: everything}
	m.both(r, "Deliveries", func(s store.Store) answer {
		ds, err := s.Deliveries(context.Background(), q)
		return answered(err, ds)
	})
	m.both(r, "Events", func(s store.Store) answer {
		page, err := s.Events(context.Background(), store.FeedQuery{AccountID: accountID, After: m.followed[accountID], Limit: 30})
		if s == m.store && err == nil && rapid.Bool().Draw(r, "follow") {
			m.next = page.Next
		}
		return answered(err, page)
	})
	m.followed[accountID], m.next = max(m.followed[accountID], m.next), 0
	page, err := m.model.Deliveries(context.Background(), q)
	ds := page.Deliveries
	if err != nil || len(ds) == 0 {
		return
	}
	m.known = append(m.known, ds...)
	one := rapid.SampledFrom(ds).Draw(r, "read")
	m.both(r, "Delivery", func(s store.Store) answer {
		d, attempts, err := s.Delivery(context.Background(), accountID, one.EventID)
		return answered(err, d, attempts)
	})
}
