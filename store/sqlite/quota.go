package sqlite

import (
	"errors"

	"github.com/recapito/recapito/store"
)

// backlog is what waits of an account, as of the last commit.
type backlog struct{ events, bytes int64 }

func (b backlog) add(t *store.Tally) backlog {
	return backlog{b.events + t.Pending(), b.bytes + t.PendingBytes()}
}

// backlogOf is what waits of an account at this point of the transaction.
func (tx *txn) backlogOf(account string) (backlog, error) {
	t := &tx.w.tallies
	b, known := t.backlogs[account]
	if !known {
		at, sum, err := scanTally(func(dest ...any) error { return tx.row(tallyUpTo, []any{account, int64(1) << 62}, dest...) })
		if err != nil {
			return b, err
		}
		b = b.add(sum)
		if of := t.accounts[account]; of != nil {
			for _, c := range of.changes {
				if c.minute > at {
					b = b.add(c.change)
				}
			}
		}
		put(t.backlogs, account, b)
	}
	if change := tx.counting.changes[account]; change != nil {
		b = b.add(change)
	}
	return b, nil
}

// divideByRoom divides what is to be stored: the events of accounts whose quota holds all
// of theirs, and the others.
func (tx *txn) divideByRoom(todo []candidate) (roomy, tight []candidate, err error) {
	quota := tx.w.store.cfg.Quota
	if quota == (store.Quota{}) {
		return todo, nil, nil
	}
	more := make(map[string]backlog, 1)
	for i := range todo {
		b := more[todo[i].AccountID]
		more[todo[i].AccountID] = backlog{b.events + 1, b.bytes + int64(len(todo[i].Payload))}
	}
	full := map[string]bool{}
	for account, m := range more {
		b, err := tx.backlogOf(account)
		if err != nil {
			return nil, nil, err
		}
		full[account] = !quota.Holds(b.events+m.events, b.bytes+m.bytes)
	}
	roomy = todo[:0] // in place
	for _, c := range todo {
		if full[c.AccountID] {
			tight = append(tight, c)
		} else {
			roomy = append(roomy, c)
		}
	}
	return roomy, tight, nil
}

// ifRoom stores one event if its account's quota holds it, and adds it to a batch. One
// that is known is told as such.
func (tx *txn) ifRoom(batch []store.Acceptance, one []candidate) ([]store.Acceptance, error) {
	c := &one[0]
	b, err := tx.backlogOf(c.AccountID)
	if err != nil {
		return batch, err
	}
	if tx.w.store.cfg.Quota.Holds(b.events+1, b.bytes+int64(len(c.Payload))) {
		return tx.chunk(batch, one)
	}
	if *c.verdict, err = tx.whyKnown(c.Event); errors.Is(err, store.ErrNotFound) {
		*c.verdict, err = store.OverQuota, nil
	}
	return batch, err
}
