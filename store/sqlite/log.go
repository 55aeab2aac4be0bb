package sqlite

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// This file keeps the database intact when a sync fails and the power is cut
// later. After a failed sync the kernel marks pages as written that are not on
// the disk. The next sync does not report them, so they must be written again.
//
// In the database file, those are the pages of a checkpoint. The next
// checkpoint writes them again unless SQLite counts them as done. If a reader
// keeps a checkpoint from being complete, SQLite counts what it has done
// without a sync. So no checkpoint is made that would not be complete.
//
// In the log, those are the pages of a commit that failed. The next commit
// writes over them. If the process ends before that, the next process takes
// them for a commit like others. So each process begins by writing the whole
// log again.

const (
	// logPages is how many pages of the log go into the database with one
	// checkpoint: 4 MiB. What is accepted meanwhile waits for it: with 16 MiB the
	// callbacks' p99 at half load was twice as long.
	logPages = 1000
	// logBound times as many pages are too long a log. Then a checkpoint waits
	// for readers.
	logBound = 8
	// longLog is how many pages another program may keep the log from being
	// emptied without a warning: 64 MiB.
	longLog = 16384
	// readersWait is for how long, at most. A log twice as long waits twice as long for
	// our own readers, which all end: so it does not grow however slow they are.
	readersWait = 250 * time.Millisecond
)

var errReading = errors.New("a reader takes too long")

// boundLog writes the log into the database once it is long enough, at a moment
// without a reader. SQLite restarts the log at another such moment. Only if
// there was none for too long does boundLog wait for one.
func (w *writer) boundLog() {
	if w.damaged || w.store.cfg.Shared {
		return
	}
	pages, left, err := w.logLength()
	if err != nil || left < w.logLimit {
		return
	}
	mode, wait := "FULL", time.Duration(0)
	if bound := logBound * w.store.cfg.logPages; pages >= bound {
		mode, wait = "RESTART", readersWait*time.Duration(pages)/time.Duration(bound)
	}
	complete := w.store.readers.end(wait)
	if !complete && wait == 0 {
		return // after the next commit, perhaps
	}
	if err = errReading; complete {
		err = w.intoFile(mode, wait)
	}
	w.logLimit = w.store.cfg.logPages
	if err != nil {
		if _, left, failed := w.logLength(); failed == nil {
			w.logLimit += left
		}
		level := slog.LevelWarn
		if errors.Is(err, errReading) && pages < longLog {
			level = slog.LevelDebug // a backup, or a program that replicates the file
		}
		w.store.cfg.Logger.Log(context.Background(), level, "the write-ahead log could not be emptied yet", "path", w.store.cfg.Path, "pages", pages, "error", err)
	}
	if len(w.queue) == 0 && w.waiting.empty() {
		w.settle()
	}
}

// logLength is how many pages the log has, and how many of them are left to be written
// into the file.
func (w *writer) logLength() (pages, left int, err error) {
	var busy, done int
	err = w.conn.QueryRowContext(context.Background(), `PRAGMA wal_checkpoint(NOOP)`).Scan(&busy, &pages, &done)
	return pages, pages - done, err
}

// checkpoint is called when none of our readers would keep it from being
// complete. A mode beyond FULL also needs that nobody reads from the log: readers that
// begin when all is written do not.
func (w *writer) checkpoint(mode string, wait time.Duration) error {
	err := w.checkpointOnce("FULL")
	if err == nil && mode != "FULL" {
		w.store.readers.end(wait)
		err = w.checkpointOnce(mode)
	}
	return err
}

// checkpointOnce is interrupted if SQLite waits for a reader of another program, so that
// it does not go on with a part. Once it has written something it waits for none of those,
// and takes as long as the disk does: the longer the log, the longer.
func (w *writer) checkpointOnce(mode string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	before := changedAt(w.store.path)
	defer time.AfterFunc(readersWait, func() {
		if changedAt(w.store.path).Equal(before) {
			cancel()
		}
	}).Stop()
	var busy, pages, done int
	err := w.conn.QueryRowContext(ctx, `PRAGMA wal_checkpoint(`+mode+`)`).Scan(&busy, &pages, &done)
	if busy != 0 || ctx.Err() != nil {
		return errReading
	}
	return err
}

// changedAt is when a file was written to last; zero: it is not known.
func changedAt(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// readers are the reads under way, in the order in which they began.
type readers struct {
	mu   sync.Mutex
	last int64
	open map[int64]struct{}
}

func (r *readers) begin() (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	n := r.last
	r.open[n] = struct{}{}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.open, n)
	}
}

// end waits until all reads that began before have ended, and reports whether
// they have. Reads that begin later see the last commit.
func (r *readers) end(wait time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for last, deadline := r.last, time.Now().Add(wait); r.anyUntil(last); {
		if time.Now().After(deadline) {
			return false
		}
		r.mu.Unlock()
		time.Sleep(time.Millisecond)
		r.mu.Lock()
	}
	return true
}

func (r *readers) anyUntil(last int64) bool {
	for n := range r.open {
		if n <= last {
			return true
		}
	}
	return false
}

// rewrite writes a file as it is once more, and syncs it.
func rewrite(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	part := make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := f.ReadAt(part, at)
		if _, err := f.WriteAt(part[:n], at); err != nil {
			return err
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return f.Sync()
		}
		if err != nil {
			return err
		}
	}
}
