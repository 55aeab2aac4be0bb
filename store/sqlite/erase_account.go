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

// eraseGap is how long an erasure that failed waits before it goes on.
const eraseGap = time.Second

// DeleteAccount implements [store.Accounts]. The account itself is erased with
// the last of its deliveries. Once it has begun it goes on without its caller,
// and after a restart. When it returns, SQLite has overwritten what it erased
// (secure_delete), and the log, which held it too, is empty.
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

// beginErasing locks the account out and marks it.
func (tx *txn) beginErasing(id string) error {
	if err := tx.mustHaveAccount(id); err != nil {
		var begun bool
		if failed := tx.row(`SELECT EXISTS (SELECT 1 FROM erasing WHERE account_id = ?)`, []any{id}, &begun); failed != nil || begun {
			return failed // only the log is left to be emptied
		}
		return err
	}
	tx.setWebhook(id, nil)
	return errors.Join(tx.lockOut(id), tx.exec(`INSERT INTO erasing (account_id) VALUES (?) ON CONFLICT DO NOTHING`, id))
}

// resumeErasing goes on with what an earlier process has begun.
func (s *Store) resumeErasing() error {
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

// goOnErasing erases until it is done or the store is closed. It tells how the
// first try ended.
func (s *Store) goOnErasing(id string, first chan<- error) {
	s.erasing.Lock()
	defer s.erasing.Unlock()
	if s.isClosed() {
		return // the next process goes on
	}
	s.erasers.Go(func() {
		for {
			err := s.eraseAccount(id)
			select {
			case first <- err:
			default:
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
		err = s.w.submit(&operation{ctx: ctx, rows: 1, run: func(*txn) error { return nil }, after: s.w.emptyLog})
	}
	if err == nil {
		err = s.w.do(ctx, func(tx *txn) error { return tx.exec(`DELETE FROM erasing WHERE account_id = ?`, id) })
	}
	return err
}

// eraseSome erases deliveries of an account that is marked, and with the last
// ones the account. Less than eraseRows: these were the last.
func (tx *txn) eraseSome(id string) (int, error) {
	var marked bool
	if err := tx.row(`SELECT EXISTS (SELECT 1 FROM erasing WHERE account_id = ?)`, []any{id}, &marked); err != nil || !marked {
		return 0, err // it is done, or the account was made anew
	}
	seqs, err := tx.deliveriesOf(id, eraseRows)
	if err != nil {
		return 0, err
	}
	if _, err := tx.erase(seqs); err != nil || len(seqs) == eraseRows {
		return len(seqs), err
	}
	// Keys and a webhook may have been made in between.
	if _, err := tx.webhook(id); !errors.Is(err, store.ErrNotFound) {
		tx.setWebhook(id, nil)
	}
	return len(seqs), errors.Join(tx.lockOut(id), tx.exec(`DELETE FROM accounts WHERE id = ?`, id))
}

// emptyLog brings all of the log into the file and cuts it off.
func (w *writer) emptyLog() error {
	if !w.store.readers.end(readersWait) {
		return errReading
	}
	if err := w.checkpoint("TRUNCATE"); err != nil {
		return err
	}
	w.logLimit = w.store.cfg.logPages
	err := w.needLog()
	w.settle()
	return err
}
