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

// What is here keeps the file whole when a sync fails and the power goes later.
// After a sync that failed the kernel takes pages for written that are not on
// the disk, and the next sync says nothing about them: they must be written
// again.
//
// Of the database file, those are the pages of a checkpoint. The next one writes
// them again unless SQLite counts them as done; and where a reader keeps a
// checkpoint from being complete, it counts what it has done without a sync. So
// none is made that would not be complete.
//
// Of the log, those are the pages of a commit that failed. The next commit
// writes over them; but if the process ends before, the next one takes them for
// a commit like others. So it begins by writing all of the log again.

const (
	// logPages is how many pages of the log go into the database with one
	// checkpoint: 4 MiB. What is accepted meanwhile waits for it: with 16 MiB the
	// callbacks' p99 at half load was twice as long.
	logPages = 1000
	// logBound is how many times as many are too long a log: then readers are
	// waited for.
	logBound = 8
	// longLog is how many pages another program may keep the log from being
	// emptied without a warning: 64 MiB.
	longLog = 16384
	// readersWait is for how long, at most.
	readersWait = 250 * time.Millisecond
)

var errReading = errors.New("a reader takes too long")

// boundLog brings the log into the database once it is long enough, in a moment
// without a reader; SQLite begins it anew in another. Only when there was none
// for too long does it wait for one.
func (w *writer) boundLog() {
	if w.damaged || w.store.cfg.Shared {
		return
	}
	var busy, pages, done int
	err := w.conn.QueryRowContext(context.Background(), `PRAGMA wal_checkpoint(NOOP)`).Scan(&busy, &pages, &done)
	if err != nil || pages-done < w.logLimit {
		return
	}
	mode, wait := "FULL", time.Duration(0)
	if pages >= logBound*w.store.cfg.logPages {
		mode, wait = "RESTART", readersWait
	}
	complete := w.store.readers.end(wait)
	if !complete && wait == 0 {
		return // after the next commit, perhaps
	}
	if err = errReading; complete {
		err = w.intoFile(mode)
	}
	w.logLimit = w.store.cfg.logPages
	if err != nil {
		w.logLimit += pages - done
		level := slog.LevelWarn
		if errors.Is(err, errReading) && pages < longLog {
			level = slog.LevelDebug // a backup, or a program that replicates the file
		}
		w.store.cfg.Logger.Log(context.Background(), level, "the write-ahead log could not be emptied yet", "path", w.store.cfg.Path, "pages", pages, "error", err)
	}
	if len(w.queue) == 0 {
		w.settle()
	}
}

// checkpoint is called when none of our readers would keep it from being
// complete. Another program may: SQLite waits for it, and is then interrupted,
// lest it go on with a part.
func (w *writer) checkpoint(mode string) error {
	ctx, cancel := context.WithTimeout(context.Background(), readersWait)
	defer cancel()
	var busy, pages, done int
	err := w.conn.QueryRowContext(ctx, `PRAGMA wal_checkpoint(`+mode+`)`).Scan(&busy, &pages, &done)
	if busy != 0 || ctx.Err() != nil {
		return errReading
	}
	return err
}

// readers are the reads under way, by the order in which they began.
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

// end waits for the end of all that have begun before, and reports whether it
// has come. Those that begin later see the last commit.
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
