package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/recapito/recapito/store"
)

// Copied describes a backup.
type Copied struct {
	Deliveries, Pending int64
	Damaged             int       // deliveries whose payload is damaged, and so was in the store
	Newest              time.Time // when the newest event was accepted; zero: there is none
	// WithoutLog says that the copy was made of a file whose log is missing, so
	// that what was accepted last is not in it.
	WithoutLog bool
}

// Backup copies the database file at path, which may be served meanwhile, to a
// new file, as it is at one moment, and checks the copy. Its errors are for
// people.
func Backup(ctx context.Context, path, to string) (c Copied, err error) {
	switch _, err := os.Lstat(to); {
	case err == nil:
		return c, fmt.Errorf("%s: exists already, and is not overwritten", to)
	case !errors.Is(err, fs.ErrNotExist):
		return c, err
	}
	s, err := beside(ctx, path)
	if err != nil {
		return c, err
	}
	part := to + ".part"
	if c, err = s.copyTo(ctx, part); err != nil {
		return c, err
	}
	return c, errors.Join(os.Rename(part, to), syncDir(to))
}

// beside claims a file that may be served. Nothing of the Store is to be closed.
func beside(ctx context.Context, path string) (*Store, error) {
	s := &Store{cfg: Config{Path: path, Shared: true, MustExist: true}}
	if err := s.claim(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", path, plain(err))
	}
	return s, nil
}

// copyTo makes a copy that is whole, checked and on the disk, or none.
func (s *Store) copyTo(ctx context.Context, part string) (c Copied, err error) {
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return c, err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(part))
		}
	}()
	if err := s.vacuumInto(ctx, part); err != nil {
		return c, fmt.Errorf("%s: %w", s.cfg.Path, plain(err))
	}
	if c, err = checkCopy(ctx, part); err != nil {
		return c, fmt.Errorf("%s: %w", s.cfg.Path, plain(err))
	}
	return c, f.Sync()
}

// vacuumInto reads one snapshot. A connection that cannot write brings no log
// into the file when it is closed.
func (s *Store) vacuumInto(ctx context.Context, part string) error {
	return s.reading(ctx, func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, `VACUUM INTO ?`, part)
		return err
	})
}

// reading opens the file, if it is ours, for reading alone.
func (s *Store) reading(ctx context.Context, do func(*sql.DB) error) (err error) {
	db, err := sql.Open("sqlite", s.cfg.uri("mode=ro&_pragma=busy_timeout(5000)"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var id int64
	if err := db.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil {
		return err
	}
	if id != applicationID {
		return errOthers
	}
	return do(db)
}

// checkCopy checks a whole copy, and marks it as one that needs no log.
func checkCopy(ctx context.Context, part string) (c Copied, err error) {
	cfg := Config{Path: part}
	db, err := sql.Open("sqlite", cfg.uri("mode=rw"))
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if c, err = inspect(ctx, db); err != nil {
		return c, err
	}
	var marked int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM pragma_table_info('totals') WHERE name = 'log_needed'`).Scan(&marked); err != nil || marked == 0 {
		return c, err // of an older version
	}
	_, err = db.ExecContext(ctx, `UPDATE totals SET log_needed = 0`)
	return c, err
}

// inspect reads a whole database, and fails if its parts do not fit each other.
func inspect(ctx context.Context, db *sql.DB) (c Copied, err error) {
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict); err != nil {
		return c, err
	}
	if verdict != "ok" {
		return c, fmt.Errorf("is damaged: %s", verdict)
	}
	var newest int64
	if err := db.QueryRowContext(ctx, `SELECT count(*), coalesce(max(accepted_at), 0), (SELECT pending FROM totals) FROM deliveries`).
		Scan(&c.Deliveries, &newest, &c.Pending); err != nil {
		return c, err
	}
	c.Newest = instant(newest)
	c.Damaged, err = damagedRows(ctx, db)
	return c, err
}

// damagedRows checks each delivery against its checksum.
func damagedRows(ctx context.Context, db *sql.DB) (damaged int, err error) {
	var known int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM pragma_table_info('deliveries') WHERE name = 'checksum'`).Scan(&known); err != nil || known == 0 {
		return 0, err // of an older version
	}
	rows, err := db.QueryContext(ctx, `SELECT account_id, event_id, message_id, sequence, payload, checksum FROM deliveries`)
	if err != nil {
		return 0, err
	}
	err = each(rows, func() error {
		var sequence int64
		var account, event, message string
		var payload []byte
		var sum sql.NullInt64
		err := rows.Scan(&account, &event, &message, &sequence, &payload, &sum)
		if err == nil && !fits(sum, deliverySum(account, event, message, sequence, payload)) {
			damaged++
		}
		return err
	})
	return damaged, err
}

// each calls do for each row, and closes them.
func each(rows *sql.Rows, do func() error) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := do(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Restore puts a copy of a backup in place of the database file at path, which
// must not be served. What was there is kept with the name that it returns, which
// is empty if nothing was there.
func Restore(ctx context.Context, backup, path string) (c Copied, kept string, err error) {
	from := &Store{cfg: Config{Path: backup, Shared: true, MustExist: true}}
	switch err := from.claim(ctx); {
	case errors.Is(err, errNoLog):
		c.WithoutLog = true
	case err != nil:
		return c, "", fmt.Errorf("%s: %w", backup, plain(err))
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	unlock, err := lockFile(path)
	switch {
	case err == nil:
		defer func() { err = errors.Join(err, unlock()) }()
	case !errors.Is(err, fs.ErrNotExist):
		return c, "", fmt.Errorf("%s: %w", path, err)
	}
	part := path + ".part"
	whole, err := from.copyTo(ctx, part)
	if err != nil {
		return c, "", err
	}
	whole.WithoutLog = c.WithoutLog
	kept, err = setAside(path)
	if err == nil {
		err = os.Rename(part, path)
	}
	return whole, kept, errors.Join(err, syncDir(path))
}

// setAside renames the files of a database. The database file also keeps its
// own name until another file takes it. A server refuses to start on it without
// its log.
func setAside(path string) (kept string, err error) {
	kept = path + ".before-" + time.Now().UTC().Format("20060102T150405Z")
	log := os.Rename(path+"-wal", kept+"-wal")
	if err := os.Remove(path + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	file := os.Link(path, kept)
	for _, err := range []error{log, file} {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	if log != nil && file != nil {
		return "", nil
	}
	return kept, nil
}

// syncDir makes the names in a file's directory durable.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Inspect reads a whole database file, which may be served meanwhile, and changes
// nothing in it. It fails if the file is damaged, or if the secret keys do not read
// everything.
func Inspect(ctx context.Context, path string, secretKeys [][]byte) (c Copied, err error) {
	keys, err := store.NewSealer(secretKeys...)
	if err != nil {
		return c, err
	}
	s, err := beside(ctx, path)
	if err != nil {
		return c, err
	}
	err = s.reading(ctx, func(db *sql.DB) error {
		_, err := keys.Needed(func(name string) (value []byte, err error) {
			err = db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`, name).Scan(&value)
			if errors.Is(err, sql.ErrNoRows) {
				err = store.ErrNotFound
			}
			return value, err
		})
		if err == nil {
			c, err = inspect(ctx, db)
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s: %w", path, plain(err))
	}
	return c, err
}
