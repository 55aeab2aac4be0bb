package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/recapito/recapito/store"
)

// writer is the goroutine that owns the writing connection. It takes all the
// operations that wait, runs them in one transaction, commits, tells the
// listener, and answers: the group commit.
type writer struct {
	store    *Store
	queue    chan *operation
	stopped  chan struct{}
	listener atomic.Pointer[store.Listener]
	totals   atomic.Pointer[totals] // as of the last commit

	// Owned by the goroutine:
	db       *sql.DB // one connection
	conn     *sql.Conn
	stmts    map[string]*sql.Stmt
	webhooks map[string]*store.Webhook // a cache; only of webhooks that exist
	damaged  bool                      // the connection must be opened anew
}

// totals are the row of that name.
type totals struct {
	lastSeq int64
	count   [4]int64 // by state
}

// The states as they are kept.
const (
	pending = iota
	delivered
	failed
	cancelled
)

var stateCodes = map[store.State]int{
	store.Pending: pending, store.Delivered: delivered, store.Failed: failed, store.Cancelled: cancelled,
}

var states = [4]store.State{store.Pending, store.Delivered, store.Failed, store.Cancelled}

// operation is one caller's part of a transaction. run returns one of the
// store's sentinels only if it has written nothing; any other error undoes the
// whole transaction.
type operation struct {
	run  func(*txn) error
	err  error
	done chan struct{}
}

// txn is the transaction under way.
type txn struct {
	w        *writer
	totals   totals
	tell     []func(store.Listener) // after the commit
	webhooks map[string]*store.Webhook
	events   int
	outcomes int
}

const (
	queueSize    = 1024
	maxOps       = 128 // operations in one transaction
	webhookCache = 16384
	// reopenGap is how long the writer waits before it opens a database anew
	// that failed it.
	reopenGap = 100 * time.Millisecond
)

func newWriter(s *Store) (*writer, error) {
	w := &writer{store: s, queue: make(chan *operation, queueSize), stopped: make(chan struct{})}
	if err := w.open(); err != nil {
		return nil, err
	}
	go w.run()
	return w, nil
}

// open makes the connection, asserts that it is durable, and reads what the
// writer keeps in memory.
func (w *writer) open() (err error) {
	ctx := context.Background()
	db, err := sql.Open("sqlite", dsn(w.store.cfg.Path, "journal_mode(WAL)", "synchronous(FULL)",
		"cache_size(-16384)", "wal_autocheckpoint(2000)", "journal_size_limit(67108864)", "temp_store(2)"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	w.db, w.conn, w.stmts, w.webhooks = db, conn, map[string]*sql.Stmt{}, map[string]*store.Webhook{}
	if err := w.assertDurable(ctx); err != nil {
		return errors.Join(err, w.closeConn())
	}
	t := &totals{}
	row := conn.QueryRowContext(ctx, `SELECT last_seq, pending, delivered, failed, cancelled FROM totals`)
	if err := row.Scan(&t.lastSeq, &t.count[pending], &t.count[delivered], &t.count[failed], &t.count[cancelled]); err != nil {
		return errors.Join(err, w.closeConn())
	}
	w.totals.Store(t)
	w.damaged = false
	return nil
}

func (w *writer) assertDurable(ctx context.Context) error {
	var mode string
	var synchronous int
	if err := w.conn.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&mode); err != nil {
		return err
	}
	if err := w.conn.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&synchronous); err != nil {
		return err
	}
	if mode != "wal" || synchronous != 2 {
		return fmt.Errorf("journal_mode is %s and synchronous %d, not wal and 2 (FULL): not durable", mode, synchronous)
	}
	return nil
}

func (w *writer) closeConn() error {
	var errs []error
	for _, st := range w.stmts {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, w.conn.Close(), w.db.Close())...)
}

// do runs an operation and returns when it is durable. If ctx ends before, the
// operation may still happen.
func (w *writer) do(ctx context.Context, run func(*txn) error) error {
	op := &operation{run: run, done: make(chan struct{})}
	if w.store.isClosed() {
		return store.ErrClosed
	}
	select {
	case w.queue <- op:
	case <-w.store.closed:
		return store.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-op.done:
		return op.err
	case <-ctx.Done():
		return ctx.Err()
	case <-w.stopped:
		select {
		case <-op.done:
			return op.err
		default:
			return store.ErrClosed
		}
	}
}

