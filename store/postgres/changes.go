package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// This file lets every node know what one has changed. A change has a number, in the
// order of the commits. A node takes changes in between two of its commits: it forgets
// what it has cached, tells its listener, and acknowledges with the commit that follows.
// So nothing that it commits later knows of what was before.

// kind is what a node must do about a change. The numbers are kept.
type kind int16

const (
	webhookChanged     kind = iota + 1 // forget it, and tell
	webhookPut                         // the same, and count failures anew
	webhookRemoved                     // the same, and cancel what is PENDING
	stateChanged                       // forget it
	keysRevoked                        // forget the keys
	deliveriesReplayed                 // tell
	replayStarted                      // tell
	accountErased                      // forget it, tell, and erase what is left of it
	probeAsked                         // probe
)

// waits reports whether every node must know of it before it is answered.
func (k kind) waits() bool {
	return k <= webhookRemoved || k == keysRevoked || k == accountErased
}

// note is a change on its way to the other nodes.
type note struct {
	account string
	kind    kind
	at, seq int64
}

// note notes a change, of some time, that the transaction makes.
func (tx *txn) note(account string, k kind, at time.Time) {
	tx.noted = append(tx.noted, note{account: account, kind: k, at: micros(at)})
	if k.waits() {
		tx.op.waits = true
	}
}

// insertNotes is last, behind the fence: it locks the one row of cluster, so that changes are
// committed in the order of their numbers. A session that holds it holds the node's row as well,
// by which the others find and end it, see [pulse.evict].
const insertNotes = `WITH k AS (UPDATE cluster SET changes = changes + cardinality($1::text[]) RETURNING changes),
	i AS (INSERT INTO changes (id, account, kind, at, seq) SELECT k.changes - cardinality($1) + u.ord, u.account, u.kind, u.at, u.seq
		FROM k, unnest($1, $2::smallint[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS u (account, kind, at, seq, ord))
	SELECT changes FROM k`

// saveNotes adds the changes to a batch whose end is to follow at once: other nodes wait for
// the row of cluster, and not for this one to go on.
func (tx *txn) saveNotes(batch *pgx.Batch) {
	if len(tx.noted) == 0 {
		return
	}
	accounts, kinds := make([]string, len(tx.noted)), make([]int16, len(tx.noted))
	at, seqs := make([]int64, len(tx.noted)), make([]int64, len(tx.noted))
	for i, n := range tx.noted {
		accounts[i], kinds[i], at[i], seqs[i] = n.account, int16(n.kind), n.at, n.seq
	}
	batch.Queue(insertNotes, accounts, kinds, at, seqs).QueryRow(func(row pgx.Row) error { return row.Scan(&tx.lastChange) })
	if slices.Contains(kinds, int16(accountErased)) {
		batch.Queue(`UPDATE erasing SET change = (SELECT changes FROM cluster) WHERE change = 0`)
	}
}

// noteOwn remembers the changes that this node has made itself, and so knows of.
func (w *writer) noteOwn(tx *txn) {
	for i := range tx.noted {
		w.own[tx.lastChange-int64(i)] = true
	}
	for next := w.applied.Load() + 1; w.own[next]; next++ {
		delete(w.own, next)
		w.applied.Store(next)
	}
}

// learn has the writer take in what has changed, up to some change at least. It reports whether
// there is something that nobody has asked for yet.
func (w *writer) learn(change int64) bool {
	return change > w.applied.Load() && w.offerOne(&w.takingIn, &operation{rows: 1, alone: true, run: (*txn).takeIn})
}

// takenIn is what a node must do about an account.
type takenIn struct {
	kinds    map[kind]int64 // when it happened last
	replayed []int64
}

func (t *takenIn) any(kinds ...kind) bool {
	for _, k := range kinds {
		if _, is := t.kinds[k]; is {
			return true
		}
	}
	return false
}

// takeIn takes in what other nodes have changed. It tells the listener before it
// commits: the commit acknowledges.
func (tx *txn) takeIn() error {
	w := tx.w
	changed, upTo, err := tx.readChanges()
	if err != nil || upTo == w.applied.Load() {
		return err
	}
	accounts, keys := make([]string, 0, len(changed)), false
	for account, c := range changed {
		accounts = append(accounts, account)
		keys = keys || c.any(keysRevoked, accountErased)
	}
	w.store.cache.forget(accounts, keys)
	found, err := w.store.readRegistrations(tx.ctx, tx.tx, accounts)
	if err != nil {
		return err
	}
	of := map[string]*registration{}
	for _, r := range found {
		of[r.account] = r
	}
	for account, c := range changed {
		if !tx.mine(account) {
			continue
		}
		if err := tx.takeInOne(account, c, of[account]); err != nil {
			return err
		}
	}
	tx.applied = upTo
	tx.then(func() {
		w.applied.Store(upTo)
		maps.DeleteFunc(w.own, func(id int64, _ bool) bool { return id <= upTo })
	})
	return nil
}

