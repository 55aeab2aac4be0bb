package sqlite

import (
	"context"
	"errors"
)

// change is what a transaction changes in the tail, once it is committed.
type change struct {
	added  []added
	left   map[int64]struct{} // not fresh any more
	erased []int64
	// entered, with the accounts that are done, as from tail.batch
	entered  []int64
	accounts int
}

type added struct {
	account  string
	accepted int64
	size     int32 // of the payload
}

// apply is called by the writer alone, after the commit.
func (t *tail) apply(c *change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range c.added {
		t.add(a.account, a.accepted, a.size, true)
	}
	for seq := range c.left {
		if e := t.at(seq); e != nil {
			e.fresh = false
		}
	}
	for _, seq := range c.erased {
		if e := t.at(seq); e != nil {
			e.gone = true
		}
	}
	if c.accounts > 0 || len(c.entered) > 0 {
		t.entered(c.entered, c.accounts)
	}
	t.freeze()
}

// isFresh reports whether, at this point of the transaction, a delivery is in
// the tail, PENDING and never put off.
func (tx *txn) isFresh(seq int64) bool {
	if _, left := tx.left[seq]; left {
		return false
	}
	return tx.w.tail.isFresh(seq) || (seq >= tx.w.tail.next() && seq <= tx.totals.lastSeq)
}

// freshOf lists such deliveries of an account.
func (tx *txn) freshOf(account string, limit int) (seqs []int64) {
	for _, seq := range tx.w.tail.fresh(account, 0, len(tx.w.tail.entries)) {
		if len(seqs) < limit && tx.isFresh(seq) {
			seqs = append(seqs, seq)
		}
	}
	for i, a := range tx.added {
		if seq := tx.w.tail.next() + int64(i); a.account == account && len(seqs) < limit && tx.isFresh(seq) {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// leave takes a delivery out of the fresh ones of the tail.
func (tx *txn) leave(seq int64) { tx.left[seq] = struct{}{} }

// sizeOf is the account of one that isFresh, and how long its payload is.
func (tx *txn) sizeOf(fresh int64) (account string, size int64) {
	if e := tx.w.tail.at(fresh); e != nil {
		return e.account, int64(e.size)
	}
	a := &tx.added[fresh-tx.w.tail.next()]
	return a.account, int64(a.size)
}

// enterShare is the least part of a full tail that a transaction enters. A
// transaction that adds many enters twice as many as it adds, so that the tail
// does not grow beyond its size.
const enterShare = 64

// enter puts a part of the tail into the tables that begin with the account.
func (tx *txn) enter() error {
	t := tx.w.tail
	if len(t.full) == 0 || tx.w.store.cfg.Shared {
		return nil
	}
	erased := make(map[int64]struct{}, len(tx.erased))
	for _, seq := range tx.erased {
		erased[seq] = struct{}{}
	}
	tx.entered, tx.accounts = t.batch(max(t.size/enterShare, 2*len(tx.added), 1))
	var listed, waiting []any
	for _, seq := range tx.entered {
		e := t.at(seq)
		if _, is := erased[seq]; is {
			continue
		}
		listed = append(listed, e.account, e.accepted, seq)
		if tx.isFresh(seq) {
			waiting = append(waiting, e.account, seq)
		}
	}
	if tx.accounts == len(t.full) {
		tx.totals.listed = t.fullTo
	}
	return errors.Join(
		bulk(len(listed)/3, func(from, to int) error {
			return tx.exec(text(`INSERT INTO listed (account_id, accepted_at, seq) VALUES %s ON CONFLICT DO NOTHING`, `(?, ?, ?)`, to-from), listed[3*from:3*to]...)
		}),
		bulk(len(waiting)/2, func(from, to int) error {
			return tx.exec(text(`INSERT INTO waiting (account_id, due_at, seq) VALUES %s ON CONFLICT DO NOTHING`, `(?, 0, ?)`, to-from), waiting[2*from:2*to]...)
		}))
}

// loadTail reads the tail at the start, or after a commit whose outcome is
// unknown. It does not enter again what has been entered: otherwise a process
// that is always killed before the end would never finish.
func (w *writer) loadTail(t *totals) (err error) {
	tail := newTail(w.tail.size, t.listed+1)
	rows, err := w.conn.QueryContext(context.Background(), `SELECT d.seq, d.account_id, d.accepted_at, length(d.payload),
		NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.seq = d.seq AND o.ended_at > 0) AND NOT EXISTS (SELECT 1 FROM waiting w WHERE w.seq = d.seq),
		EXISTS (SELECT 1 FROM listed l WHERE l.account_id = d.account_id AND l.accepted_at = d.accepted_at AND l.seq = d.seq)
		FROM deliveries d WHERE d.seq > ? ORDER BY d.seq`, t.listed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var seq, accepted int64
		var account string
		var size int32
		var fresh, entered bool
		if err := rows.Scan(&seq, &account, &accepted, &size, &fresh, &entered); err != nil {
			return err
		}
		tail.fill(seq)
		if !entered {
			tail.add(account, accepted, size, fresh)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	tail.fill(t.lastSeq + 1)
	tail.freeze()
	w.tail.mu.Lock()
	defer w.tail.mu.Unlock()
	w.tail.first, w.tail.entries, w.tail.accounts, w.tail.full, w.tail.fullTo = tail.first, tail.entries, tail.accounts, tail.full, tail.fullTo
	return err
}
