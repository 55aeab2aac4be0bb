package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/postgres/pgtest"
)

var t0 = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

// connect is a connection beside the store.
func connect(t *testing.T, url string) (conn *pgx.Conn, end func()) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	return conn, func() { _ = conn.Close(ctx) }
}

// execute does statements as somebody beside the store.
func execute(t *testing.T, url string, statements ...string) {
	t.Helper()
	ctx := context.Background()
	conn, end := connect(t, url)
	defer end()
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// row reads the only row of a query, by a connection of its own.
func row(t *testing.T, url, query string, dest ...any) {
	t.Helper()
	conn, end := connect(t, url)
	defer end()
	if err := conn.QueryRow(context.Background(), query).Scan(dest...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// eventually waits for what takes its time on a busy machine.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// listener notes what it is told.
type listener struct {
	mu        sync.Mutex
	accepted  []string
	foreign   []string    // of these
	read      []time.Time // what they are behind
	uncertain []string
	lost      int
	gained    int
	probed    []string
	freed     []string
	url       string          // of the webhook that it was told of last; empty: it was removed
	begun     []string        // accounts of which something is under way
	leaving   []chan struct{} // closed when nothing is
}

// begin lets something of an account be under way, end lets all end.
func (l *listener) begin(account string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = append(l.begun, account)
}

func (l *listener) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = nil
	for _, settled := range l.leaving {
		close(settled)
	}
	l.leaving = nil
}

func (l *listener) Freed(accounts []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.freed = append(l.freed, accounts...)
}

func (l *listener) freedSoFar() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.freed)
}

func (l *listener) WebhookChanged(_ string, w *store.Webhook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.url = ""; w != nil {
		l.url = w.CallbackURL
	}
}

func (l *listener) Probe(account string, _ time.Time) store.Probing {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.probed = append(l.probed, account)
	return store.ProbeBegins
}

func (l *listener) urlTold() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.url
}

func (l *listener) Accepted(batch []store.Acceptance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batch {
		l.accepted = append(l.accepted, batch[i].Delivery.EventID)
		if batch[i].Foreign {
			l.foreign = append(l.foreign, batch[i].Delivery.EventID)
			l.read = append(l.read, batch[i].Read)
		}
	}
}

func (l *listener) Replayed(*store.Webhook, []int64)   {}
func (l *listener) ReplayStarted()                     {}
func (l *listener) HealthChanged([]store.HealthChange) {}

func (l *listener) Uncertain(accounts []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.uncertain = append(l.uncertain, accounts...)
}

func (l *listener) Gained() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gained++
}

func (l *listener) Lost(lost func(string) bool) (<-chan struct{}, func() []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost++
	settled := make(chan struct{})
	if l.leaving = append(l.leaving, settled); !slices.ContainsFunc(l.begun, lost) {
		l.leaving = l.leaving[:len(l.leaving)-1]
		close(settled)
	}
	return settled, func() (left []string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, account := range l.begun {
			if lost(account) {
				left = append(left, account)
			}
		}
		return left
	}
}

// told is what the listener has been told.
func (l *listener) told() (accepted, uncertain []string, lost, gained int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted, l.uncertain, l.lost, l.gained
}

