package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/postgres/pgtest"
)

// handing is two nodes, one of which has all accounts. Of account a something is under way
// at the first one; b is in the same shard.
type handing struct {
	t    *testing.T
	url  string
	node [2]*Store
	to   [2]*listener
	has  atomic.Int32
	a, b string
}

// nobody has any account.
const nobody = 2

func newHanding(t *testing.T) *handing {
	h := &handing{t: t, url: pgtest.Database(t), a: "a"}
	for i := range h.node {
		h.node[i], h.to[i] = open(t, h.url, func(c *Config) {
			c.holdAfter = time.Millisecond
			c.share = func(int) int {
				if int(h.has.Load()) == i {
					return numShards
				}
				return 0
			}
		}), &listener{}
		h.node[i].Listen(h.to[i])
	}
	for i := 0; h.b == ""; i++ {
		if id := fmt.Sprint("b", i); shardOf(id) == shardOf(h.a) {
			h.b = id
		}
	}
	ready(t, h.node[0], h.a)
	ready(t, h.node[0], h.b)
	h.to[0].begin(h.a)
	return h
}

// give gives all accounts to a node.
func (h *handing) give(to int) {
	h.t.Helper()
	h.has.Store(int32(to))
	eventually(h.t, "the accounts to be given away", func() bool {
		for i, s := range h.node {
			if i != to && len(s.shards.all()) > 0 || i == to && shardsHeld(s) < numShards {
				return false
			}
		}
		return true
	})
}

func (h *handing) accept(node int, account, id string) store.Delivery {
	h.t.Helper()
	if err := acceptAt(h.node[node], account, id); err != nil {
		h.t.Fatal(err)
	}
	d, _, err := h.node[node].Delivery(h.t.Context(), account, id)
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

// delivered records at a node that a delivery was delivered.
func (h *handing) delivered(node int, d store.Delivery) error {
	o := store.Outcome{Delivery: &d, State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: t0, StatusCode: 204}}
	return h.node[node].Record(h.t.Context(), []store.Outcome{o}, t0)
}

func (h *handing) wantState(d store.Delivery, want store.State) {
	h.t.Helper()
	if now, _, err := h.node[0].Delivery(h.t.Context(), d.AccountID, d.EventID); err != nil || now.State != want {
		h.t.Errorf("%s is %s (%v), want %s", d.EventID, now.State, err, want)
	}
}

// wantAttended is which accounts with PENDING deliveries a node attempts for.
func (h *handing) wantAttended(node int, want ...string) {
	h.t.Helper()
	s := h.node[node]
	got, err := s.PendingAccounts(h.t.Context(), "", 10)
	if err != nil || !slices.Equal(got, want) {
		h.t.Fatalf("accounts to attempt for: %v (%v), want %v", got, err, want)
	}
	if may := s.May(h.a); may != slices.Contains(want, h.a) || !s.May(h.b) {
		h.t.Fatalf("an attempt may begin for %s: %t, for %s: %t; want %t and true", h.a, may, h.b, s.May(h.b), slices.Contains(want, h.a))
	}
}

// wantAwaited looks whether a node awaits account a when it has asked.
func (h *handing) wantAwaited(node int, want bool) {
	h.t.Helper()
	s := h.node[node]
	s.freeAwaited(h.t.Context())
	if is := s.held.awaits(h.a); is != want {
		h.t.Fatalf("node %d awaits a: %t, want %t", node, is, want)
	}
}

func (h *handing) wantFreed(node int) {
	h.t.Helper()
	eventually(h.t, "the account to be free", func() bool { return slices.Contains(h.to[node].freedSoFar(), h.a) })
	if freed := h.to[node].freedSoFar(); !slices.Equal(freed, []string{h.a}) {
		h.t.Errorf("accounts that are free: %v, want a, once", freed)
	}
}

