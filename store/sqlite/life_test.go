package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
)

// tenant is one account that does random things to the store, one after the
// other, and what it should hold then: a store in memory to which everything
// has been done that the other one has acknowledged.
type tenant struct {
	id    string
	rng   *rand.Rand
	model *memory.Store
	now   time.Time
	made  int // ids so far
	// doubt is what the store has not acknowledged: it may have happened.
	doubt *step
}

// step is something to do to a store.
type step struct {
	name string
	do   func(store.Store) (any, error)
}

// everything is beyond what a life makes.
const everything = 1 << 20

// newTenants are five that live at the same time, and one a year before them:
// what it has finished it sweeps, and nothing of the others.
func newTenants(rng *rand.Rand) (all []*tenant) {
	for i := range 6 {
		t := &tenant{id: fmt.Sprint("account-", i), rng: rand.New(rand.NewPCG(rng.Uint64(), 0)), model: memory.New(memory.Config{}), now: now}
		if i == 0 {
			t.now = now.AddDate(-1, 0, 0)
		}
		all = append(all, t)
	}
	return all
}

// live does one thing after the other until the store does not acknowledge one,
// and returns what was answered then.
func (t *tenant) live(s store.Store) error {
	for {
		if err := t.try(s, t.step()); err != nil {
			return err
		}
	}
}

// try does one thing, perhaps again, and holds the answer against the model's.
func (t *tenant) try(s store.Store, st *step) error {
	got, err := st.do(s)
	again := t.doubt != nil
	if unknown(err) {
		t.doubt = st
		return err
	}
	t.doubt = nil
	want, wantErr := st.do(t.model)
	if diff := difference(want, got); !again && (diff != "" || !errors.Is(err, wantErr)) {
		return wrongf("%s: %s answered %v, want %v (-want +got):\n%s", t.id, st.name, err, wantErr, diff)
	}
	return nil
}

// wrong is an error of the store, not of its disk.
type wrong struct{ error }

func wrongf(format string, args ...any) error { return wrong{fmt.Errorf(format, args...)} }

func unknown(err error) bool { return err != nil && !isSentinel(err) }

func difference(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return "" // much faster than cmp
	}
	return cmp.Diff(want, got, cmpopts.EquateEmpty())
}

func (t *tenant) step() *step {
	t.now = t.now.Add(time.Duration(t.rng.IntN(4)) * time.Second)
	ctx, now := context.Background(), t.now
	if _, err := t.model.Account(ctx, t.id); err != nil {
		return &step{"PutAccount", func(s store.Store) (any, error) {
			a, _, err := s.PutAccount(ctx, t.id, now)
			return a, err
		}}
	}
	if _, err := t.model.Webhook(ctx, t.id); err != nil && t.rng.IntN(4) > 0 {
		return t.create(now)
	}
	switch n := t.rng.IntN(100); {
	case n < 40:
		return t.accept(now)
	case n < 80:
		return t.record(now)
	case n < 86:
		return t.list(now)
	default:
		return t.seldom(now, n)
	}
}

// id makes one that is new to the account.
func (t *tenant) newID() string {
	t.made++
	return fmt.Sprintf("%s-%06d", t.id, t.made)
}

func (t *tenant) create(now time.Time) *step {
	w := store.Webhook{AccountID: t.id, ID: t.newID(), CallbackURL: "https://a.example/", Status: store.Active, Secret: []byte("s"), CreatedAt: now, UpdatedAt: now}
	return &step{"CreateWebhook", func(s store.Store) (any, error) {
		_, err := s.CreateWebhook(context.Background(), w)
		return nil, err
	}}
}

func (t *tenant) accept(now time.Time) *step {
	events := make([]store.Event, 1+t.rng.IntN(12))
	for i := range events {
		id := t.newID()
		padding := slices.Repeat([]byte("x"), t.rng.IntN(600))
		events[i] = store.Event{AccountID: t.id, ID: id, MessageID: fmt.Sprint("m", t.made/3), Channel: "SMS", Payload: fmt.Appendf(nil, `{"id":"%s","text":"%s"}`, id, padding)}
	}
	if t.rng.IntN(10) == 0 {
		events[len(events)-1] = events[0]
	}
	return &step{"Accept", func(s store.Store) (any, error) { return s.Accept(context.Background(), events, now) }}
}

func (t *tenant) record(now time.Time) *step {
	ctx := context.Background()
	b, _ := t.model.Backlog(ctx, store.BacklogQuery{AccountID: t.id, Now: now, Due: t.rng.IntN(6), Fresh: t.rng.IntN(12)})
	var outcomes []store.Outcome
	var ids []string
	for _, d := range append(b.Due, b.Fresh...) {
		ids = append(ids, d.EventID)
		outcomes = append(outcomes, t.outcome(&d, now))
	}
	return &step{"Record", func(s store.Store) (any, error) {
		recorded := slices.Clone(outcomes)
		for i, id := range ids {
			d, _, err := s.Delivery(ctx, t.id, id)
			if err != nil {
				return nil, err
			}
			recorded[i].Delivery = &d
		}
		return nil, s.Record(ctx, recorded, now)
	}}
}