// ready makes an account with a webhook.
func ready(t *testing.T, s *Store, id string) {
	t.Helper()
	if _, _, err := s.PutAccount(t.Context(), id, t0); err != nil {
		t.Fatal(err)
	}
	w := store.Webhook{AccountID: id, ID: "wh_" + id, CallbackURL: "https://a.example/", Status: store.Active, Secret: []byte("s"), CreatedAt: t0, UpdatedAt: t0}
	if _, err := s.CreateWebhook(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}

func event(account, id string) store.Event {
	return store.Event{AccountID: account, ID: id, MessageID: "m" + id, Channel: "SMS", Payload: fmt.Appendf(nil, `{"id":%q}`, id)}
}

func acceptOne(s *Store, id string) error {
	return acceptAt(s, "a", id)
}

// pendingOne is a delivery of account a that has just been accepted.
func pendingOne(t *testing.T, s *Store, id string) store.Delivery {
	t.Helper()
	if err := acceptOne(s, id); err != nil {
		t.Fatal(err)
	}
	d, _, err := s.Delivery(t.Context(), "a", id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func acceptAt(s *Store, account, id string) error {
	verdicts, err := s.Accept(context.Background(), []store.Event{event(account, id)}, t0)
	if err == nil && verdicts[0] != store.Accepted && verdicts[0] != store.Duplicate {
		return fmt.Errorf("verdict %d", verdicts[0])
	}
	return err
}

// shardsHeld counts the shards of a node.
func shardsHeld(s *Store) int { return len(s.shards.in(owned)) }

// accountOf is an account of the node.
func accountOf(s *Store) string {
	for i := 0; ; i++ {
		if id := fmt.Sprint("account_", i); s.shards.owns(shardOf(id)) {
			return id
		}
	}
}

func TestACommandThatNeedsTheDatabaseAloneIsRefusedWhileANodeIsAlive(t *testing.T) {
	url := pgtest.Database(t)
	open(t, url)
	execute(t, url, `UPDATE cluster SET ttl_ms = 600000`) // not even on the slowest machine
	second, err := Open(t.Context(), Config{URL: url, Alone: true})
	if err == nil {
		second.Close()
	}
	if !errors.Is(err, errServed) {
		t.Fatalf("got %v, want %v", err, errServed)
	}
}

func TestNodesShareTheAccounts(t *testing.T) {
	url := pgtest.Database(t)
	first := open(t, url)
	if n := shardsHeld(first); n != numShards {
		t.Fatalf("the first node has %d shards when it is open, want all", n)
	}
	second := open(t, url)
	eventually(t, "both to have half", func() bool { return shardsHeld(first) == numShards/2 && shardsHeld(second) == numShards/2 })
	for shard := range int16(numShards) {
		if first.shards.owns(shard) == second.shards.owns(shard) {
			t.Errorf("shard %d: the first node has it: %v, the second: %v", shard, first.shards.owns(shard), second.shards.owns(shard))
		}
	}
	second.HandOver(t.Context())
	if n := len(second.shards.all()); n != 0 {
		t.Errorf("after it has handed over, the second node has %d shards, want none", n)
	}
	eventually(t, "the first to have all again", func() bool { return shardsHeld(first) == numShards })
}

// A process that starts attempts nothing yet: what others give away, or would, it leaves to
// those that attempt.
func TestANodeTakesNothingFromOthersBeforeSomebodyListens(t *testing.T) {
	url := pgtest.Database(t)
	first := open(t, url)
	starts := open(t, url, func(c *Config) { c.deaf = true })
	takers := func() (n int) {
		if err := first.one(t.Context(), `SELECT count(*) FROM nodes WHERE alive AND NOT leaving AND slot <> $1`, []any{first.w.mySlot()}, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := takers(); n != 0 {
		t.Fatalf("%d nodes take accounts from the first, want none", n)
	}
	open(t, url, func(c *Config) { c.share = func(int) int { return 0 } })
	eventually(t, "another to take them, which it does not", func() bool { return takers() == 1 })
	first.HandOver(t.Context())
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if err := (&pulse{store: starts, conn: conn, taking: 1}).balance(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(starts.shards.all()); n > 0 {
		t.Fatalf("it takes %d shards that another would, want none", n)
	}
	starts.Listen(&listener{})
	eventually(t, "it to have its share", func() bool { return shardsHeld(starts) == numShards/2 })
}

// What one node accepts, another attempts: it is told, each event once, and those of a
// message in the order of their acceptance.
func TestANodeIsToldWhatAnotherAccepts(t *testing.T) {
	url := pgtest.Database(t)
	first, second, l, other := open(t, url), open(t, url), &listener{}, &listener{}
	first.Listen(l)
	second.Listen(other)
	eventually(t, "both to have half", func() bool { return shardsHeld(first) == numShards/2 && shardsHeld(second) == numShards/2 })
	a := accountOf(first)
	ready(t, first, a)
	var want, foreign []string
	began := time.Now()
	for i := range 200 {
		e := event(a, fmt.Sprint("e", i))
		e.MessageID = "m"
		if _, err := []*Store{first, second}[i%2].Accept(t.Context(), []store.Event{e}, t0); err != nil {
			t.Fatal(err)
		}
		if want = append(want, e.ID); i%2 == 1 {
			foreign = append(foreign, e.ID)
		}
	}
	eventually(t, "the node of the account to be told", func() bool { told, _, _, _ := l.told(); return len(told) >= len(want) })
	if told, _, _, _ := l.told(); !slices.Equal(told, want) {
		t.Errorf("told of %v, want %v", told, want)
	}
	if diff := cmp.Diff(foreign, l.foreign); diff != "" {
		t.Errorf("told that the other node accepted (-want +got):\n%s", diff)
	}
	if slices.ContainsFunc(l.read, func(at time.Time) bool { return at.Before(began) || at.After(time.Now()) }) {
		t.Errorf("what these are behind was read at %v, want since %v", l.read, began)
	}
	if told, _, _, _ := other.told(); len(told) > 0 {
		t.Errorf("the other node was told of %v, want of nothing", told)
	}
}

// A node that takes the place of a dead one is looked at like any other: what it accepts may
// come before what the listener has been told of.
func TestASlotThatIsUsedAgainHasAStream(t *testing.T) {
	url := pgtest.Database(t)
	first, second := open(t, url), open(t, url)
	second.Listen(&listener{})
	slot := first.w.mySlot()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	low := func() (told, low int64, over bool) {
		second.telling.Lock()
		defer second.telling.Unlock()
		return second.streams.told[slot], second.streams.low.Load(), second.streams.over[slot]
	}
	eventually(t, "the first one's stream to be over", func() bool {
		_, _, over := low()
		return over
	})
	second.telling.Lock()
	second.streams.publish(second.w.mySlot()) // as after anything that is told
	second.telling.Unlock()
	if third := open(t, url); third.w.mySlot() != slot {
		t.Fatalf("the third one has slot %d, want that of the first, %d", third.w.mySlot(), slot)
	}
	eventually(t, "the third one's stream to be looked at", func() bool {
		told, low, over := low()
		if !over && low != told {
			t.Errorf("the stream goes on behind %d, and events are taken for the first of their messages behind %d", told, low)
		}
		return !over || t.Failed()
	})
}

// Others read a stream up to its end. A commit without events moves that only once in a while.
func TestACommitWithoutEventsDoesNotMakeOthersRead(t *testing.T) {
	url := pgtest.Database(t)
	quiet := func(c *Config) { c.share = func(int) int { return 0 } }
	first, second := open(t, url, quiet), open(t, url)
	ready(t, second, "a")
	end := func(moved time.Duration) (pos int64) {
		err := first.w.do(t.Context(), func(tx *txn) error {
			first.w.movedAt.Store(int64(moved))
			return nil
		})
		if err == nil {
			err = first.reads.QueryRow(t.Context(), `SELECT pos FROM nodes WHERE slot = $1`, first.w.mySlot()).Scan(&pos)
		}
		if err != nil {
			t.Fatal(err)
		}
		return pos
	}
	soon := boot() + time.Hour
	before := end(soon)
	if err := acceptOne(second, "e1"); err != nil {
		t.Fatal(err)
	}
	if same := end(soon); same != before {
		t.Errorf("soon after it has moved, the end is %d, want %d", same, before)
	}
	if later := end(0); later <= before {
		t.Errorf("after a while, the end is %d, want one beyond %d", later, before)
	}
}

// busy is a listener that takes its time.
type busy struct {
	*listener
	free chan struct{}
}

func (l busy) Accepted([]store.Acceptance) { <-l.free }

func TestAStreamThatIsNotToldLagsBehind(t *testing.T) {
	url := pgtest.Database(t)
	all := func(c *Config) { c.share = func(int) int { return numShards } }
	none := func(c *Config) { c.share = func(int) int { return 0 } }
	first, second, l := open(t, url, all), open(t, url, none), busy{&listener{}, make(chan struct{})}
	second.w.lease.ttl.Store(int64(time.Hour)) // the first does not write while it is busy
	first.Listen(l)
	ready(t, second, "a")
	lag := func() time.Duration { return first.Nodes().StreamLag }
	const much = time.Second // a look is 25 ms after the one before
	eventually(t, "the first node to know all", func() bool { return lag() < much })
	if err := acceptOne(second, "e1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream to lag behind", func() bool { return lag() > much })
	close(l.free)
	eventually(t, "the first node to know all again", func() bool { return lag() < much })
}

// After the answer to a change, no node knows of what was before.
func TestAChangeIsKnownToEveryNodeWhenItIsAnswered(t *testing.T) {
	url := pgtest.Database(t)
	first, second, l := open(t, url), open(t, url), &listener{}
	first.Listen(l)
	eventually(t, "both to have half", func() bool { return shardsHeld(first) == numShards/2 && shardsHeld(second) == numShards/2 })
	a := accountOf(first)
	ready(t, second, a)
	key := store.APIKey{AccountID: a, ID: "key_1", Hash: store.HashKey("k"), CreatedAt: t0}
	if err := second.AddAPIKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := first.Webhook(t.Context(), a); err != nil { // caches it
			t.Fatal(err)
		}
		url := fmt.Sprintf("https://a.example/%d", i)
		if _, err := second.ReplaceCallbackURL(t.Context(), a, url, t0); err != nil {
			t.Fatal(err)
		}
		if w, err := first.Webhook(t.Context(), a); err != nil || w.CallbackURL != url {
			t.Errorf("after the PUT: got %v (%v), want %s", w.CallbackURL, err, url)
		}
		if l.urlTold() != url {
			t.Errorf("after the PUT the listener has been told of %s, want %s", l.urlTold(), url)
		}
	}
	if _, err := first.APIKeyByHash(t.Context(), key.Hash); err != nil {
		t.Fatal(err)
	}
	if err := second.RevokeAPIKey(t.Context(), a, "key_1"); err != nil {
		t.Fatal(err)
	}
	if _, err := first.APIKeyByHash(t.Context(), key.Hash); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a key that another node has revoked: got %v, want ErrNotFound", err)
	}
	if err := errors.Join(acceptAt(first, a, "e1"), second.AskProbe(t.Context(), a)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node of the account to probe", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.Equal(l.probed, []string{a})
	})
	if err := second.DeleteWebhook(t.Context(), a, t0); err != nil {
		t.Fatal(err)
	}
	d, _, err := first.Delivery(t.Context(), a, "e1")
	if err != nil || d.State != store.Cancelled || l.urlTold() != "" {
		t.Errorf("after the DELETE: %s is %s (%v), and the listener knows %q; want CANCELLED, and nothing", d.EventID, d.State, err, l.urlTold())
	}
}

func TestChangesTellHowLongTheirAnswersWaited(t *testing.T) {
	url := pgtest.Database(t)
	var mu sync.Mutex
	var waited []time.Duration
	s := open(t, url, func(c *Config) {
		c.OnChange = func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			waited = append(waited, d)
		}
	})
	told := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(waited)
	}
	s.w.lease.ttl.Store(int64(time.Hour)) // it takes nobody for dead
	if ready(t, s, "a"); told() != 1 {
		t.Fatalf("an account and its webhook were made: told %d times, want once, of the webhook", told())
	}
	execute(t, url, `INSERT INTO nodes (slot, epoch, alive, beat, pos, applied, pending, delivered, failed, cancelled, host, since)
		SELECT 7, 1, true, 1, pos, applied, 0, 0, 0, 0, host, since FROM nodes`) // it acknowledges nothing
	began, answered := time.Now(), make(chan error)
	go func() {
		_, err := s.ReplaceCallbackURL(context.Background(), "a", "https://b.example/", t0)
		answered <- err
	}()
	eventually(t, "the change to be made", func() bool {
		w, err := s.Webhook(t.Context(), "a")
		return err == nil && w.CallbackURL == "https://b.example/"
	})
	if err := acceptOne(s, "e1"); err != nil || told() != 1 {
		t.Errorf("before the other node knows of the change, and after events: told %d times (%v), want once", told(), err)
	}
	execute(t, url, `UPDATE nodes SET applied = (SELECT changes FROM cluster) WHERE slot = 7`)
	if err := <-answered; err != nil || told() != 2 {
		t.Fatalf("when it is answered: told %d times (%v), want twice", told(), err)
	}
	if most := time.Since(began); waited[1] <= 0 || waited[1] > most {
		t.Errorf("told that the answer waited for %v, want at most the %v that it took", waited[1], most)
	}
}

func TestWhatADeadNodeHasLeftIsServedWhenItsLeaseHasRunOut(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url)
	ready(t, s, "a")
	if err := acceptOne(s, "e1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	execute(t, url, `UPDATE cluster SET ttl_ms = 300`, `UPDATE nodes SET alive = true`, `UPDATE shards SET slot = 0`) // as a kill leaves it
	began := time.Now()
	next := open(t, url)
	eventually(t, "the next node to have all", func() bool { return shardsHeld(next) == numShards })
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("the next node took over after %v, want after the lease of 300ms", took)
	}
	accounts, err := next.PendingAccounts(t.Context(), "", 10)
	if err != nil || len(accounts) != 1 || next.Stats().Deliveries[store.Pending] != 1 {
		t.Errorf("accounts with PENDING deliveries: got %v (%v), totals %v; want a with one", accounts, err, next.Stats().Deliveries)
	}
}

