package postgres

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// writer is the goroutine that owns the writing connection. It makes the group
// commit: all events and outcomes that wait are one transaction of two round trips, or
// three. Everything else is done in transactions of its own.
type writer struct {
	store    *Store
	queue    chan *operation // events and outcomes
	runs     chan *operation // everything else
	stopped  chan struct{}
	listener atomic.Pointer[store.Listener]
	counts   atomic.Pointer[counts] // by how much this node has changed them, as of the last commit
	others   atomic.Pointer[counts] // the same of all other nodes, as of the last look
	minute   atomic.Int64           // the present one; it never goes back
	lease    lease
	since    int64 // when the process took its row, as that says
	slot     atomic.Int32
	// incarnation counts how often others took the node for dead. What an earlier one
	// had attempted is not recorded.
	incarnation atomic.Int64
	applied     atomic.Int64 // changes taken in
	takingIn    atomic.Bool  // the next ones are about to be
	markedAt    atomic.Int64 // see [marks.enteredAt]
	movedAt     atomic.Int64 // when the end of the node's stream moved last, by the boot clock

	// Owned by the goroutine:
	conn    *pgx.Conn // nil: there is none, or it cannot be trusted
	plans   plans
	notices unwaited
	own     map[int64]bool // changes of this node that it has not met yet among all
	pos     int64          // the end of its stream, as of the last commit
	doubt   []string       // accounts of which a commit that failed would have been told
	failing bool           // the last transaction failed
	fenced  bool           // others took the node for dead
	marks   marks
	sums    map[int64]*store.Tally // the last tallies of accounts, by number
	swept   int64                  // account whose tallies were looked at last
	told    map[string]time.Time   // when the log last said of an account that it cannot be read
}

// operation is one caller's part of a commit: events, outcomes, or something else.
type operation struct {
	ctx    context.Context
	intake *intake   // events
	record *recorded // outcomes
	// run is anything else. It returns one of the store's sentinels only if it has
	// written nothing. It may be called again. Those that wait overtake events and outcomes.
	run      func(*txn) error
	rows     int    // how much it writes, roughly
	after    func() // once it is committed, before it is answered; may be nil
	answered func() // however it ended; may be nil
	// incarnation is whose it is: it is refused if others have taken the node for dead
	// since. Zero: any.
	incarnation int64
	change      int64  // which every node must take in before it is answered; zero: none
	waits       bool   // it has made one
	alone       bool   // it has a transaction of its own
	locked      int    // how often it has waited for a lock in vain
	account     string // whose row it locks; empty: it may lock others
	err         error
	done        chan struct{}
}

const (
	queueSize = 1024
	// maxOps and maxRows bound one commit, so that nobody waits long for others'
	// writes.
	maxOps  = 256
	maxRows = 5000
	// maxRuns bounds how many take several round trips each, with what they lock.
	maxRuns = 16
	// lockPatience is for how long something is tried of which others have rows locked: longer
	// than it takes until a node that has stopped is taken for dead, and its session is ended.
	lockPatience = 8 * time.Second
	// reopenGap is how long the writer waits before it connects anew.
	reopenGap = 100 * time.Millisecond
	// tellGap is how often the log says of an account that it cannot be read.
	tellGap = time.Minute
)

func newWriter(s *Store) *writer {
	w := &writer{store: s, queue: make(chan *operation, queueSize), runs: make(chan *operation, queueSize), stopped: make(chan struct{})}
	w.told, w.sums = map[string]time.Time{}, map[int64]*store.Tally{}
	w.counts.Store(&counts{})
	w.others.Store(&counts{})
	w.incarnation.Store(1)
	w.slot.Store(-1)
	return w
}

// do runs an operation and returns when it is durable. If ctx ends before, the
// operation may still happen.
func (w *writer) do(ctx context.Context, run func(*txn) error) error {
	return w.doOf(ctx, "", run)
}

// doOf is for an operation that locks the row of one account.
func (w *writer) doOf(ctx context.Context, account string, run func(*txn) error) error {
	return w.submit(&operation{ctx: ctx, rows: 1, account: account, run: run})
}

