package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/recapito/recapito/store"
)

// writer is the goroutine that owns the writing connection. It makes the group
// commit: it takes the operations that wait, in turn by account, runs them in one
// transaction, commits, tells the listener, and answers.
type writer struct {
	store    *Store
	queue    chan *operation
	stopped  chan struct{}
	listener atomic.Pointer[store.Listener]
	totals   atomic.Pointer[totals] // as of the last commit
	tail     *tail
	tallies  tallies

	// Owned by the goroutine:
	db      *sql.DB // one connection
	conn    *sql.Conn
	stmts   map[string]*sql.Stmt
	files   *servedFiles // nil if shared
	version int64        // of the file, as SQLite counts the changes of others
	damaged bool         // the connection must be opened anew
	doubt   []string     // accounts of which a commit that failed would have been told
	failing bool         // the last transaction failed
	away    bool         // the files were not in their place when that was looked at last
	// told is when the log last said of an account that it cannot be read.
	told     map[string]time.Time
	swept    string // the account whose old tallies were removed last
	waiting  *turns // what was taken from the queue
	logLimit int    // how many pages of the log there are when a checkpoint is tried next
}

// operation is one caller's part of a transaction. run returns one of the
// store's sentinels only if it has written nothing. After any other error the
// transaction is undone and begun anew without it, so run may be called again.
type operation struct {
	ctx    context.Context
	rows   int  // how much it writes, roughly
	handIn bool // it adds to the intake and does nothing else
	// account is in whose turn it is done, see turns.
	account string
	run     func(*txn) error
	out     bool         // it failed by itself and is not part of the transaction
	after   func() error // once it is committed, before it is answered; may be nil
	err     error
	done    chan struct{}
}

const (
	queueSize = 1024
	// maxOps and maxRows bound one transaction of small operations, so that nobody
	// waits long for others' writes.
	maxOps  = 256
	maxRows = 5000
	// reopenGap is how long the writer waits before it opens a failed database
	// anew.
	reopenGap = 100 * time.Millisecond
	// tellGap is how often the log says of an account that it cannot be read.
	tellGap = time.Minute
)

func newWriter(s *Store) (*writer, error) {
	w := &writer{store: s, queue: make(chan *operation, queueSize), stopped: make(chan struct{}), tail: newTail(s.cfg.tailSize, 1), logLimit: s.cfg.logPages, told: map[string]time.Time{}, waiting: newTurns()}
	if err := w.open(); err != nil {
		return nil, err
	}
	if !s.cfg.Shared {
		if err := w.serve(); err != nil {
			return nil, errors.Join(err, w.closeConn())
		}
	}
	go w.run()
	return w, nil
}

// do runs an operation and returns when it is durable. If ctx ends before, the
// operation may still happen.
func (w *writer) do(ctx context.Context, run func(*txn) error) error { return w.doRows(ctx, 1, run) }

func (w *writer) doRows(ctx context.Context, rows int, run func(*txn) error) error {
	return w.submit(&operation{ctx: ctx, rows: rows, run: run})
}

