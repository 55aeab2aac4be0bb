package postgres

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// This file gives a shard away while something is still under way in it: an endpoint that
// hangs must not keep its neighbours.
//
// Of the accounts of a shard that is given back, those of which something is under way
// after holdAfter are held. The commit that frees the shard adds a row for each to the table
// held. Their node remains the one that may change what waits of them (txn.mine), and
// begins nothing for them. When what was under way has ended and is recorded, it removes the
// row. The next node of the shard reads, in the transaction that takes it, which accounts
// are held. It awaits these: it tells its listener nothing of them, and changes nothing that
// waits of them. All other accounts of the shard it begins at once.
//
// Why this is right:
//
//   - One node at a time attempts for an account, and changes what waits of it. The rows
//     come with the commit that frees the shard, so whoever takes it sees them. A row goes
//     with a later commit of its node than those that recorded the outcomes, as a node's
//     commits follow each other. So the next node begins behind the last outcome: nothing is
//     repeated, and a message keeps its order.
//   - A row counts while its node is alive with the epoch in it. An eviction ends that,
//     and the node's right to commit, in one commit (the fence). So an account is free as
//     soon as its dead node can record nothing any more, and not before. A node that
//     connects anew has another epoch, and takes its rows along in the same transaction,
//     by a statement that begins when no earlier commit of it can follow.
//   - Nothing is lost. What the next node has not told its listener of a held account is in
//     the rows, and a page shows it: the streams go on meanwhile. That the account is
//     free is told under the lock under which everything is told, and what is accepted
//     later is told.
//   - A mark passes nothing of a held account: its shard is not entered. An outcome
//     that is being recorded by another node would not be seen, and what has ended would wait.
//   - After a change's 200 nothing goes to an old URL. The first node begins nothing, and
//     withdrew what had no connection when it gave the shard back. The next one reads the
//     webhook when the account is free. Its writer takes changes in and frees accounts, one
//     after the other: a change is told, or is there to be read.
//   - A shard may be given on while accounts of it are held. Their rows stay. A node adds none
//     for an account that it awaits, also if that is its own row: it takes a shard back
//     while it holds some of it.
//   - A node of a release that knows of no rows does not get such a shard: a trigger sees to
//     that.

const (
	// holdAfter is how long a shard that is given back waits for what is under way in it.
	holdAfter = 500 * time.Millisecond
	// heldGap is how late the end of what was under way is noted, on both sides.
	heldGap = 100 * time.Millisecond

	// isHeld says of a row h that it counts.
	isHeld = `EXISTS (SELECT FROM nodes n WHERE n.slot = h.slot AND n.epoch = h.epoch AND n.alive)`
	// giveShards frees those shards that are still the node's, and adds rows of these.
	giveShards = `WITH g AS (UPDATE shards SET slot = NULL WHERE shard = ANY($2) AND slot = $1 RETURNING shard)
		INSERT INTO held AS h (account, shard, slot, epoch) SELECT u.account, u.shard, $1::smallint, $3::bigint FROM unnest($4::text[], $5::smallint[]) AS u (account, shard) JOIN g ON g.shard = u.shard
		ON CONFLICT (account) DO UPDATE SET slot = excluded.slot, epoch = excluded.epoch WHERE NOT ` + isHeld
	removeHeld = `DELETE FROM held WHERE account = ANY($2) AND slot = $1`
	keepHeld   = `UPDATE held SET epoch = $2 WHERE slot = $1 AND epoch = $3`
	// forgetHeld removes the rows of some shards that count no more.
	forgetHeld  = `DELETE FROM held h WHERE h.shard = ANY($1) AND NOT ` + isHeld
	heldIn      = `SELECT h.account FROM held h WHERE h.shard = ANY($1)`
	heldOfThese = `SELECT h.account FROM held h WHERE h.account = ANY($1) AND ` + isHeld
)

// held says which accounts go another way than their shards.
type held struct {
	// awaited are those of this node's shards that are held. The writer's goroutine
	// changes it, with Store.telling; the map itself never changes.
	awaited atomic.Pointer[map[string]bool]
	// kept are those that this node holds. The writer's goroutine owns it.
	kept map[string]bool
}

// awaits reports whether an account is held.
func (h *held) awaits(account string) bool {
	awaited := h.awaited.Load()
	return awaited != nil && (*awaited)[account]
}

// list is of the awaited accounts.
func (h *held) list() []string {
	accounts := []string{}
	if awaited := h.awaited.Load(); awaited != nil {
		accounts = slices.AppendSeq(accounts, maps.Keys(*awaited))
	}
	return accounts
}

// change makes known what is awaited; Store.telling is held.
func (h *held) change(to func(map[string]bool)) {
	next := map[string]bool{}
	if awaited := h.awaited.Load(); awaited != nil {
		maps.Copy(next, *awaited)
	}
	if to(next); len(next) == 0 {
		h.awaited.Store(nil)
		return
	}
	h.awaited.Store(&next)
}

// attends reports whether the listener is told of an account: it is in one of the node's
// shards, and is not held.
func (s *Store) attends(account string) bool { return s.attendsIn(shardOf(account), account) }

// attendsIn is attends, where the shard is known.
func (s *Store) attendsIn(shard int16, account string) bool {
	return s.shards.owns(shard) && !s.held.awaits(account)
}