// submit has an operation done and returns when it is durable. What has waited for a lock in
// vain has written nothing, and is handed in again for a while. [store.ErrUnavailable]: that
// was in vain as well.
func (w *writer) submit(op *operation) error {
	for began := boot(); ; {
		switch err := w.submitOnce(op); {
		case codeOf(err) != lockTimeout, op.err == nil: // what is written is not to be done again
			return err
		case boot()-began >= w.store.cfg.patience:
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
}

// submitOnce is for an operation of the pulse, which must go on looking at the others: one of
// them may have to be taken for dead before the lock is given back.
func (w *writer) submitOnce(op *operation) error {
	op.done, op.err, op.waits = make(chan struct{}), nil, false
	if w.store.isClosed() {
		return store.ErrClosed
	}
	select {
	case w.queueOf(op) <- op:
	case <-w.store.closed:
		return store.ErrClosed
	case <-op.ctx.Done():
		return op.ctx.Err()
	}
	select {
	case <-op.done:
		return w.answer(op)
	case <-op.ctx.Done():
		return op.ctx.Err()
	case <-w.stopped:
		select {
		case <-op.done:
			return w.answer(op)
		default:
			return store.ErrClosed
		}
	}
}

func (w *writer) queueOf(op *operation) chan *operation {
	if op.run != nil {
		return w.runs
	}
	return w.queue
}

// answer waits until every node has taken in what an operation has changed.
func (w *writer) answer(op *operation) error {
	if op.err != nil || !op.waits {
		return op.err
	}
	began := time.Now()
	err := w.store.settle(op.ctx, op.change)
	w.store.cfg.OnChange(time.Since(began))
	return err
}

// offerOne hands in an operation that nobody waits for, if there is room. It reports false if
// one of its sort has not been answered yet: while the server is slow, they would fill the queue.
func (w *writer) offerOne(waits *atomic.Bool, op *operation) bool {
	if !waits.CompareAndSwap(false, true) {
		return false
	}
	op.ctx, op.done, op.answered = context.Background(), make(chan struct{}), func() { waits.Store(false) }
	select {
	case w.queueOf(op) <- op:
	default:
		op.answered()
	}
	return true
}

// write runs an operation that has a result. A caller that stopped waiting does not
// get it, so the writer never writes what a caller reads.
func write[T any](ctx context.Context, w *writer, run func(*txn) (T, error)) (T, error) {
	return writeOf(ctx, w, "", run)
}

// writeOf is write, for an operation that locks the row of one account.
func writeOf[T any](ctx context.Context, w *writer, account string, run func(*txn) (T, error)) (T, error) {
	result := new(T)
	err := w.doOf(ctx, account, func(tx *txn) (err error) {
		*result, err = run(tx)
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return *result, nil
}

// run ends when the store is closed; operations that wait then are still done.
func (w *writer) run() {
	defer close(w.stopped)
	defer w.close()
	idle := time.NewTicker(beatGap / 4)
	defer idle.Stop()
	for {
		select {
		case <-idle.C:
			w.chores()
		case op := <-w.runs:
			w.commitAll(w.gather(op))
		case op := <-w.queue:
			w.commitAll(w.gather(op))
		case <-w.store.closed:
			for {
				select {
				case op := <-w.runs:
					w.commitAll(w.gather(op))
				case op := <-w.queue:
					w.commitAll(w.gather(op))
				default:
					return
				}
			}
		}
	}
}

func (w *writer) close() {
	if w.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	if !w.store.cfg.Shared {
		w.leave(ctx, w.conn)
	}
	_ = w.conn.Close(ctx) // all is committed
}

// chores are what a writer does that has nothing to do: it keeps its lease, enters
// what is still fresh in the table of what waits, and connects anew.
func (w *writer) chores() {
	if w.store.cfg.Shared {
		return
	}
	for range entersAtOnce {
		to, due := w.marks.next(w.store.least(), boot())
		if !due {
			break
		}
		op := &operation{ctx: context.Background(), run: func(tx *txn) error { return tx.enter(to) }, done: make(chan struct{})}
		if w.commitAll([]*operation{op}); op.err != nil {
			break
		}
	}
	w.markedAt.Store(int64(w.marks.enteredAt))
	if w.conn == nil || w.lease.sinceBeat() >= beatGap {
		w.beat()
	}
}

// beat renews the lease.
func (w *writer) beat() {
	_ = w.commit([]*operation{{ctx: context.Background(), run: func(*txn) error { return nil }, done: make(chan struct{})}})
}

// keepLease renews the lease after what took long.
func (w *writer) keepLease() {
	if w.conn != nil && w.lease.sinceBeat() >= beatGap {
		w.beat()
	}
}

// gather takes the operations that wait, and those that runnable goroutines are
// about to hand in. On busy processors this makes commits fewer.
func (w *writer) gather(first *operation) []*operation {
	runtime.Gosched()
	ops, rows := append(make([]*operation, 0, 16), first), first.rows
	more := func(queue <-chan *operation, most, mostRows int) {
		for len(ops) < most && rows < mostRows {
			select {
			case op := <-queue:
				ops, rows = append(ops, op), rows+op.rows
			default:
				return
			}
		}
	}
	more(w.runs, maxRuns, math.MaxInt)
	more(w.queue, maxOps, maxRows)
	return ops
}

// report logs when writing begins to fail and when it works again.
func (w *writer) report(err error) {
	log, failing := w.store.cfg.Logger, w.conn == nil
	switch {
	case failing && !w.failing:
		log.Error("writing to the database fails", "database", w.store.name, "error", err)
	case !failing && w.failing:
		log.Info("writing to the database works again", "database", w.store.name)
	}
	w.failing = failing
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
		"database", w.store.name, "account", account, "error", err)
}
