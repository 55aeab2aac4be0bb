package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks our files: "RCPT".
const applicationID = 0x52435054

// claim looks whether the database is ours, and takes the lock file.
func (s *Store) claim() error {
	dir := filepath.Dir(s.cfg.Path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("the directory %s does not exist", dir)
	}
	if err := checkFile(s.cfg.Path); err != nil || s.cfg.Shared {
		return err
	}
	return s.takeLock()
}

var errInUse = errors.New("is in use by another recapito process")

func (s *Store) takeLock() error {
	lock := flock.New(s.cfg.Path + ".lock")
	locked, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("cannot be locked: %w", err)
	}
	if !locked {
		return errInUse
	}
	s.lock = lock
	return nil
}

// checkFile refuses what is no database file that can be written, and makes a
// new one.
func checkFile(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && info.Size() == 0) {
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

// magic is how a database file begins.
const magic = "SQLite format 3\x00"

// checkOwner refuses databases that are not ours before anything is changed in
// them. It asks SQLite, which first undoes what a power cut has left. Of ours it
// makes the log durable, before closing it has SQLite build on it.
func (s *Store) checkOwner(ctx context.Context) (err error) {
	db, err := sql.Open("sqlite", s.cfg.dsn())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var id, tables int64
	err = db.QueryRowContext(ctx, `SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id`).Scan(&id, &tables)
	if err == nil && id != applicationID && (id != 0 || tables > 0) {
		err = errors.New("is a SQLite database of another program")
	}
	if err != nil {
		return err
	}
	return s.rewriteLog(ctx, db)
}

// rewriteLog writes the log again that an earlier process has left, see log.go.
func (s *Store) rewriteLog(ctx context.Context, db *sql.DB) (err error) {
	log := s.cfg.Path + "-wal"
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
	return "file:" + (&url.URL{Path: c.Path}).EscapedPath() + "?" + q.Encode()
}

// migrate brings the schema up to date. It does not change it under a process
// that serves the file.
func (s *Store) migrate(ctx context.Context) (err error) {
	if err := s.checkOwner(ctx); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", s.cfg.dsn("journal_mode(WAL)", "synchronous(FULL)", fmt.Sprintf("application_id(%d)", applicationID)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	has, known, err := provider.GetVersions(ctx)
	switch {
	case err != nil:
		return err
	case has > known:
		return fmt.Errorf("was written by a newer recapito (schema %d; this one knows %d)", has, known)
	case has == known:
		return nil
	}
	if s.cfg.Shared {
		if err := s.takeLock(); err != nil {
			return fmt.Errorf("has to be brought up to date first: %w", err)
		}
		defer s.dropLock()
	}
	_, err = provider.Up(ctx)
	return err
}

func (s *Store) dropLock() {
	if s.lock != nil {
		_ = s.lock.Unlock() // ends with the process in any case
		s.lock = nil
	}
}

// plain words the errors of SQLite that people meet.
func plain(err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "readonly"), strings.Contains(text, "permission denied"):
		return errors.New("cannot be written: permission denied")
	case strings.Contains(text, "not a database"):
		return errors.New("is not a SQLite database")
	}
	return err
}