func (t *tenant) outcome(d *store.Delivery, now time.Time) store.Outcome {
	later := now.Add(time.Duration(1+t.rng.IntN(20)) * time.Second)
	a := &store.Attempt{Number: d.Attempts + 1, At: now, Duration: time.Millisecond, StatusCode: 503, Error: store.HTTPStatus, Response: []byte("no")}
	switch n := t.rng.IntN(10); {
	case n < 6:
		return store.Outcome{State: store.Delivered, Failures: d.Failures, Attempt: &store.Attempt{Number: a.Number, At: now, StatusCode: 204}}
	case n < 8:
		return store.Outcome{State: store.Pending, Failures: d.Failures + 1, Attempt: a, DueAt: later}
	case n < 9:
		return store.Outcome{State: store.Pending, Failures: d.Failures, DueAt: later, Behind: true}
	}
	return store.Outcome{State: store.Failed, Failures: d.Failures + 1, Attempt: a}
}

// list reads beside the writers, so that they meet readers.
func (t *tenant) list(now time.Time) *step {
	q := store.BacklogQuery{AccountID: t.id, Now: now, Due: everything, Fresh: t.rng.IntN(50)}
	return &step{"Backlog", func(s store.Store) (any, error) {
		b, err := s.Backlog(context.Background(), q)
		if b.Webhook != nil {
			b.Webhook.FirstSeq = 0
		}
		return [][]store.Delivery{withoutSeq(b.Due), withoutSeq(b.Fresh)}, err
	}}
}

// seldom does what happens once in a while.
func (t *tenant) seldom(now time.Time, n int) *step {
	ctx := context.Background()
	switch n {
	case 86, 87:
		return &step{"ReplaceCallbackURL", func(s store.Store) (any, error) {
			_, err := s.ReplaceCallbackURL(ctx, t.id, "https://b.example/", now)
			return nil, err
		}}
	case 88, 89:
		return &step{"MakeDue", func(s store.Store) (any, error) { return s.MakeDue(ctx, t.id, now, everything) }}
	case 90, 91:
		return &step{"Expire", func(s store.Store) (any, error) {
			return s.Expire(ctx, t.id, now.Add(-time.Minute), now, everything)
		}}
	case 92, 93:
		return &step{"DeleteWebhook", func(s store.Store) (any, error) { return nil, s.DeleteWebhook(ctx, t.id, now) }}
	case 94:
		return &step{"Cancel", func(s store.Store) (any, error) { return s.Cancel(ctx, t.id, now, everything) }}
	case 95:
		k := store.APIKey{AccountID: t.id, ID: t.newID(), Hash: store.HashKey(t.newID()), CreatedAt: now}
		return &step{"AddAPIKey", func(s store.Store) (any, error) { return nil, s.AddAPIKey(ctx, k) }}
	case 96:
		return &step{erase, func(s store.Store) (any, error) { return nil, s.DeleteAccount(ctx, t.id) }}
	}
	if t.now.Year() == now.Year() && t.id != "account-0" {
		return t.accept(now)
	}
	return &step{"Sweep", func(s store.Store) (any, error) { return s.Sweep(ctx, now, 0, everything) }}
}

// erase takes many commits: it may have happened in part, and is repeated then.
const erase = "DeleteAccount"

// check compares what the store holds of the account with what it should; what
// is in doubt may be there, but not in part.
func (t *tenant) check(s store.Store) error {
	if t.doubt != nil && t.doubt.name == erase {
		if err := t.try(s, t.doubt); err != nil {
			return err
		}
	}
	got, err := t.holdings(s)
	if err != nil {
		return err
	}
	want, _ := t.holdings(t.model)
	diff, doubt := difference(want, got), t.doubt
	t.doubt = nil
	if diff == "" || doubt == nil {
		return t.unless(diff, "")
	}
	_, _ = doubt.do(t.model)
	want, _ = t.holdings(t.model)
	return t.unless(difference(want, got), doubt.name)
}

func (t *tenant) unless(diff, doubt string) error {
	if diff == "" {
		return nil
	}
	if doubt != "" {
		doubt = ", with or without the " + doubt + " that was not acknowledged"
	}
	return wrongf("%s does not hold what it should%s (-want +got):\n%s", t.id, doubt, diff)
}

