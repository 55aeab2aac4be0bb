package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// open makes the writer's connection, asserts that its commits are durable, and
// reads what the writer keeps in memory.
func (w *writer) open() (err error) {
	ctx := context.Background()
	db, err := sql.Open("sqlite", w.store.cfg.dsn("journal_mode(WAL)", "synchronous(FULL)",
		"cache_size(-16384)", "journal_size_limit(67108864)", "temp_store(2)", "secure_delete(1)"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	w.db, w.conn, w.stmts = db, conn, map[string]*sql.Stmt{}
	t := &totals{}
	var sum sql.NullInt64
	var newest int64
	err = w.assertDurable(ctx)
	if err == nil {
		err = conn.QueryRowContext(ctx, `SELECT checksum, coalesce((SELECT max(seq) FROM deliveries), 0), last_seq, listed, pending, delivered, failed, cancelled, log_needed FROM totals`).
			Scan(&sum, &newest, &t.lastSeq, &t.listed, &t.count[pending], &t.count[delivered], &t.count[failed], &t.count[cancelled], &t.logNeeded)
	}
	if err == nil {
		err = t.check(sum, newest)
	}
	if err == nil {
		err = w.loadTail(t)
	}
	if err == nil {
		err = w.tallies.load(conn)
	}
	if err != nil {
		return errors.Join(err, w.closeConn())
	}
	w.store.cache.clear()
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

// rollback undoes a transaction that was not committed. If that fails, the
// connection is opened anew.
func (w *writer) rollback() {
	_, err := w.conn.ExecContext(context.Background(), `ROLLBACK`)
	var one int
	// After some errors SQLite has rolled back by itself and says that there is
	// no transaction. A query shows whether the connection still works.
	if err != nil && w.conn.QueryRowContext(context.Background(), `SELECT count(*) FROM totals`).Scan(&one) != nil {
		w.damaged = true
	}
}

// reopen replaces the connection after a failure and reads everything anew. The
// listener must do the same with the accounts of a commit in doubt.
func (w *writer) reopen() error {
	_ = w.closeConn() // it has failed before
	if err := w.open(); err != nil {
		return err
	}
	if l := w.listener.Load(); l != nil && len(w.doubt) > 0 {
		(*l).Uncertain(w.doubt)
	}
	w.doubt = nil
	return nil
}