func TestANodeThatWasTakenForDeadRecordsNothingOfBefore(t *testing.T) {
	url := pgtest.Database(t)
	s, l := open(t, url), &listener{}
	s.Listen(l)
	ready(t, s, "a")
	d := pendingOne(t, s, "e1")
	before := s.w.incarnation.Load()
	execute(t, url, `BEGIN`, `UPDATE nodes SET alive = false`, `UPDATE shards SET slot = NULL`, `COMMIT`)
	outcome := store.Outcome{Delivery: &d, State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: t0, StatusCode: 204}}
	stale := &operation{ctx: t.Context(), rows: 1, record: &recorded{[]store.Outcome{outcome}, t0}, incarnation: before}
	if err := s.w.submit(stale); !errors.Is(err, store.ErrFenced) {
		t.Errorf("Record of before: got %v, want ErrFenced", err)
	}
	if err := acceptOne(s, "e2"); err != nil {
		t.Errorf("Accept: got %v, want that the node goes on as another", err)
	}
	eventually(t, "the node to have all again", func() bool { return shardsHeld(s) == numShards && s.May("a") })
	if _, _, lost, gained := l.told(); lost != 1 || gained == 0 {
		t.Errorf("told %d times Lost and %d times Gained, want once and at least once", lost, gained)
	}
	if now, _, err := s.Delivery(t.Context(), "a", "e1"); err != nil || now.State != store.Pending {
		t.Errorf("e1 is %s (%v), want PENDING", now.State, err)
	}
	if err := s.Record(t.Context(), []store.Outcome{outcome}, t0); err != nil {
		t.Errorf("Record: %v", err)
	}
}