// mine reports whether a transaction may change what waits of an account: its node
// attempts for it, so that no other node changes it at the same time.
func (tx *txn) mine(account string) bool {
	s := tx.w.store
	return s.held.kept[account] || s.shards.holds(shardOf(account)) && !s.held.awaits(account)
}

// departure is of shards that are given back.
type departure struct {
	shards      []int16
	settled     <-chan struct{} // nothing is under way in them
	left        func() []string // accounts of which something is
	incarnation int64
}

// depart gives the shards back, after a while without the accounts of which something is still
// under way, and these when that has ended. It returns before that if the node has lost
// them anyway, or the store is closed.
func (s *Store) depart(d *departure) {
	after := time.NewTimer(s.cfg.holdAfter)
	defer after.Stop()
	var kept []string
	select {
	case <-d.settled:
	case <-after.C:
		kept = d.left()
	case <-s.w.stopped:
		return
	}
	if s.release(d, kept) {
		s.unhold(d, kept)
	}
}

// release frees shards, but for some accounts. It tries until that is done (true), or the
// node has lost them anyway.
func (s *Store) release(d *departure, kept []string) bool {
	var own []string // that the node does not await
	return s.persist(&operation{ctx: context.Background(), rows: len(d.shards) + len(kept), incarnation: d.incarnation,
		run: func(tx *txn) error {
			own = slices.DeleteFunc(slices.Clone(kept), s.held.awaits)
			of := make([]int16, len(own))
			for i, account := range own {
				of[i] = shardOf(account)
			}
			_, err := tx.exec(giveShards, s.w.mySlot(), d.shards, s.w.lease.epoch, own, of)
			return err
		},
		after: func() {
			for _, account := range own {
				s.held.kept[account] = true
			}
			s.telling.Lock()
			defer s.telling.Unlock()
			s.shards.set(d.shards, others)
			s.held.change(func(awaited map[string]bool) {
				maps.DeleteFunc(awaited, func(account string, _ bool) bool { return slices.Contains(d.shards, shardOf(account)) })
			})
		}})
}

// unhold frees accounts, each when nothing of it is under way any more.
func (s *Store) unhold(d *departure, kept []string) {
	for len(kept) > 0 {
		select {
		case <-d.settled:
		case <-time.After(heldGap):
		case <-s.w.stopped:
			return
		}
		left := d.left()
		ended := slices.DeleteFunc(slices.Clone(kept), func(account string) bool { return slices.Contains(left, account) })
		if len(ended) == 0 {
			continue
		}
		kept = left
		if !s.persist(&operation{ctx: context.Background(), rows: len(ended), incarnation: d.incarnation,
			run: func(tx *txn) error {
				for _, account := range ended { // first: the commit may succeed, though it says nothing
					delete(s.held.kept, account)
				}
				_, err := tx.exec(removeHeld, s.w.mySlot(), ended)
				return err
			}}) {
			return
		}
	}
}

// await notes which accounts of shards that have just been taken are held. The writer
// calls it.
func (s *Store) await(accounts []string) {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.held.change(func(awaited map[string]bool) {
		for _, account := range accounts {
			awaited[account] = true
		}
	})
}

// whole are the node's shards of which no account is held.
func (s *Store) whole() []int16 {
	parts := map[int16]bool{}
	for _, account := range s.held.list() {
		parts[shardOf(account)] = true
	}
	return slices.DeleteFunc(s.shards.in(owned), func(shard int16) bool { return parts[shard] })
}

// readHeld reads which accounts of shards that are being taken are held.
func (tx *txn) readHeld(these []int16) (accounts []string, err error) {
	if _, err := tx.exec(forgetHeld, these); err != nil {
		return nil, err
	}
	return tx.texts(heldIn, these)
}

// freeAwaited tells the listener of the accounts that are held no more.
func (s *Store) freeAwaited(ctx context.Context) {
	if s.held.awaited.Load() == nil {
		return
	}
	var asked, still []string
	_ = s.w.submitOnce(&operation{ctx: ctx, rows: 1, incarnation: s.w.incarnation.Load(), // the next look tries again
		run: func(tx *txn) (err error) {
			asked = s.held.list()
			still, err = tx.texts(heldOfThese, asked)
			return err
		},
		after: func() {
			freed := slices.DeleteFunc(asked, func(account string) bool { return slices.Contains(still, account) })
			if len(freed) > 0 {
				s.free(freed)
			}
		}})
}

// free begins accounts of which another node has had something under way. The writer calls
// it. Those of a shard that the listener does not know yet it finds with the others.
func (s *Store) free(accounts []string) {
	s.w.sums = map[int64]*store.Tally{} // others have counted
	s.telling.Lock()
	defer s.telling.Unlock()
	s.held.change(func(awaited map[string]bool) {
		for _, account := range accounts {
			delete(awaited, account)
		}
	})
	own := slices.DeleteFunc(accounts, func(account string) bool { return !s.attends(account) })
	if len(own) == 0 {
		return
	}
	s.resumeErasing()
	if l := s.w.listener.Load(); l != nil {
		(*l).Freed(own)
	}
}

// texts reads a column.
func (tx *txn) texts(query string, args ...any) ([]string, error) {
	rows, err := tx.tx.Query(tx.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