func TestAnAccountWithSomethingUnderWayIsLeftToItsNode(t *testing.T) {
	h := newHanding(t)
	underWay, behind, beside := h.accept(0, h.a, "a1"), h.accept(0, h.a, "a2"), h.accept(0, h.b, "b1")
	h.give(1)
	h.wantAttended(1, h.b)
	h.accept(1, h.a, "a3")
	h.accept(0, h.a, "a4")
	h.accept(0, h.b, "b2")
	eventually(t, "the next node to be told of the neighbour's", func() bool { told, _, _, _ := h.to[1].told(); return slices.Contains(told, "b2") })
	if told, _, _, _ := h.to[1].told(); !slices.Equal(told, []string{"b2"}) {
		t.Errorf("the next node is told of %v, want of b2 alone", told)
	}
	if _, err := h.node[1].ReplaceCallbackURL(t.Context(), h.a, "https://b.example/", t0); err != nil {
		t.Fatal(err)
	}
	if url := h.to[1].urlTold(); url != "" {
		t.Errorf("the next node is told of the webhook %s, want of none: it reads it later", url)
	}
	if n, err := h.node[1].Expire(t.Context(), h.a, time.Now(), time.Now(), 10); n > 0 || err != nil {
		t.Errorf("the next node gives up %d deliveries (%v), want none", n, err)
	}
	if err := h.delivered(1, behind); err != nil {
		t.Fatal(err)
	}
	h.wantState(behind, store.Pending) // the next node records nothing of it,
	if err := h.delivered(0, underWay); err != nil {
		t.Fatal(err)
	}
	h.wantState(underWay, store.Delivered) // its own does
	if err := h.delivered(1, beside); err != nil {
		t.Fatal(err)
	}
	h.wantState(beside, store.Delivered)
	h.wantAwaited(1, true)
	h.to[0].end()
	h.wantFreed(1)
	h.wantAttended(1, h.a, h.b)
	h.accept(0, h.a, "a5")
	eventually(t, "the next node to be told of the account's", func() bool { told, _, _, _ := h.to[1].told(); return slices.Contains(told, "a5") })
	if err := h.delivered(0, behind); err != nil {
		t.Fatal(err)
	}
	h.wantState(behind, store.Pending)
}

func TestWhatADeadNodeHoldsIsFreeOnceItIsTakenForDead(t *testing.T) {
	for name, taken := range map[string]string{
		"taken for dead": `alive = false`, // as evict does
		"taken for dead, its row taken by another one": `epoch = epoch + 1`,
	} {
		t.Run(name, func(t *testing.T) {
			h := newHanding(t)
			underWay := h.accept(0, h.a, "a1")
			h.give(1)
			h.wantAwaited(1, true)
			execute(t, h.url, fmt.Sprintf(`UPDATE nodes SET %s WHERE slot = %d`, taken, h.node[0].w.mySlot()))
			h.wantAwaited(1, false)
			h.wantFreed(1)
			h.wantAttended(1, h.a)
			if err := h.delivered(0, underWay); err != nil && !errors.Is(err, store.ErrFenced) { // nil: it is another node by now, and holds nothing
				t.Fatal(err)
			}
			h.wantState(underWay, store.Pending)
		})
	}
}

func TestWhatANodeHoldsIsFreeOnceItHasLeft(t *testing.T) {
	h := newHanding(t)
	h.accept(0, h.a, "a1")
	h.give(1)
	h.wantAwaited(1, true)
	if err := h.node[0].Close(); err != nil {
		t.Fatal(err)
	}
	h.wantFreed(1)
}

// A connection that was lost is no death.
func TestANodeHoldsOnOverItsNextConnection(t *testing.T) {
	h := newHanding(t)
	underWay := h.accept(0, h.a, "a1")
	h.give(1)
	for range 3 {
		_ = h.node[0].w.do(t.Context(), func(tx *txn) error { return tx.w.conn.Close(context.Background()) })
		if err := h.node[0].Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.wantAwaited(1, true)
	}
	if err := h.delivered(0, underWay); err != nil {
		t.Fatal(err)
	}
	h.wantState(underWay, store.Delivered)
	h.to[0].end()
	h.wantFreed(1)
}

// A node takes a shard back while it holds an account of it: nothing of that begins.
func TestAShardComesBackWhileAnAccountOfItIsHeld(t *testing.T) {
	h := newHanding(t)
	underWay := h.accept(0, h.a, "a1")
	h.give(1)
	h.give(0)
	h.wantAttended(0)
	if err := h.delivered(0, underWay); err != nil {
		t.Fatal(err)
	}
	h.wantState(underWay, store.Delivered)
	h.accept(1, h.a, "a2")
	h.to[0].end()
	h.wantFreed(0)
	h.wantAttended(0, h.a)
}