func (w *writer) submit(op *operation) error {
	op.done = make(chan struct{})
	if w.store.isClosed() {
		return store.ErrClosed
	}
	select {
	case w.queue <- op:
	case <-w.store.closed:
		return store.ErrClosed
	case <-op.ctx.Done():
		return op.ctx.Err()
	}
	select {
	case <-op.done:
		return op.err
	case <-op.ctx.Done():
		return op.ctx.Err()
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
// not get it, so the writer never writes what a caller reads.
func write[T any](ctx context.Context, w *writer, rows int, run func(*txn) (T, error)) (T, error) {
	result := new(T)
	err := w.doRows(ctx, rows, func(tx *txn) (err error) {
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
	others := time.NewTicker(w.store.cfg.OthersGap)
	defer others.Stop()
	for {
		select {
		case <-others.C:
			w.lookForOthers()
			_ = w.lookForFiles() // it tells
			w.settle()
			continue
		case op := <-w.queue:
			w.waiting.enter(op)
		case <-w.waiting.ready():
		case <-w.store.closed:
			for w.gather(); !w.waiting.empty(); w.gather() {
				w.commit(w.waiting.take())
			}
			w.settle()
			return
		}
		// Those that runnable goroutines are about to hand in come with it: on busy
		// processors this makes commits fewer.
		runtime.Gosched()
		w.gather()
		w.commit(w.waiting.take())
	}
}

// gather takes in the operations that wait; there are as many as callers at most.
func (w *writer) gather() {
	for {
		select {
		case op := <-w.queue:
			w.waiting.enter(op)
		default:
			return
		}
	}
}

// commit does the operations in one transaction and answers them.
func (w *writer) commit(ops []*operation) {
	start := time.Now()
	tx, err := w.transact(ops)
	if err == nil {
		w.publish(tx)
	}
	w.store.cfg.OnCommit(store.Commit{Events: tx.events, Outcomes: tx.outcomes, Duration: time.Since(start), Err: err})
	w.report(err)
	if err != nil {
		err = fmt.Errorf("sqlite: the outcome of this write is unknown: %w", err)
		for _, op := range ops {
			if !op.out {
				op.err = err
			}
		}
	}
	for _, op := range ops {
		if op.after != nil && op.err == nil {
			op.err = op.after()
		}
		close(op.done)
	}
	w.boundLog()
}

// report logs when writing begins to fail and when it works again. An erasure may
// have begun by a commit that failed.
func (w *writer) report(err error) {
	switch log := w.store.cfg.Logger; {
	case err != nil && !w.failing:
		log.Error("writing to the database fails", "path", w.store.cfg.Path, "error", err)
	case err == nil && w.failing:
		log.Info("writing to the database works again", "path", w.store.cfg.Path)
		if err := w.store.resumeErasing(); err != nil {
			log.Error("erasures go on only after a restart", "path", w.store.cfg.Path, "error", err)
		}
	}
	w.failing = err != nil
}

// tellUnreadable logs, once in a while, that an account's events are refused.
func (w *writer) tellUnreadable(account string, err error) {
	now := time.Now()
	if last, ok := w.told[account]; ok && now.Sub(last) < tellGap {
		return
	}
	if len(w.told) >= cacheSize {
		clear(w.told)
	}
	w.told[account] = now
	w.store.cfg.Logger.Error("an account cannot be read: its events are refused until it is repaired, or its webhook is deleted and made anew",
		"path", w.store.cfg.Path, "account", account, "error", err)
}

// transact does the operations in one transaction. An operation that fails by
// itself is removed, and the others are done without it.
func (w *writer) transact(ops []*operation) (*txn, error) {
	tx := newTxn(w)
	if err := w.lookForFiles(); err != nil {
		return tx, err
	}
	if w.damaged {
		if err := w.reopen(); err != nil {
			time.Sleep(reopenGap)
			return tx, err
		}
	}
	for {
		again, err := w.try(tx, ops)
		if !again {
			return tx, err
		}
		tx = newTxn(w)
		tx.apart = true
	}
}

// try asks for another try if an operation failed and was removed, or if it is
// not known yet which one failed.
func (w *writer) try(tx *txn, ops []*operation) (again bool, err error) {
	if err := tx.exec(`BEGIN IMMEDIATE`); err != nil {
		w.rollback()
		return false, err
	}
	w.lookForOthers()
	tx.totals = *w.totals.Load()
	tx.totals.logNeeded = tx.totals.logNeeded && w.store.cfg.Shared
	failed, err := tx.do(ops)
	if err != nil {
		w.rollback()
		if w.damaged || ofTheDatabase(err) || (failed == nil && tx.apart) {
			return false, err
		}
		if failed != nil {
			failed.out, failed.err = true, fmt.Errorf("sqlite: nothing was written: %w", err)
		}
		return true, nil
	}
	if err := tx.exec(`COMMIT`); err != nil {
		// It may have happened nevertheless. If the database cannot be opened
		// now, the next transaction tries again.
		w.damaged, w.doubt = true, accountsOf(tx.news)
		if failed := w.reopen(); failed != nil {
			return false, fmt.Errorf("%w (and opening it anew: %w)", err, failed)
		}
		return false, err
	}
	if err := w.lookForFiles(); err != nil {
		w.damaged, w.doubt = true, accountsOf(tx.news) // what was committed is not where it will be looked for
		return false, err
	}
	return false, nil
}

// do does the operations in their order and returns the one that failed, if it
// is known.
func (tx *txn) do(ops []*operation) (failed *operation, err error) {
	for _, op := range ops {
		if op.out {
			continue
		}
		if op.err = op.ctx.Err(); op.err != nil {
			continue // nobody waits for it
		}
		if !op.handIn {
			if err := tx.takeIn(); err != nil {
				return nil, err
			}
		}
		op.err = op.run(tx)
		if op.err == nil && tx.apart {
			op.err = tx.takeIn()
		}
		if op.err != nil && !isSentinel(op.err) {
			return op, op.err
		}
	}
	if err := tx.takeIn(); err != nil {
		return nil, err
	}
	return nil, errors.Join(tx.enter(), tx.saveTallies(), tx.saveTotals())
}

// ofTheDatabase reports whether an error concerns every operation, as that of a
// full disk.
func ofTheDatabase(err error) bool {
	failure, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
	}
	switch failure.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT:
		return true
	}
	return false
}

// publish makes a committed transaction known.
func (w *writer) publish(tx *txn) {
	w.totals.Store(&tx.totals)
	w.tail.apply(&tx.change)
	w.tallies.apply(&tx.counting)
	w.store.cache.apply(tx)
	if l := w.listener.Load(); l != nil {
		for i := range tx.news {
			tx.news[i].tell(*l)
		}
	}
}

func isSentinel(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrErasing) || errors.Is(err, store.ErrTooMany) || errors.Is(err, store.ErrNoWebhook) || errors.Is(err, store.ErrDamaged)
}