func TestALeaseThatIsNotRenewedRunsOut(t *testing.T) {
	var l lease
	l.ttl.Store(int64(time.Second))
	l.renew(boot() - 899*time.Millisecond - time.Minute)
	if l.valid() {
		t.Error("a lease of a minute ago is valid")
	}
	l.ttl.Store(int64(time.Hour))
	l.renew(boot())
	if !l.valid() {
		t.Error("a lease of an hour has run out at once")
	}
	if margin := time.Duration(l.until.Load()) - boot(); margin > 54*time.Minute {
		t.Errorf("it is valid for %v, want a tenth less than the hour that others wait", margin)
	}
}

// Others count from the row that was written, which was before the answer came.
func TestALeaseBeginsWhenItsCommitIsSent(t *testing.T) {
	s := open(t, pgtest.Database(t))
	var under, until time.Duration
	op := &operation{
		ctx: t.Context(), rows: 1,
		run:   func(*txn) error { under = boot(); return nil },
		after: func() { until = time.Duration(s.w.lease.until.Load()) },
	}
	if err := s.w.submit(op); err != nil {
		t.Fatal(err)
	}
	if ttl := time.Duration(s.w.lease.ttl.Load()); until == 0 || until > under+ttl-ttl/10 {
		t.Errorf("the lease ends %v after something that followed its sending, want %v at most", until-under, ttl-ttl/10)
	}
}