// The last node of a shard must not free what an earlier one holds.
func TestANodeFreesNothingThatAnotherHolds(t *testing.T) {
	h := newHanding(t)
	underWay := h.accept(0, h.a, "a1")
	h.give(1)
	h.to[1].begin(h.a) // of before it was taken for dead, say
	h.give(0)
	if err := h.delivered(1, underWay); err != nil {
		t.Fatal(err)
	}
	h.wantState(underWay, store.Pending)
	h.to[1].end()
	h.node[1].givers.Wait()
	h.wantAwaited(0, true)
	h.give(1)
	h.wantAwaited(1, true)
	h.to[0].end()
	h.wantFreed(1)
}

// An outcome that another node is recording cannot be seen: what has ended would wait.
func TestAMarkDoesNotPassWhatIsHeld(t *testing.T) {
	h := newHanding(t)
	other := "c"
	ready(t, h.node[0], other)
	held, free := h.accept(0, h.a, "a1"), h.accept(0, other, "c1")
	h.give(1)
	mark := func(d store.Delivery) (mark int64) {
		t.Helper()
		if err := h.node[1].one(t.Context(), `SELECT mark FROM shards WHERE shard = $1`, []any{shardOf(d.AccountID)}, &mark); err != nil {
			t.Fatal(err)
		}
		return mark
	}
	if err := h.node[1].w.do(t.Context(), func(tx *txn) error { return tx.enter(free.Seq) }); err != nil {
		t.Fatal(err)
	}
	if got := mark(held); got >= held.Seq {
		t.Errorf("the mark is at %d, behind the delivery %d of an account that is held", got, held.Seq)
	}
	if got := mark(free); got < free.Seq {
		t.Errorf("the mark of another shard is at %d, want %d", got, free.Seq)
	}
	h.to[0].end()
	h.wantFreed(1)
	if err := h.node[1].w.do(t.Context(), func(tx *txn) error { return tx.enter(free.Seq) }); err != nil {
		t.Fatal(err)
	}
	if got := mark(held); got < free.Seq {
		t.Errorf("once nothing is held the mark is at %d, want %d", got, free.Seq)
	}
}

func TestAnAccountThatIsHeldIsErasedWhenItIsFree(t *testing.T) {
	h := newHanding(t)
	h.accept(0, h.a, "a1")
	h.give(1)
	erased := make(chan error, 1)
	go func() { erased <- h.node[1].DeleteAccount(context.Background(), h.a) }()
	eventually(t, "the erasure to begin", func() bool {
		var n int
		return h.node[1].one(t.Context(), `SELECT count(*) FROM erasing`, nil, &n) == nil && n == 1
	})
	h.to[0].end()
	if err := <-erased; err != nil {
		t.Error(err)
	}
}

// A node of the release before knows of no accounts that are held.
func TestANodeThatKnowsOfNothingHeldGetsNoSuchShard(t *testing.T) {
	h := newHanding(t)
	h.accept(0, h.a, "a1")
	h.give(nobody)
	s := h.node[1]
	execute(t, h.url, `INSERT INTO nodes (slot, epoch, alive, beat, pos, applied, pending, delivered, failed, cancelled, host, since)
		SELECT 7, 1, false, beat, pos, applied, 0, 0, 0, 0, host, since FROM nodes WHERE slot = 0`)
	takes := func(shard int16) (n int) {
		t.Helper()
		err := s.one(t.Context(), `WITH t AS (UPDATE shards SET slot = 7 WHERE shard = $1 AND slot IS NULL RETURNING shard) SELECT count(*) FROM t`, []any{shard}, &n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := takes(shardOf(h.a)); n != 0 {
		t.Errorf("it takes %d shards of which an account is held, want none", n)
	}
	if n := takes(shardOf(h.a) + 1); n != 1 {
		t.Errorf("it takes %d other shards, want 1", n)
	}
	h.to[0].end()
	eventually(t, "it to take the shard, of which nothing is held", func() bool { return takes(shardOf(h.a)) == 1 })
}
