package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// numShards is how many parts all accounts are in. Each is one node's, which attempts
// for its accounts.
const numShards = 256

// shardOf is the shard of an account.
func shardOf(accountID string) int16 {
	if accountID == store.Operations {
		return 0
	}
	sum := sha256.Sum256([]byte(accountID))
	return int16(sum[0])
}

// everyShard lists them.
var everyShard = func() (these []int16) {
	for shard := range int16(numShards) {
		these = append(these, shard)
	}
	return these
}()

// shards says which are this node's. Store.telling guards the changes.
type shards struct {
	state [numShards]atomic.Int32
}

const (
	others  = iota // another node's, or nobody's
	taken          // its row says that it is this node's; the listener does not know yet
	owned          // the listener is told of its accounts
	leaving        // the listener has been told that it is lost, and may still record
)

func (s *shards) owns(shard int16) bool { return s.state[shard].Load() == owned }

// holds reports whether a shard's row says that it is this node's.
func (s *shards) holds(shard int16) bool { return s.state[shard].Load() != others }

func (s *shards) set(these []int16, state int32) {
	for _, shard := range these {
		s.state[shard].Store(state)
	}
}

// in lists the shards in a state.
func (s *shards) in(state int32) (these []int16) {
	for i := range s.state {
		if s.state[i].Load() == state {
			these = append(these, int16(i))
		}
	}
	return these
}

// all lists those whose rows say that they are this node's.
func (s *shards) all() (these []int16) {
	for i := range s.state {
		if s.state[i].Load() != others {
			these = append(these, int16(i))
		}
	}
	return these
}

// May implements [store.Queue].
func (s *Store) May(accountID string) bool {
	if accountID == "" {
		return s.w.lease.valid()
	}
	return s.attends(accountID) && s.w.lease.valid()
}

const (
	// balanceGap is how often a node looks whether it has its share.
	balanceGap = 100 * time.Millisecond
	// giveAtOnce is how many shards are given back together.
	giveAtOnce = 8
	takeShards = `UPDATE shards SET slot = $1 WHERE shard = ANY($2) AND (slot IS NULL OR slot = $1) RETURNING shard`
	// freeShards are those that are nobody's, and those that are the node's.
	freeShards = `SELECT coalesce(array_agg(shard ORDER BY shard) FILTER (WHERE slot IS NULL), '{}'), coalesce(array_agg(shard) FILTER (WHERE slot = $1), '{}') FROM shards`
)

// fairShare is how many shards one of so many nodes has. A node that others have just
// taken for dead may count none.
func fairShare(live int) int {
	live = max(live, 1)
	return (numShards + live - 1) / live
}

// takes reports whether the node takes shards that others would take as well: somebody
// attempts for them. While a process starts, nobody does.
func (s *Store) takes() bool { return s.w.listener.Load() != nil && !s.handingOver.Load() }

// takeFromOthers lets the others know that the node takes shards.
func (s *Store) takeFromOthers(ctx context.Context) error {
	_ = s.w.submitOnce(&operation{ctx: ctx, rows: 1, run: func(tx *txn) error { // the next look tries again
		_, err := tx.exec(`UPDATE nodes SET leaving = false WHERE slot = $1`, s.w.mySlot())
		return err
	}})
	return nil
}

// take makes free shards the node's. The pulse tells the listener, see pulse.gain.
func (s *Store) take(ctx context.Context, free []int16) error {
	var got []int16
	var held []string
	return s.w.submitOnce(&operation{ctx: ctx, rows: len(free), incarnation: s.w.incarnation.Load(),
		run: func(tx *txn) error {
			rows, err := tx.tx.Query(tx.ctx, takeShards, s.w.mySlot(), free)
			if err == nil {
				got, err = pgx.CollectRows(rows, pgx.RowTo[int16])
			}
			if err == nil {
				held, err = tx.readHeld(got)
			}
			return err
		},
		after: func() {
			s.w.sums = map[int64]*store.Tally{} // others have counted
			s.await(held)
			s.shards.set(got, taken)
		}})
}

// give gives shards back: nothing begins in them any more. It returns before they are free,
// see held.go.
func (s *Store) give(these []int16) {
	s.telling.Lock()
	incarnation := s.w.incarnation.Load()
	s.shards.set(these, leaving)
	given := map[int16]bool{}
	for _, shard := range these {
		given[shard] = true
	}
	d := &departure{shards: these, incarnation: incarnation}
	d.settled, d.left = s.tellLost(func(account string) bool { return given[shardOf(account)] })
	s.telling.Unlock()
	s.givers.Go(func() { s.depart(d) })
}

// tellLost tells the listener, if there is one.
func (s *Store) tellLost(lost func(account string) bool) (settled <-chan struct{}, left func() []string) {
	if l := s.w.listener.Load(); l != nil {
		return (*l).Lost(lost)
	}
	none := make(chan struct{})
	close(none)
	return none, func() []string { return nil }
}

// persist tries an operation until it is done (true), or is no use any more: the node has
// lost its accounts, or the store is closed.
func (s *Store) persist(op *operation) bool {
	for {
		err := s.w.submit(op)
		if err == nil || errors.Is(err, store.ErrFenced) || errors.Is(err, store.ErrClosed) {
			return err == nil
		}
		select {
		case <-time.After(reopenGap):
		case <-s.w.stopped:
			return false
		}
	}
}

// Nodes says how the node is doing among the others.
func (s *Store) Nodes() store.NodeStats {
	now := boot()
	stats := store.NodeStats{
		Shards: len(s.shards.in(owned)), Evicted: uint64(s.evictions.Load()), Fenced: uint64(s.fences.Load()),
		SlowInserts: s.slowInserts.Load(), Lease: max(0, time.Duration(s.w.lease.until.Load())-now),
	}
	if at := s.w.markedAt.Load(); at > 0 {
		stats.MarksAge = now - time.Duration(at)
	}
	if s.pulse != nil {
		stats.Live, stats.ClockSkew = int(s.pulse.live.Load()), time.Duration(s.pulse.skew.Load())
		stats.StreamLag = now - time.Duration(s.pulse.toldAt.Load())
	}
	return stats
}

// HandOver gives all accounts back and takes no others. It returns when that is done, or
// ctx ends: what is left then is others' when the store is closed.
func (s *Store) HandOver(ctx context.Context) {
	s.handingOver.Store(true)
	_ = s.w.do(ctx, func(tx *txn) error { // else the others wait until it has left
		_, err := tx.exec(`UPDATE nodes SET leaving = true WHERE slot = $1`, s.w.mySlot())
		return err
	})
	for ctx.Err() == nil {
		if s.pulse == nil || len(s.shards.all()) == 0 {
			return
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-s.w.stopped:
			return
		case <-ctx.Done():
		}
	}
}
