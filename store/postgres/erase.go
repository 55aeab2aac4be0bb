package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// eraseRows bounds what one transaction erases, so that others' writes never wait for
// long.
const eraseRows = 1000

// eraseGap is how long an erasure that failed waits before it goes on.
const eraseGap = time.Second

// DeleteAccount implements [store.Accounts]. Its node erases, when all nodes know that
// the account is gone. The rows are gone when it returns. The server overwrites the room
// that they had in the files when it needs it, after a vacuum; its write-ahead log has
// them until that is recycled.
func (s *Store) DeleteAccount(ctx context.Context, id string) error {
	no, err := write(ctx, s.w, func(tx *txn) (int64, error) {
		tx.then(s.resumeErasing)
		return tx.beginErasing(id)
	})
	if err != nil {
		return err
	}
	for {
		var erasing bool
		err := s.one(ctx, `SELECT EXISTS (SELECT FROM erasing WHERE account = $1)`, []any{no}, &erasing)
		if err != nil || !erasing {
			return err
		}
		select {
		case <-time.After(settleGap):
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closed:
			return store.ErrClosed
		}
	}
}

// beginErasing removes the account, its keys and its webhook, and marks what is left
// of it. It returns the account's number.
func (tx *txn) beginErasing(id string) (no int64, err error) {
	err = tx.row(`DELETE FROM accounts WHERE id = $1 AND no > 0 RETURNING no`, []any{id}, &no)
	if errors.Is(err, store.ErrNotFound) {
		err := tx.row(`SELECT account FROM erasing WHERE id = $1 ORDER BY account DESC LIMIT 1`, []any{id}, &no)
		return no, err // it has begun before, or there is none
	}
	if err != nil {
		return 0, err
	}
	for _, statement := range [...]string{`DELETE FROM api_keys WHERE account = $1`, `DELETE FROM old_secrets WHERE account = $1`, `DELETE FROM webhooks WHERE account = $1`,
		`DELETE FROM health_changes WHERE account = $1`, `DELETE FROM notices WHERE account = $1`, `DELETE FROM failing_endpoints WHERE account = $1`, `DELETE FROM replays WHERE account = $1`} {
		if _, err := tx.exec(statement, no); err != nil {
			return 0, err
		}
	}
	tx.keysChanged = true
	tx.setRegistration(&registration{account: id, no: no})
	tx.note(id, accountErased, time.Time{})
	_, err = tx.exec(`INSERT INTO erasing (account, id) VALUES ($1, $2)`, no, id) // saveNotes adds the number
	return no, err
}

// resumeErasing goes on with what has begun, of the accounts of this node.
func (s *Store) resumeErasing() {
	s.erasing.Lock()
	defer s.erasing.Unlock()
	if s.isClosed() || s.cfg.Shared {
		return
	}
	if s.again.Store(true); s.eraserRuns {
		return
	}
	s.eraserRuns = true
	s.erasers.Go(s.eraseAll)
}

// eraseAll erases until nothing is left of what this node has to erase, or the store is
// closed.
func (s *Store) eraseAll() {
	for {
		for s.again.Swap(false) {
			if err := s.erasePass(context.Background()); err != nil {
				s.again.Store(true)
				select {
				case <-time.After(eraseGap):
				case <-s.closed:
					return
				}
			}
		}
		s.erasing.Lock()
		if !s.again.Load() || s.isClosed() {
			s.eraserRuns = false
			s.erasing.Unlock()
			return
		}
		s.erasing.Unlock()
	}
}

func (s *Store) erasePass(ctx context.Context) error {
	type erased struct {
		no, change int64
		id         string
	}
	list, err := all(ctx, s, func(row pgx.CollectableRow) (e erased, err error) {
		return e, row.Scan(&e.no, &e.id, &e.change)
	}, `SELECT account, id, change FROM erasing`)
	for _, e := range list {
		if !s.attends(e.id) {
			continue
		}
		if err = errors.Join(err, s.settle(ctx, e.change)); err == nil {
			err = s.eraseAccount(e.no, e.id)
		}
	}
	return err
}

func (s *Store) eraseAccount(no int64, id string) (err error) {
	ctx := context.Background()
	for n := eraseRows; err == nil && n == eraseRows; {
		n, err = write(ctx, s.w, func(tx *txn) (int, error) {
			if !tx.mine(id) {
				return 0, store.ErrNotFound
			}
			seqs, err := tx.numbers(`SELECT seq FROM deliveries WHERE account = $1 ORDER BY seq LIMIT $2`, no, eraseRows)
			if err != nil || len(seqs) == 0 {
				return 0, err
			}
			return tx.erase(seqs)
		})
	}
	if err == nil {
		err = s.w.do(ctx, func(tx *txn) error {
			if _, err := tx.exec(`DELETE FROM tallies WHERE account = $1`, no); err != nil {
				return err
			}
			_, err := tx.exec(`DELETE FROM erasing WHERE account = $1`, no)
			return err
		})
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil // it is another node's by now, which goes on
	}
	return err
}
