package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// commitAll commits operations, those of one sort together. Once one has waited for a lock
// in vain, no other follows that may do so as well: the lease would run out, and events wait.
// Who handed them in does so again.
func (w *writer) commitAll(ops []*operation) {
	slices.SortStableFunc(ops, inTurn)
	var locked error
	for len(ops) > 0 {
		n := 1
		for n < len(ops) && ops[n].turn() == ops[0].turn() && !ops[n].apart() && !ops[0].apart() {
			n++
		}
		if locked == nil || ops[0].turn() == eventsTurn {
			locked = cmp.Or(w.commit(ops[:n]), locked)
		} else {
			answerAll(ops[:n], locked)
		}
		ops = ops[n:]
	}
	if locked != nil {
		w.keepLease()
	}
}

// eventsTurn is that of events and outcomes, of which there may be very many.
const eventsTurn = 2

// turn is which operations are done first: what other nodes wait for, what waits for nobody,
// events and outcomes, and what has waited for a lock.
func (op *operation) turn() int {
	switch {
	case op.locked > 0:
		return eventsTurn + 1
	case op.run == nil:
		return eventsTurn
	case op.alone:
		return 0
	}
	return 1
}

func (op *operation) apart() bool { return op.alone || op.locked > 0 }

// inTurn orders operations. What has waited for a lock less often goes first: one whose lock
// is not given back keeps no others. By the account, so that each node locks those in the same
// order: none waits for another that waits for it.
func inTurn(a, b *operation) int {
	return cmp.Or(cmp.Compare(a.turn(), b.turn()), cmp.Compare(a.locked, b.locked), cmp.Compare(a.account, b.account))
}

// commit does operations of one sort in one transaction and answers them. If one of
// them fails by itself, each is done apart. If others took the node for dead, nothing
// was written, and what is not of before is done by the node as which it goes on. locked:
// all have failed, as one has waited for a lock in vain.
func (w *writer) commit(ops []*operation) (locked error) {
	err := w.ready()
	if err == nil {
		err = w.transact(ops)
	}
	if errors.Is(err, store.ErrFenced) {
		if err = w.ready(); err == nil {
			err = w.transact(ops)
		}
	}
	if code := codeOf(err); w.conn != nil && (code == deadlock || code == uniqueViolation) { // with what another node does: nothing was written
		err = w.transact(ops)
	}
	if codeOf(err) == lockTimeout && (ops[0].run != nil || len(ops) == 1) {
		if locked = err; ops[0].run == nil {
			ops[0].locked++
		}
	} else if len(ops) > 1 && w.conn != nil && err != nil && !errors.Is(err, store.ErrFenced) {
		for i := range ops {
			_ = w.commit(ops[i : i+1]) // it has answered
			w.keepLease()
		}
		return nil
	}
	w.report(err)
	answerAll(ops, err)
	return locked
}

// answerAll answers operations. If they have failed together, what one has found by itself is
// not true any more: it may have met what another had written.
func answerAll(ops []*operation, err error) {
	for _, op := range ops {
		if err != nil {
			op.err = err
		}
		if op.after != nil && op.err == nil {
			op.after()
		}
		if op.answered != nil {
			op.answered()
		}
		close(op.done)
	}
}

// transact does one transaction. After an error nothing has happened, unless the
// connection is gone: then it is not known.
func (w *writer) transact(ops []*operation) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	tx := newTxn(ctx, w)
	for _, op := range ops {
		op.err = op.ctx.Err() // then nobody waits for it
		if op.incarnation != 0 && op.incarnation != w.incarnation.Load() {
			op.err = store.ErrFenced
		}
	}
	sent := boot()
	w.notices.Store(false)
	err := tx.commit(ops)
	if err == nil && w.notices.Load() {
		err = errors.New("the commit did not wait for the synchronous standby")
		w.drop()
	}
	switch {
	case err == nil:
		w.lease.renew(sent)
		w.publish(tx)
		for _, op := range ops {
			op.change = tx.lastChange
		}
	case w.lost(err):
		w.doubt = append(w.doubt, accountsOf(tx.news)...)
		w.fallBehind()
		err = fmt.Errorf("postgres: the outcome of this write is unknown: %w: %w", store.ErrUnavailable, err)
	case codeOf(err) == divisionByZero:
		w.fence()
		err = store.ErrFenced
	default:
		err = fmt.Errorf("postgres: nothing was written: %w", err)
	}
	w.store.cfg.OnCommit(store.Commit{Events: tx.events, Outcomes: tx.outcomes, Duration: time.Since(start), Err: err})
	return err
}

// lost reports whether an error ended the connection, and forgets that then. An error
// that the server reported leaves it as it was, but that it cannot be written any more: another
// is the primary now.
func (w *writer) lost(err error) bool {
	if w.conn == nil {
		return true
	}
	code := codeOf(err)
	if code == readOnly {
		w.store.forsake()
	} else if code != "" && !w.conn.IsClosed() {
		return false
	}
	w.drop()
	return true
}

// publish makes a committed transaction known.
func (w *writer) publish(tx *txn) {
	sum := *w.counts.Load()
	for i, n := range tx.moved {
		sum[i] += n
	}
	w.counts.Store(&sum)
	w.counted(&tx.counting)
	if !w.store.cfg.Shared {
		if tx.pos != w.pos {
			w.movedAt.Store(int64(boot()))
		}
		w.pos = tx.pos
		w.noteOwn(tx)
	}
	w.tellAll(tx)
	for _, do := range tx.afterwards {
		do()
	}
	w.learn(tx.changes)
}

// sinceMoved is how long ago the end of the node's stream moved.
func (w *writer) sinceMoved() time.Duration { return boot() - time.Duration(w.movedAt.Load()) }

// tellAll tells the listener, and makes the end of the stream known.
func (w *writer) tellAll(tx *txn) {
	s := w.store
	s.telling.Lock()
	defer s.telling.Unlock()
	s.cache.apply(tx)
	if tx.overtakes {
		s.streams.fallBehind(w.mySlot())
		defer s.lookAtOnce()
	}
	if l := w.listener.Load(); l != nil {
		for i := range tx.news {
			s.tell(*l, &tx.news[i])
		}
	}
	if !s.cfg.Shared {
		s.streams.own = w.pos
	}
}

// tell tells the listener of one of the news, as far as it is of the node's accounts;
// Store.telling is held. While the own stream is told by the pulse, that tells what was
// accepted.
func (s *Store) tell(l store.Listener, n *news) {
	switch {
	case n.accepted != nil && s.streams.behind:
	case n.accepted != nil:
		var own []store.Acceptance
		for i := range n.accepted {
			if s.attendsIn(n.shards[i], n.accepted[i].Delivery.AccountID) {
				own = append(own, n.accepted[i])
			}
		}
		if len(own) > 0 {
			l.Accepted(own)
		}
	case n.health != nil:
		l.HealthChanged(n.health)
	case n.account != "" && !s.attends(n.account):
	case n.probe:
		probe(l, n.account)
	case n.started:
		l.ReplayStarted()
	case n.replayed != nil:
		l.Replayed(n.webhook, n.replayed)
	default:
		l.WebhookChanged(n.account, n.webhook)
	}
}
