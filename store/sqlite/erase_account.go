package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/recapito/recapito/store"
)

// eraseRows bounds what one transaction erases, so that the writer is never
// held for long.
const eraseRows = 1000

// eraseGap is how long an erasure that failed waits before it goes on. Its caller
// waits for so many tries at most, if readers keep the log from being emptied.
const (
	eraseGap   = time.Second
	eraseTries = 15
)

// DeleteAccount implements [store.Accounts]. When it returns, SQLite has
// overwritten what it erased (secure_delete), and the log, which held it too, is
// empty.
func (s *Store) DeleteAccount(ctx context.Context, id string) error {
	first := make(chan error, 1)
	goOn := func() error { s.goOnErasing(id, first); return nil }
	err := s.w.submit(&operation{ctx: ctx, rows: 1, after: goOn, run: func(tx *txn) error { return tx.beginErasing(id) }})
	if err != nil {
		return err
	}
	select {
	case err := <-first:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		return store.ErrClosed
	}
}

// beginErasing removes the account, its keys and its webhook, and marks what is
// left of it.
func (tx *txn) beginErasing(id string) error {
	if erasing, err := tx.isErasing(id); err != nil || erasing {
		return err
	}
	if err := tx.mustHaveAccount(id); err != nil {
		return err
	}
	tx.setWebhook(id, nil)
	return errors.Join(tx.lockOut(id), tx.exec(`DELETE FROM accounts WHERE id = ?`, id), tx.exec(`DELETE FROM replays WHERE account_id = ?`, id), tx.exec(`INSERT INTO erasing (account_id) VALUES (?)`, id))
}

// isErasing tells whether something of an erased account is left.
func (tx *txn) isErasing(id string) (left bool, err error) {
	err = tx.row(`SELECT EXISTS (SELECT 1 FROM erasing WHERE account_id = ?)`, []any{id}, &left)
	return left, err
}

// resumeErasing goes on with what has begun, in an earlier process as well.
func (s *Store) resumeErasing() error {
	if s.cfg.Shared {
		return nil
	}
	rows, err := s.read.Query(`SELECT account_id FROM erasing`)
	if err != nil {
		return err
	}
	accounts, err := collect(rows, func(r *sql.Rows) (id string, err error) { return id, r.Scan(&id) })
	for _, id := range accounts {
		s.goOnErasing(id, make(chan error, 1))
	}
	return err
}

// goOnErasing erases until it is done or the store is closed. It tells how that
// ended, or failed at first. That readers were in the way is told late: on a busy
// machine they soon are no more.
func (s *Store) goOnErasing(id string, first chan<- error) {
	s.erasing.Lock()
	defer s.erasing.Unlock()
	if s.isClosed() {
		return // the next process goes on
	}
	s.erasers.Go(func() {
		for try := 1; ; try++ {
			err := s.eraseAccount(id)
			if !errors.Is(err, errReading) || try >= eraseTries {
				select {
				case first <- err:
				default:
				}
			}
			if err == nil {
				return
			}
			select {
			case <-time.After(eraseGap):
			case <-s.closed:
				return
			}
		}
	})
}

func (s *Store) eraseAccount(id string) (err error) {
	ctx := context.Background()
	for n := eraseRows; err == nil && n == eraseRows; {
		n, err = write(ctx, s.w, eraseRows, func(tx *txn) (int, error) { return tx.eraseSome(id) })
	}
	if err == nil {
		err = s.w.submit(&operation{ctx: ctx, rows: 1, run: func(tx *txn) error { return tx.eraseTallies(id) }, after: s.w.emptyLog})
	}
	if err == nil {
		err = s.w.do(ctx, func(tx *txn) error { return tx.exec(`DELETE FROM erasing WHERE account_id = ?`, id) })
	}
	return err
}

// eraseSome erases deliveries of an account that is marked. Less than eraseRows:
// these were the last.
func (tx *txn) eraseSome(id string) (int, error) {
	if erasing, err := tx.isErasing(id); err != nil || !erasing {
		return 0, err // another caller's erasure has ended, and the account may be made anew
	}
	seqs, err := tx.deliveriesOf(id, eraseRows)
	if err != nil {
		return 0, err
	}
	_, err = tx.erase(seqs)
	return len(seqs), err
}

// emptyLog brings all of the log into the file and cuts it off.
func (w *writer) emptyLog() error {
	if !w.store.readers.end(readersWait) {
		return errReading
	}
	if err := w.checkpoint("TRUNCATE", readersWait); err != nil {
		return err
	}
	w.logLimit = w.store.cfg.logPages
	err := w.needLog()
	w.settle()
	return err
}
