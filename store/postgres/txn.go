package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// txn is the transaction under way.
type txn struct {
	ctx         context.Context
	w           *writer
	tx          pgx.Tx // nil for events and outcomes
	news        []news // for the listener, after the commit
	webhooks    map[string]*registration
	keysChanged bool   // API keys were revoked
	moved       counts // by how much it changes them
	counting    counting
	given       map[int64]givenUp
	events      int
	outcomes    int
	took        bool  // it accepts something
	pos         int64 // the end of the node's stream, with it
	low         int64 // up to where the listener has been told of other nodes
	overtakes   bool  // it accepts what another node's, which is not told yet, comes before
	op          *operation
	noted       []note   // what other nodes must know
	lastChange  int64    // the last one of these
	changes     int64    // the last change of any node, at its end
	applied     int64    // the last change that it takes in; 0: it takes none in
	afterwards  []func() // once it is committed
}

// then has something done by the writer once the transaction is committed.
func (tx *txn) then(do func()) { tx.afterwards = append(tx.afterwards, do) }

func newTxn(ctx context.Context, w *writer) *txn {
	return &txn{ctx: ctx, w: w, low: w.store.streams.lowest(), webhooks: map[string]*registration{}, counting: w.beginCounting(), given: map[int64]givenUp{}}
}

// beginCounting is the counting of the next transaction.
func (w *writer) beginCounting() counting {
	return counting{minute: w.minute.Load(), changes: map[int64]*store.Tally{}, sums: map[int64]*store.Tally{}}
}

// news is what the listener is told: what was accepted, what is due again, that a bulk
// replay has begun, how endpoints' states have changed, or that an account's webhook has
// changed.
type news struct {
	accepted []store.Acceptance
	shards   []int16 // of these
	replayed []int64
	started  bool // a bulk replay
	probe    bool // was asked for
	health   []store.HealthChange
	account  string
	webhook  *store.Webhook
}

// accountsOf lists the accounts that news are of, but for what was accepted.
func accountsOf(all []news) (accounts []string) {
	for _, n := range all {
		if n.account != "" {
			accounts = append(accounts, n.account)
		}
	}
	return accounts
}

// counts are of deliveries, by state.
type counts [4]int64

// The states as they are kept.
const (
	pending = iota
	delivered
	failed
	cancelled
)

var stateCodes = map[store.State]int16{
	store.Pending: pending, store.Delivered: delivered, store.Failed: failed, store.Cancelled: cancelled,
}

var states = [4]store.State{store.Pending, store.Delivered, store.Failed, store.Cancelled}

// ended notes that so many PENDING deliveries ended in a state.
func (tx *txn) ended(state int16, n int64) {
	tx.moved[pending] -= n
	tx.moved[state] += n
}

// commit does operations of one sort.
func (tx *txn) commit(ops []*operation) error {
	if ops[0].run == nil {
		return tx.commitBatch(ops)
	}
	return tx.commitRuns(ops)
}

// boundLocks bounds how long a transaction may keep others waiting, and wait. A node that
// stops, or is cut off, in the middle of one keeps its rows locked, among them that of
// cluster. If others waited for it for as long as their leases last, all would be taken for
// dead. What is in the middle of a batch is not idle; see endSessions.
const boundLocks = `SELECT set_config('idle_in_transaction_session_timeout', '2s', true), set_config('lock_timeout', '1s', true)`

// bounds is boundLocks with the name of the node's session.
func (w *writer) bounds() string {
	if w.store.cfg.Shared {
		return boundLocks
	}
	return boundLocks + `, set_config('application_name', '` + session(w.mySlot(), w.lease.epoch) + `', true)`
}

// commitRuns does operations one after another in one transaction.
func (tx *txn) commitRuns(ops []*operation) (err error) {
	if tx.tx, err = tx.w.conn.BeginTx(tx.ctx, pgx.TxOptions{BeginQuery: `BEGIN; ` + tx.w.bounds()}); err != nil {
		return err
	}
	for _, op := range ops {
		if op.err != nil {
			continue
		}
		tx.op = op
		if op.err = op.run(tx); op.err != nil && !isSentinel(op.err) {
			err, op.err = op.err, nil
			if codeOf(err) == lockTimeout {
				op.locked++
			}
			return errors.Join(err, tx.tx.Rollback(tx.ctx))
		}
	}
	if err := errors.Join(tx.saveTallies(), tx.saveNotices()); err != nil {
		return errors.Join(err, tx.tx.Rollback(tx.ctx))
	}
	batch := &pgx.Batch{}
	if !tx.w.store.cfg.Shared {
		tx.fence(batch, 0)
	}
	tx.saveNotes(batch)
	batch.Queue(`COMMIT`)
	if err := tx.tx.Conn().SendBatch(tx.ctx, batch).Close(); err != nil {
		return errors.Join(err, tx.tx.Rollback(tx.ctx))
	}
	return nil
}

// fence adds the fence to a batch, whose end is to follow at once. place is that of the
// last delivery that was accepted.
func (tx *txn) fence(batch *pgx.Batch, place int) {
	statement, args := fenceOthers, []any{tx.w.mySlot(), tx.w.lease.epoch, max(tx.applied, tx.w.applied.Load()), tx.moved[pending], tx.moved[delivered], tx.moved[failed], tx.moved[cancelled]}
	if tx.took {
		statement, args = fenceAccepted, append(args, place)
	} else {
		args = append(args, tx.w.sinceMoved() > lagGap)
	}
	var one int
	batch.Queue(statement, args...).QueryRow(func(row pgx.Row) error { return row.Scan(&one, &tx.pos, &tx.changes) })
}

// exec executes and returns how many rows were changed.
func (tx *txn) exec(statement string, args ...any) (int, error) {
	tag, err := tx.tx.Exec(tx.ctx, statement, args...)
	return int(tag.RowsAffected()), err
}

// row scans the only row, or returns [store.ErrNotFound].
func (tx *txn) row(query string, args []any, dest ...any) error {
	err := tx.tx.QueryRow(tx.ctx, query, args...).Scan(dest...)
	if errors.Is(err, pgx.ErrNoRows) {
		return store.ErrNotFound
	}
	return err
}

// numbers reads sequence numbers.
func (tx *txn) numbers(query string, args ...any) ([]int64, error) {
	rows, err := tx.tx.Query(tx.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

func isSentinel(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrErasing) || errors.Is(err, store.ErrTooMany) ||
		errors.Is(err, store.ErrNoWebhook) || errors.Is(err, store.ErrDamaged) || errors.Is(err, errUnreadable) ||
		errors.Is(err, store.ErrSealed) || errors.Is(err, store.ErrNotServed) || errors.Is(err, store.ErrKeyChanged)
}

// micros and instant convert times: the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// ceilMicros rounds up, as what is kept is whole microseconds.
func ceilMicros(t time.Time) int64 { return micros(t.Add(time.Microsecond - 1)) }
