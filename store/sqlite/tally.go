package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/recapito/recapito/store"
)

// tallies are what is counted of each account, minute by minute. A row for each commit
// and account would cost a page each. So each commit logs what it counts, in one row at
// the end of a table; when a minute has ended, the sums of its accounts are written, some
// with each commit that follows, and its log is removed. A commit writes more of them
// than it counts, so that they never pile up. A start reads the log, of two minutes or so.
//
// The writer changes them after its commits; everyone reads them. A reader first copies
// what it needs and then opens its snapshot: what was written in between has the minute
// of its row, or is older.
type tallies struct {
	mu       sync.RWMutex
	minute   int64 // the present one; it never goes back
	accounts map[string]*counted
	ended    []string // accounts with a minute that has ended and is not written, each once
	logged   int      // rows of the present minute
	trimmed  int64    // what is logged of minutes before it has been removed
	// backlogs are those of accounts that have a quota and were looked at. The writer
	// alone knows them.
	backlogs map[string]backlog
}

// counted is what is counted of one account and not yet in its row.
type counted struct {
	sum     *store.Tally // as of its last row; nil: that is not known
	at      int64        // the minute of that row
	changes []minuteChange
	ended   bool // the account is among the ended
}

type minuteChange struct {
	minute int64
	change *store.Tally
}

const (
	// talliesAtOnce is how many more accounts' tallies one commit writes than it counts,
	// and trimAtOnce how many rows of the log it removes.
	talliesAtOnce = 32
	trimAtOnce    = 500
	// loggedAMinute ends a minute early, if the clock was set back and it would not end.
	loggedAMinute = 100_000
)

// counting is the part of a transaction that counts.
type counting struct {
	minute  int64
	changes map[string]*store.Tally // by account
	written []writtenTally
	asked   int   // so many of the ended were written
	trimmed int64 // as in tallies
	erased  []string
}

// writtenTally is a row.
type writtenTally struct {
	account string
	minute  int64
	sum     *store.Tally
}

func (t *tallies) begin() counting {
	c := counting{minute: t.minute, changes: map[string]*store.Tally{}, trimmed: t.trimmed}
	if t.logged >= loggedAMinute {
		c.minute++
	}
	return c
}

// tally is what the transaction counts of an account.
func (tx *txn) tally(account string, now time.Time) *store.Tally {
	return tx.tallyAt(account, store.Minute(now))
}

func (tx *txn) tallyAt(account string, minute int64) *store.Tally {
	c := &tx.counting
	c.minute = max(c.minute, minute)
	t := c.changes[account]
	if t == nil {
		t = &store.Tally{}
		c.changes[account] = t
	}
	return t
}

// saveTallies logs what the transaction counts, writes some of what has ended, and
// removes that from the log.
func (tx *txn) saveTallies() error {
	if err := tx.logTallies(); err != nil || tx.w.store.cfg.Shared {
		return err
	}
	t, c := &tx.w.tallies, &tx.counting
	c.asked = min(len(t.ended), len(c.changes)+talliesAtOnce)
	for _, account := range t.ended[:c.asked] {
		if err := tx.writeTallies(account, t.accounts[account]); err != nil {
			return err
		}
	}
	if len(t.ended) > c.asked || t.trimmed >= t.minute {
		return nil
	}
	n, err := tx.changes(`DELETE FROM tally_log WHERE id < (SELECT max(id) FROM tally_log)
		AND id IN (SELECT id FROM tally_log WHERE minute < ? ORDER BY id LIMIT ?)`, t.minute, trimAtOnce)
	if n < trimAtOnce {
		c.trimmed = t.minute
	}
	return err
}

// logTallies writes one row, of the accounts one after the other.
func (tx *txn) logTallies() error {
	c := &tx.counting
	if len(c.changes) == 0 {
		return nil
	}
	b := make([]byte, 0, 64*len(c.changes))
	for account, change := range c.changes {
		b = appendLogged(b, account, change)
	}
	return tx.exec(`INSERT INTO tally_log (minute, changes) VALUES (?, ?)`, c.minute, b)
}

func appendLogged(b []byte, account string, change *store.Tally) []byte {
	b = binary.AppendUvarint(b, uint64(len(account)))
	b = append(b, account...)
	return change.Append(b)
}