// write runs an operation that has a result. A caller that stopped waiting does
// not see it, so that the writer never writes what a caller reads.
func write[T any](ctx context.Context, w *writer, run func(*txn) (T, error)) (T, error) {
	result := new(T)
	err := w.do(ctx, func(tx *txn) (err error) {
		*result, err = run(tx)
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return *result, nil
}

func (w *writer) close() error {
	<-w.stopped
	return w.closeConn()
}

// run ends when the store is closed; operations that wait then are still done.
func (w *writer) run() {
	defer close(w.stopped)
	for {
		select {
		case op := <-w.queue:
			w.commit(w.gather(op))
		case <-w.store.closed:
			for {
				select {
				case op := <-w.queue:
					w.commit(w.gather(op))
				default:
					return
				}
			}
		}
	}
}

// gather takes all that is waiting.
func (w *writer) gather(first *operation) []*operation {
	ops := append(make([]*operation, 0, 16), first)
	for len(ops) < maxOps {
		select {
		case op := <-w.queue:
			ops = append(ops, op)
		default:
			return ops
		}
	}
	return ops
}

// commit does the operations in one transaction and answers them.
func (w *writer) commit(ops []*operation) {
	start := time.Now()
	tx := &txn{w: w, totals: *w.totals.Load(), webhooks: map[string]*store.Webhook{}}
	err := w.transact(tx, ops)
	if err != nil {
		err = fmt.Errorf("sqlite: the outcome of this write is unknown: %w", err)
		for _, op := range ops {
			op.err = err
		}
	} else {
		w.publish(tx)
	}
	w.store.cfg.OnCommit(store.Commit{Events: tx.events, Outcomes: tx.outcomes, Duration: time.Since(start), Err: err})
	for _, op := range ops {
		close(op.done)
	}
}

func (w *writer) transact(tx *txn, ops []*operation) error {
	if w.damaged {
		if err := w.reopen(); err != nil {
			return err
		}
		tx.totals = *w.totals.Load()
	}
	if err := tx.exec(`BEGIN IMMEDIATE`); err != nil {
		return err
	}
	for _, op := range ops {
		if op.err = op.run(tx); op.err != nil && !isSentinel(op.err) {
			w.rollback()
			return op.err
		}
	}
	if err := tx.saveTotals(); err != nil {
		w.rollback()
		return err
	}
	if err := tx.exec(`COMMIT`); err != nil {
		// It may have happened all the same: everything is read anew.
		w.damaged = true
		if l := w.listener.Load(); l != nil {
			(*l).Uncertain()
		}
		return err
	}
	return nil
}

// rollback undoes a transaction that was not committed. Nothing of it has
// happened; if even this fails, the connection is opened anew.
func (w *writer) rollback() {
	if _, err := w.conn.ExecContext(context.Background(), `ROLLBACK`); err != nil && !strings.Contains(err.Error(), "no transaction is active") {
		w.damaged = true
	}
}

func (w *writer) reopen() error {
	_ = w.closeConn() // it has failed before
	if err := w.open(); err != nil {
		time.Sleep(reopenGap)
		return err
	}
	return nil
}

// publish makes a committed transaction known.
func (w *writer) publish(tx *txn) {
	w.totals.Store(&tx.totals)
	if len(w.webhooks) > webhookCache {
		clear(w.webhooks)
	}
	for account, hook := range tx.webhooks {
		if hook == nil {
			delete(w.webhooks, account)
		} else {
			w.webhooks[account] = hook
		}
	}
	if l := w.listener.Load(); l != nil {
		for _, tell := range tx.tell {
			tell(*l)
		}
	}
}

func isSentinel(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict)
}

// stmt prepares a statement once for the connection. Contexts that can be
// cancelled cost a goroutine each in the driver, so there are none here.
func (tx *txn) stmt(query string) (*sql.Stmt, error) {
	if st := tx.w.stmts[query]; st != nil {
		return st, nil
	}
	st, err := tx.w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	tx.w.stmts[query] = st
	return st, nil
}

func (tx *txn) exec(query string, args ...any) error {
	_, err := tx.changes(query, args...)
	return err
}

// changes executes and returns how many rows were changed.
func (tx *txn) changes(query string, args ...any) (int, error) {
	st, err := tx.stmt(query)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func (tx *txn) query(query string, args ...any) (*sql.Rows, error) {
	st, err := tx.stmt(query)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(context.Background(), args...)
}

// row scans the only row, or returns [store.ErrNotFound].
func (tx *txn) row(query string, args []any, dest ...any) error {
	st, err := tx.stmt(query)
	if err != nil {
		return err
	}
	err = st.QueryRowContext(context.Background(), args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	return err
}

func (tx *txn) saveTotals() error {
	t := &tx.totals
	if *t == *tx.w.totals.Load() {
		return nil
	}
	return tx.exec(`UPDATE totals SET last_seq = ?, pending = ?, delivered = ?, failed = ?, cancelled = ? WHERE id = 1`,
		t.lastSeq, t.count[pending], t.count[delivered], t.count[failed], t.count[cancelled])
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
