package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/recapito/recapito/store"
)

// txn is the transaction under way.
type txn struct {
	w        *writer
	totals   totals
	news     []news                    // for the listener, after the commit
	webhooks map[string]*store.Webhook // changed in it; nil: there is none
	stale    []string                  // accounts of which the cache holds secrets that have ended
	// keysChanged is set when API keys were revoked.
	keysChanged bool
	// apart makes it store what is handed in operation by operation, so that it is
	// known which one fails.
	apart    bool
	intake   intake
	events   int
	outcomes int
	change   // to the tail
	counting counting
}

func newTxn(w *writer) *txn {
	return &txn{w: w, webhooks: map[string]*store.Webhook{}, change: change{left: map[int64]struct{}{}}, counting: w.tallies.begin()}
}

// news is what the listener is told: what was accepted, what is due again, that a bulk
// replay has begun, how endpoints' states have changed, or that an account's webhook has
// changed.
type news struct {
	accepted []store.Acceptance
	replayed []int64
	started  bool // a bulk replay
	health   []store.HealthChange
	account  string
	webhook  *store.Webhook
}

func (n *news) tell(l store.Listener) {
	switch {
	case n.accepted != nil:
		l.Accepted(n.accepted)
	case n.started:
		l.ReplayStarted()
	case n.replayed != nil:
		l.Replayed(n.webhook, n.replayed)
	case n.health != nil:
		l.HealthChanged(n.health)
	default:
		l.WebhookChanged(n.account, n.webhook)
	}
}

// accountsOf lists the accounts that news are of.
func accountsOf(all []news) (accounts []string) {
	for _, n := range all {
		if n.accepted == nil && n.health == nil && !n.started {
			accounts = append(accounts, n.account)
		}
		for i := range n.accepted {
			accounts = append(accounts, n.accepted[i].Delivery.AccountID)
		}
	}
	slices.Sort(accounts)
	return slices.Compact(accounts)
}

// totals are the table's one row.
type totals struct {
	lastSeq   int64
	listed    int64
	count     [4]int64 // by state
	logNeeded bool     // see log_check.go
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
		return tx.exec(`UPDATE totals SET commits = commits + 1 WHERE id = 1`)
	}
	return tx.exec(`UPDATE totals SET commits = commits + 1, checksum = ?, log_needed = ?, last_seq = ?, listed = ?, pending = ?, delivered = ?, failed = ?, cancelled = ? WHERE id = 1`,
		t.sum(), t.logNeeded, t.lastSeq, t.listed, t.count[pending], t.count[delivered], t.count[failed], t.count[cancelled])
}

func (tx *txn) moved(from, to, n int) {
	tx.totals.count[from] -= int64(n)
	tx.totals.count[to] += int64(n)
}

// bulk splits n rows into the sizes for which statements are prepared. One
// statement for many rows costs a third of one statement for each (measured).
func bulk(n int, do func(from, to int) error) error {
	for from := 0; from < n; {
		size := 1
		for _, s := range [...]int{64, 16, 4} {
			if n-from >= s {
				size = s
				break
			}
		}
		if err := do(from, from+size); err != nil {
			return err
		}
		from += size
	}
	return nil
}

// text completes a statement with n copies of a row's placeholders.
func text(statement, row string, n int) string {
	return fmt.Sprintf(statement, strings.Repeat(row+", ", n-1)+row)
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