// holdings are all that a store can tell of an account, but for the numbers that
// depend on other accounts.
type holdings struct {
	Account    bool
	Pending    bool // so that the dispatcher finds it
	Webhook    *store.Webhook
	Keys       []store.APIKey
	Deliveries []store.Delivery
	Attempts   []store.Attempt // of one delivery after the other
	Due, Fresh []store.Delivery
	NextDue    time.Time
	Oldest     []store.Delivery
}

func (t *tenant) holdings(s store.Store) (h holdings, err error) {
	ctx := context.Background()
	_, err = s.Account(ctx, t.id)
	h.Account = err == nil
	if unknown(err) {
		return h, err
	}
	if h.Keys, err = s.APIKeys(ctx, t.id); unknown(err) {
		return h, err
	}
	b, err := s.Backlog(ctx, store.BacklogQuery{AccountID: t.id, Now: t.now, Due: everything, Fresh: everything})
	if err != nil {
		return h, err
	}
	if h.Webhook = b.Webhook; h.Webhook != nil {
		h.Webhook.FirstSeq = 0
	}
	h.Due, h.Fresh, h.NextDue = withoutSeq(b.Due), withoutSeq(b.Fresh), b.NextDue
	oldest, err := s.Oldest(ctx, t.id)
	if err != nil {
		return h, err
	}
	h.Oldest = withoutSeq(oldest.Fresh)
	pending, err := s.PendingAccounts(ctx, "", everything)
	if err != nil {
		return h, err
	}
	h.Pending = slices.Contains(pending, t.id)
	page, err := s.Deliveries(ctx, store.DeliveryQuery{AccountID: t.id, Limit: everything})
	if err != nil {
		return h, err
	}
	h.Deliveries = withoutSeq(page.Deliveries)
	for _, d := range h.Deliveries {
		_, attempts, err := s.Delivery(ctx, t.id, d.EventID)
		if err != nil {
			return h, err
		}
		h.Attempts = append(h.Attempts, attempts...)
	}
	return h, nil
}

func withoutSeq(ds []store.Delivery) []store.Delivery {
	if len(ds) == 0 {
		return nil // for reflect
	}
	for i := range ds {
		ds[i].Seq = 0
	}
	return ds
}

// together lets all tenants live at the same time and returns what is wrong.
func together(tenants []*tenant, live func(*tenant) error) error {
	errs := make([]error, len(tenants))
	var all sync.WaitGroup
	for i, t := range tenants {
		all.Go(func() {
			if err := live(t); errors.As(err, new(wrong)) {
				errs[i] = err
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// check compares everything that the store holds with what it should, and looks
// into its tables.
func check(tenants []*tenant, s *Store) error {
	if err := checkTables(s); err != nil {
		return err
	}
	want := map[store.State]int64{}
	for _, t := range tenants {
		if err := t.check(s); err != nil {
			return err
		}
		for state, n := range t.model.Stats().Deliveries {
			want[state] += n
		}
	}
	for state, got := range s.Stats().Deliveries {
		if got != want[state] {
			return wrongf("the totals say that %d are %s, want %d", got, state, want[state])
		}
	}
	return nil
}

// checkTables looks for damage, and for rows that do not go with others.
func checkTables(s *Store) error {
	for query, want := range map[string]string{
		`PRAGMA integrity_check`: "ok",
		`SELECT count(*) FROM totals t WHERE EXISTS (SELECT 1 FROM deliveries WHERE seq > t.last_seq) OR t.listed > t.last_seq`: "0",
		`SELECT count(*) FROM deliveries d, totals t WHERE d.seq <= t.listed
			AND NOT EXISTS (SELECT 1 FROM listed l WHERE l.account_id = d.account_id AND l.accepted_at = d.accepted_at AND l.seq = d.seq)`: "0",
		`SELECT count(*) FROM listed l WHERE NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.seq = l.seq AND d.account_id = l.account_id AND d.accepted_at = l.accepted_at)`: "0",
		`SELECT count(*) FROM deliveries d, totals t WHERE d.seq <= t.listed AND NOT EXISTS (SELECT 1 FROM waiting w WHERE w.seq = d.seq AND w.account_id = d.account_id)
			AND NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.seq = d.seq AND o.ended_at > 0)`: "0",
		`SELECT count(*) FROM waiting w WHERE NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.seq = w.seq AND d.account_id = w.account_id)
			OR EXISTS (SELECT 1 FROM outcomes o WHERE o.seq = w.seq AND o.ended_at > 0)`: "0",
		`SELECT count(*) FROM outcomes o WHERE NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.seq = o.seq)`: "0",
		`SELECT delivered - (SELECT count(*) FROM outcomes WHERE state = 1) FROM totals`:                    "0",
	} {
		var got string
		if err := s.history.QueryRow(query).Scan(&got); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
		if got != want {
			return wrongf("%s: %s, want %s", query, got, want)
		}
	}
	return nil
}