// readChanges reads the changes that other nodes have made, by account.
func (tx *txn) readChanges() (changed map[string]*takenIn, upTo int64, err error) {
	w := tx.w
	upTo = w.applied.Load()
	rows, err := tx.tx.Query(tx.ctx, `SELECT id, account, kind, at, seq FROM changes WHERE id > $1 ORDER BY id`, upTo)
	if err != nil {
		return nil, 0, err
	}
	changed = map[string]*takenIn{}
	var n note
	_, err = pgx.ForEachRow(rows, []any{&upTo, &n.account, &n.kind, &n.at, &n.seq}, func() error {
		if w.own[upTo] {
			return nil
		}
		if changed[n.account] == nil {
			changed[n.account] = &takenIn{kinds: map[kind]int64{}}
		}
		c := changed[n.account]
		if c.kinds[n.kind] = n.at; n.kind == deliveriesReplayed {
			c.replayed = append(c.replayed, n.seq)
		}
		return nil
	})
	return changed, upTo, err
}

// takeInOne takes in what has changed of an account of this node.
func (tx *txn) takeInOne(account string, c *takenIn, r *registration) error {
	s := tx.w.store
	var webhook *store.Webhook
	if r != nil {
		webhook = r.webhook
	}
	damaged := r != nil && r.damage != nil
	s.telling.Lock()
	if l := s.w.listener.Load(); l != nil && s.attends(account) {
		if c.any(webhookChanged, webhookPut, webhookRemoved, accountErased) && !damaged {
			(*l).WebhookChanged(account, webhook)
		}
		if damaged {
			(*l).Uncertain([]string{account})
		}
		if len(c.replayed) > 0 && webhook != nil {
			(*l).Replayed(webhook, c.replayed)
		}
		if c.any(replayStarted) {
			(*l).ReplayStarted()
		}
		if c.any(probeAsked) {
			probe(*l, account)
		}
	}
	s.telling.Unlock()
	if c.any(accountErased) {
		tx.then(s.resumeErasing)
	}
	if r == nil {
		return nil
	}
	if at, is := c.kinds[webhookPut]; is {
		tx.tally(r.no, instant(at)).BeginAnew()
	}
	if at, is := c.kinds[webhookRemoved]; is && webhook == nil && !damaged {
		return tx.cancel(r.no, instant(at), cancelAtOnce)
	}
	return nil
}

// prober is a listener that probes on request.
type prober interface {
	Probe(accountID string, now time.Time) store.Probing
}

func probe(l store.Listener, account string) {
	if p, ok := l.(prober); ok {
		p.Probe(account, time.Now())
	}
}

// AskProbe has the node that attempts for an account probe its endpoint now.
func (s *Store) AskProbe(ctx context.Context, accountID string) error {
	return s.w.do(ctx, func(tx *txn) error {
		if tx.mine(accountID) {
			tx.news = append(tx.news, news{account: accountID, probe: true})
		} else {
			tx.note(accountID, probeAsked, time.Now())
		}
		return nil
	})
}

// endpointBeginsAnew counts an account's failures anew. Its node does.
func (tx *txn) endpointBeginsAnew(account string, no int64, at time.Time) {
	tx.note(account, webhookPut, at)
	if tx.mine(account) {
		tx.tally(no, at).BeginAnew()
	}
}

// settleGap is how often it is looked whether all nodes have taken in a change.
const settleGap = 3 * time.Millisecond

// sharedSettle is how long a command beside the nodes waits for them. There may be none
// that takes a silent one for dead.
const sharedSettle = 15 * time.Second

// settled is up to which change every other node has taken in all.
const settled = `SELECT least((SELECT changes FROM cluster), min(applied)) FROM nodes WHERE alive AND slot <> $1`

// settle returns when every other node has taken in a change, or is dead. One caller asks for
// all that wait, in the order of their changes as a rule: they would have few connections, and
// keep the server busy.
func (s *Store) settle(ctx context.Context, change int64) error {
	if s.cfg.Shared {
		own, cancel := context.WithTimeoutCause(ctx, sharedSettle, errors.New("it is done, but a recapito that serves the database does not answer and may not know of it yet"))
		defer cancel()
		ctx = own
	}
	select {
	case s.settling <- struct{}{}:
		defer func() { <-s.settling }()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.closed:
		return store.ErrClosed
	}
	for s.settled < change {
		if err := s.one(ctx, settled, []any{s.w.mySlot()}, &s.settled); err != nil {
			return fmt.Errorf("it is not known whether every node knows of the change: %w: %w", store.ErrUnavailable, err)
		}
		if s.settled >= change {
			return nil
		}
		select {
		case <-time.After(settleGap):
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.closed:
			return store.ErrClosed
		}
	}
	return nil
}

// forgetChanges removes what all nodes have taken in.
func (tx *txn) forgetChanges() error {
	_, err := tx.exec(`DELETE FROM changes WHERE id <= (SELECT coalesce(min(applied), $1) FROM nodes WHERE alive)`, int64(math.MaxInt64))
	return err
}
