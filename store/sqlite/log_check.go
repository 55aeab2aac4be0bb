package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"time"
)

// This file refuses a database file whose write-ahead log is not its own.
// SQLite itself accepts any log that has the right name, or none.
//
// The row of totals counts the commits. A log that was begun after commit n
// brings the row with n+1 first: so the file must have seen commit n. And it may
// have seen no more commits than the log has. A file that is no WAL database
// (what VACUUM INTO makes is none) has no log at all.
//
// A file whose log is missing cannot count what it lacks. So before the log goes
// into the file with a checkpoint, the row says in it that the log is needed; and
// the next commit, in the log, that it is not. Read with its log, or after another
// program has put all of the log into it, the file says so no more.

var (
	errNoLog      = errors.New("was not closed, and its log (the file with -wal behind its name) is missing, empty or damaged: put the log back, or restore a backup")
	errOtherLog   = errors.New("lies beside the log (the file with -wal behind its name) of another database file, perhaps of the one that was here before: move that log away, and the file with -shm")
	errNoDatabase = errors.New("is missing, but its log (the file with -wal behind its name) is there: put the database file back, or move the log away to begin anew")
)

// checkLog is called before SQLite opens the file, while nobody serves it.
func (s *Store) checkLog(ctx context.Context) error {
	if _, err := os.Stat(s.path + "-journal"); err == nil {
		return nil // a power cut during the first start; SQLite undoes it
	}
	l, err := readLog(s.path + "-wal")
	if err != nil {
		return err
	}
	alone, err := s.readAlone(ctx)
	switch {
	case err != nil && l == nil:
		return err
	case err != nil || alone == nil:
		return nil // while a checkpoint is made, the file alone may be anything
	case l == nil && alone.logNeeded && alone.wal:
		return errNoLog
	case l == nil, alone.commits == 0: // the tables are being made
		return nil
	}
	run := l.runOf(alone)
	if run.other || (run.frames > 0 && !alone.wal) || (run.rows > 0 && (alone.commits < run.first-1 || alone.commits > run.last)) {
		return errOtherLog
	}
	return nil
}

// aloneFile is what a database file contains without its log.
type aloneFile struct {
	wal        bool
	pageSize   int
	totalsPage int64
	commits    int64
	logNeeded  bool
}

// readAlone is nil for what is no store of ours yet.
func (s *Store) readAlone(ctx context.Context) (_ *aloneFile, err error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	header := make([]byte, 100)
	_, err = io.ReadFull(f, header)
	if closed := f.Close(); err != nil || closed != nil {
		return nil, closed // an empty one
	}
	alone := &aloneFile{wal: header[18] == 2}
	db, err := sql.Open("sqlite", s.cfg.uri("immutable=1&mode=ro"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var known int
	err = db.QueryRowContext(ctx, `SELECT rootpage, (SELECT page_size FROM pragma_page_size),
		(SELECT count(*) FROM pragma_table_info('totals') WHERE name = 'log_needed')
		FROM sqlite_schema WHERE name = 'totals' AND type = 'table'`).Scan(&alone.totalsPage, &alone.pageSize, &known)
	if errors.Is(err, sql.ErrNoRows) || (err == nil && known == 0) {
		return nil, nil
	}
	if err == nil {
		err = db.QueryRowContext(ctx, `SELECT commits, log_needed FROM totals`).Scan(&alone.commits, &alone.logNeeded)
	}
	return alone, err
}

// serve is what a server does before the first operation.
func (w *writer) serve() (err error) {
	if err := w.needLog(); err != nil {
		return err
	}
	w.settle()
	w.files, err = watchFiles(w.store.path)
	return err
}

// needLog marks the file as one that needs its log, before a commit is
// acknowledged that is only in the log. It cannot while another program reads.
// A log that goes missing before the next checkpoint is then not noticed.
func (w *writer) needLog() error {
	if err := w.intoFile("FULL", 0); err != nil && !errors.Is(err, errReading) {
		return err
	}
	return nil
}

// intoFile writes the log into the file, and marks the file as one that needs
// its log, see log_check.go.
func (w *writer) intoFile(mode string, wait time.Duration) error {
	if err := w.alone(func(tx *txn) { tx.totals.logNeeded = true }); err != nil {
		return err
	}
	return w.checkpoint(mode, wait)
}

// settle marks, in the log, that the file lacks nothing, unless another commit
// has done it.
func (w *writer) settle() {
	if w.totals.Load().logNeeded && !w.store.cfg.Shared {
		_ = w.alone(func(*txn) {}) // else the next one does it
	}
}

// alone does one operation of the writer's own.
func (w *writer) alone(run func(*txn)) error {
	tx, err := w.transact([]*operation{{ctx: context.Background(), run: func(tx *txn) error {
		run(tx)
		return nil
	}}})
	if err == nil {
		w.publish(tx)
	}
	w.report(err)
	return err
}