// Others may change what is cached without a node that has no lease.
func TestWhatIsCachedIsNotUsedWithoutALease(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url)
	ready(t, s, "a")
	key := store.APIKey{AccountID: "a", ID: "key_1", Hash: store.HashKey("k"), CreatedAt: t0}
	if err := s.AddAPIKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := s.APIKeyByHash(t.Context(), key.Hash); err != nil {
		t.Fatal(err)
	}
	s.w.heldUp(t) // it cannot renew the lease
	execute(t, url, `DELETE FROM api_keys`)
	s.w.lease.until.Store(int64(boot() + time.Hour))
	if _, err := s.APIKeyByHash(t.Context(), key.Hash); err != nil {
		t.Errorf("with a lease: got %v, want what is cached", err)
	}
	s.w.lease.until.Store(int64(boot()))
	if _, err := s.APIKeyByHash(t.Context(), key.Hash); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("without a lease: got %v, want what the database has, nothing", err)
	}
}

func TestACommandBesideTheServerIsSeenByIt(t *testing.T) {
	url := pgtest.Database(t)
	if _, err := Open(t.Context(), Config{URL: url, Shared: true, MustExist: true}); err == nil || !strings.Contains(err.Error(), "holds nothing of recapito") {
		t.Errorf("before the first start: got %v, want that there is nothing", err)
	}
	s := open(t, url)
	ready(t, s, "a")
	key := store.APIKey{AccountID: "a", ID: "key_1", Hash: store.HashKey("k"), CreatedAt: t0}
	beside := open(t, url, func(c *Config) { c.Shared, c.MustExist = true, true })
	if err := beside.AddAPIKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := s.APIKeyByHash(t.Context(), key.Hash); err != nil {
		t.Fatalf("a key that was added beside: %v", err)
	}
	if err := beside.RevokeAPIKey(t.Context(), "a", "key_1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key to be refused", func() bool {
		_, err := s.APIKeyByHash(t.Context(), key.Hash)
		return errors.Is(err, store.ErrNotFound)
	})
}

func TestAClockThatDiffersIsToldOnce(t *testing.T) {
	var log bytes.Buffer
	p := &pulse{store: &Store{cfg: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}}}
	for _, ahead := range []time.Duration{0, 900 * time.Millisecond, -1100 * time.Millisecond, -900 * time.Millisecond, 3 * time.Second, 400 * time.Millisecond, 0} {
		p.compareClocks(ahead)
	}
	var levels []string
	for _, line := range regexp.MustCompile(`level=(\w+)`).FindAllStringSubmatch(log.String(), -1) {
		levels = append(levels, line[1])
	}
	if !slices.Equal(levels, []string{"WARN", "INFO"}) {
		t.Errorf("the log:\n%s\nwant that it differs, once, and that it no longer does", log.String())
	}
}