// readLogged reads what appendLogged has written, of several accounts.
func readLogged(b []byte, visit func(account string, change *store.Tally)) error {
	for len(b) > 0 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return fmt.Errorf("the log of tallies: %w", store.ErrDamaged)
		}
		account := string(b[size : size+int(n)])
		change, rest, err := store.ReadTally(b[size+int(n):])
		if err != nil {
			return fmt.Errorf("the log of tallies: %w: %w", err, store.ErrDamaged)
		}
		visit(account, change)
		b = rest
	}
	return nil
}

// The last tally of an account up to a minute; nothing is written of one that is gone.
const (
	tallyUpTo = `SELECT minute, tally FROM tallies WHERE account_id = ? AND minute <= ? ORDER BY minute DESC LIMIT 1`
	putTally  = `INSERT OR REPLACE INTO tallies (account_id, minute, tally) SELECT ?1, ?2, ?3 WHERE ?1 = '` + store.Operations + `' OR EXISTS (SELECT 1 FROM accounts WHERE id = ?1)`
)

// writeTallies writes the rows of those minutes of an account that have ended.
func (tx *txn) writeTallies(account string, of *counted) error {
	sum, at := of.sum, of.at
	if sum == nil {
		var err error
		if at, sum, err = scanTally(func(dest ...any) error { return tx.row(tallyUpTo, []any{account, int64(1) << 62}, dest...) }); err != nil {
			return err
		}
	}
	for _, c := range of.changes {
		if c.minute >= tx.w.tallies.minute {
			break
		}
		if c.minute <= at {
			continue // from before the start, when it had been written already
		}
		sum = sum.Clone()
		sum.Add(c.change)
		if err := tx.exec(putTally, account, c.minute, sum.Append(nil)); err != nil {
			return err
		}
		if c.minute/minutesOfHour > at/minutesOfHour {
			if err := tx.thinTallies(account, c.minute); err != nil {
				return err
			}
		}
		at = c.minute
	}
	tx.counting.written = append(tx.counting.written, writtenTally{account, at, sum})
	return nil
}

// scanTally reads a row of tallyUpTo; none: nothing was counted.
func scanTally(scan func(...any) error) (minute int64, t *store.Tally, err error) {
	var b []byte
	err = scan(&minute, &b)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, sql.ErrNoRows):
		return -1, &store.Tally{}, nil
	case err != nil:
		return 0, nil, err
	}
	if t, _, err = store.ReadTally(b); err != nil {
		return 0, nil, fmt.Errorf("a tally: %w: %w", err, store.ErrDamaged)
	}
	return minute, t, nil
}

const (
	minutesOfHour = 60
	minutesKept   = 25 * minutesOfHour                   // each minute has a row so long,
	hoursKept     = 7*24*minutesOfHour + 2*minutesOfHour // and each hour
)

// thinTallies removes rows of an account that are not needed any more: of an hour all
// but the last, and of what is older than any question all but the last.
func (tx *txn) thinTallies(account string, minute int64) error {
	young := (minute - minutesKept) / minutesOfHour * minutesOfHour
	return errors.Join(
		tx.exec(`DELETE FROM tallies AS t WHERE account_id = ?1 AND minute >= ?2 AND minute < ?3
			AND EXISTS (SELECT 1 FROM tallies later WHERE later.account_id = ?1 AND later.minute > t.minute AND later.minute < (t.minute / 60 + 1) * 60)`,
			account, young-minutesKept, young),
		tx.exec(oldTallies, account, minute-hoursKept))
}

// oldTallies removes an account's rows from before a minute, but for the last.
const oldTallies = `DELETE FROM tallies WHERE account_id = ?1 AND minute < (SELECT max(minute) FROM tallies WHERE account_id = ?1 AND minute < ?2)`

// sweptAtOnce is how many accounts one sweep looks at for old tallies.
const sweptAtOnce = 10

