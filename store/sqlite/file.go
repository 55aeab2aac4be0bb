package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// claim looks whether the database is ours, and locks it.
func (s *Store) claim(ctx context.Context) (err error) {
	dir := filepath.Dir(s.cfg.Path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("the directory %s does not exist", dir)
	}
	if err := checkFile(s.cfg.Path, s.cfg.MustExist); err != nil {
		return err
	}
	// SQLite, too, looks for the log beside what a symbolic link leads to.
	if s.path, err = filepath.EvalSymlinks(s.cfg.Path); err != nil {
		return err
	}
	if s.cfg.Shared {
		return s.claimShared(ctx)
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(lockGap) {
		if err = s.takeLock(); err == nil {
			return s.checkLog(ctx)
		}
		if !errors.Is(err, errInUse) || time.Now().After(end) {
			return err
		}
	}
}

var errInUse = errors.New("is in use by another recapito process")

const (
	// lockWait is for longer than a command that provisions has the lock.
	lockWait = 500 * time.Millisecond
	lockGap  = 20 * time.Millisecond
)

// claimShared looks at the file with the lock, or beside a server, whose log is
// never empty.
func (s *Store) claimShared(ctx context.Context) (err error) {
	for end := time.Now().Add(lockWait); ; time.Sleep(lockGap) {
		if err = s.takeLock(); err == nil {
			defer s.dropLock()
			return s.checkLog(ctx)
		}
		if !errors.Is(err, errInUse) {
			return err
		}
		if log, err := os.Stat(s.path + "-wal"); err == nil && log.Size() > 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w by another name: use that one", errInUse)
		}
	}
}

func (s *Store) takeLock() (err error) {
	s.unlock, err = lockFile(s.path)
	return err
}

// checkFile refuses what is no database file that can be written, and makes a
// new one unless it must exist.
func checkFile(path string, mustExist bool) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && info.Size() == 0) {
		if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
			return errNoDatabase
		}
		if mustExist {
			return errNotMade
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		return f.Close()
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return errors.New("is a directory")
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	header := make([]byte, len(magic))
	_, err = f.Read(header)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if _, err := os.Stat(path + "-journal"); err == nil {
		return nil // a power cut during the first start; SQLite undoes it
	}
	if string(header) != magic {
		return errors.New("is not a SQLite database")
	}
	return nil
}

var errOthers = errors.New("is a SQLite database of another program")

var errNotMade = errors.New("there is no such store; recapito serve makes it at its first start")

// magic is how a database file begins.
const magic = "SQLite format 3\x00"

// checkOwner refuses databases that are not ours before anything is changed in
// them. It asks SQLite, which first undoes what a power cut has left. It makes
// the log of ours durable before it closes the file, when SQLite would use the
// log.
func (s *Store) checkOwner(ctx context.Context) (err error) {
	db, err := sql.Open("sqlite", s.cfg.dsn())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var id, tables int64
	err = db.QueryRowContext(ctx, `SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id`).Scan(&id, &tables)
	if err == nil && id != applicationID && (id != 0 || tables > 0) {
		err = errOthers
	}
	if err != nil {
		return err
	}
	return s.rewriteLog(ctx, db)
}

// rewriteLog writes the log again that an earlier process has left, see log.go.
func (s *Store) rewriteLog(ctx context.Context, db *sql.DB) (err error) {
	log := s.path + "-wal"
	if info, err := os.Stat(log); err != nil || info.Size() == 0 {
		return nil // nothing is left
	}
	if s.cfg.Shared {
		if s.takeLock() != nil {
			return nil // it belongs to the process that serves the file
		}
		defer s.dropLock()
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil { // nobody writes meanwhile
		return err
	}
	err = s.cfg.rewrite(log)
	_, undone := conn.ExecContext(ctx, `ROLLBACK`)
	return errors.Join(err, undone)
}

// dsn names the file with the pragmas of each of its connections. None makes
// checkpoints by itself, see log.go.
func (c *Config) dsn(pragmas ...string) string {
	q := url.Values{"_pragma": append([]string{"busy_timeout(5000)", "wal_autocheckpoint(0)"}, pragmas...)}
	if c.vfs != "" {
		q.Set("vfs", c.vfs)
	}
	return c.uri("mode=rw&" + q.Encode())
}

func (c *Config) uri(query string) string {
	return "file:" + (&url.URL{Path: c.Path}).EscapedPath() + "?" + query
}

func (s *Store) dropLock() {
	if s.unlock != nil {
		_ = s.unlock() // ends with the process in any case
		s.unlock = nil
	}
}

// plain puts the errors of SQLite that people meet into words.
func plain(err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "readonly"), strings.Contains(text, "permission denied"):
		return errors.New("cannot be written: permission denied")
	case strings.Contains(text, "not a database"):
		return errors.New("is not a SQLite database")
	case strings.Contains(text, "malformed"), strings.Contains(text, "(11)"):
		return fmt.Errorf("is damaged: restore a backup (SQLite says: %w)", err)
	}
	return err
}