// sweepTallies removes what is old of the accounts after the one that was looked at
// last. Nothing is counted of them any more, so that they do not thin themselves.
func (tx *txn) sweepTallies(now time.Time) error {
	w := tx.w
	for range sweptAtOnce {
		err := tx.row(`SELECT account_id FROM tallies WHERE account_id > ? ORDER BY account_id LIMIT 1`, []any{w.swept}, &w.swept)
		if errors.Is(err, store.ErrNotFound) {
			w.swept = ""
			return nil
		}
		if err == nil {
			err = tx.exec(oldTallies, w.swept, store.Minute(now)-hoursKept)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eraseTallies removes all that was counted of an account, in the log as well.
func (tx *txn) eraseTallies(account string) error {
	rows, err := tx.query(`SELECT id, changes FROM tally_log`)
	if err != nil {
		return err
	}
	type logged struct {
		id      int64
		changes []byte
	}
	all, err := collect(rows, func(r *sql.Rows) (l logged, err error) { return l, r.Scan(&l.id, &l.changes) })
	for _, l := range all {
		if err != nil || !bytes.Contains(l.changes, []byte(account)) {
			continue
		}
		left := make([]byte, 0, len(l.changes))
		err = readLogged(l.changes, func(of string, change *store.Tally) {
			if of != account {
				left = appendLogged(left, of, change)
			}
		})
		if err == nil {
			err = tx.exec(`UPDATE tally_log SET changes = ? WHERE id = ?`, left, l.id)
		}
	}
	delete(tx.counting.changes, account)
	tx.counting.erased = append(tx.counting.erased, account)
	return errors.Join(err, tx.exec(`DELETE FROM tallies WHERE account_id = ?`, account))
}

// apply is called by the writer alone, after the commit.
func (t *tallies) apply(c *counting) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range c.written {
		of := t.accounts[w.account]
		of.sum, of.at, of.ended = w.sum, w.minute, false
		of.changes = slices.DeleteFunc(of.changes, func(c minuteChange) bool { return c.minute <= w.minute })
		if len(of.changes) == 0 {
			delete(t.accounts, w.account)
		}
	}
	t.ended, t.trimmed = t.ended[c.asked:], c.trimmed
	if c.minute > t.minute {
		t.minute, t.logged = c.minute, 0
		t.end()
	}
	for account, change := range c.changes {
		if b, known := t.backlogs[account]; known {
			t.backlogs[account] = b.add(change)
		}
		t.change(account, c.minute, change)
	}
	if len(c.changes) > 0 {
		t.logged++
	}
	for _, account := range c.erased {
		delete(t.accounts, account)
		delete(t.backlogs, account)
		t.ended = slices.DeleteFunc(t.ended, func(ended string) bool { return ended == account })
	}
}

// end adds to the ended those that are not among them yet.
func (t *tallies) end() {
	for account, of := range t.accounts {
		if !of.ended {
			of.ended = true
			t.ended = append(t.ended, account)
		}
	}
}

func (t *tallies) change(account string, minute int64, change *store.Tally) {
	of := t.accounts[account]
	if of == nil {
		of = &counted{}
		t.accounts[account] = of
	}
	if n := len(of.changes); n > 0 && of.changes[n-1].minute == minute {
		of.changes[n-1].change.Add(change)
		return
	}
	of.changes = append(of.changes, minuteChange{minute, change})
}

// load reads the log anew.
func (t *tallies) load(conn *sql.Conn) (err error) {
	rows, err := conn.QueryContext(context.Background(), `SELECT minute, changes FROM tally_log ORDER BY id`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accounts, t.ended, t.minute, t.trimmed, t.logged = map[string]*counted{}, nil, 0, 0, 0
	t.backlogs = map[string]backlog{}
	for rows.Next() {
		var minute int64
		var b []byte
		if err := rows.Scan(&minute, &b); err != nil {
			return err
		}
		t.minute = max(t.minute, minute)
		if err := readLogged(b, func(account string, change *store.Tally) { t.change(account, minute, change) }); err != nil {
			return err
		}
	}
	t.end()
	return rows.Err()
}

// of copies what is counted of an account and may not be in its rows, and the present
// minute.
func (t *tallies) of(account string) (changes []minuteChange, minute int64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if of := t.accounts[account]; of != nil {
		for _, c := range of.changes {
			changes = append(changes, minuteChange{c.minute, c.change.Clone()})
		}
	}
	return changes, t.minute
}
