package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/recapito/recapito/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versions is the table of the migrations that were made.
const versions = "recapito_migrations"

// migrateTries is how often a start tries to make a migration: another process may be at
// it, and then one of them fails.
const migrateTries = 5

// migrate brings the schema up to date, and refuses a newer one. While others keep it from
// that by a lock it goes on trying.
func (s *Store) migrate(ctx context.Context) (err error) {
	db := sql.OpenDB(impatient{stdlib.GetConnector(*s.conns)})
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if exists, err := hasStore(ctx, db); err != nil {
		return err
	} else if !exists && s.cfg.MustExist {
		return errors.New("holds nothing of recapito: recapito serve makes it at its first start")
	}
	provider, err := newProvider(db)
	if err != nil {
		return err
	}
	said, before := false, int64(0)
	for try := 1; ; try++ {
		has, known, err := provider.GetVersions(ctx)
		if has > before { // it goes on, whoever made them
			before, try = has, 1
		}
		switch {
		case err != nil:
		case has > known:
			return store.NewerSchema(has, known)
		case has == known:
			return nil
		case has < known:
			if _, err = provider.Up(ctx); err == nil {
				return nil
			}
		}
		if codeOf(err) == lockTimeout {
			if !said {
				s.cfg.Logger.Warn("the tables cannot be changed yet: a transaction of others uses them, maybe a backup", "database", s.name)
			}
			said, try = true, 0
			select {
			case <-time.After(lockGap):
			case <-ctx.Done():
			}
		}
		if try == migrateTries || ctx.Err() != nil {
			return fmt.Errorf("its tables cannot be brought up to date: %w", err)
		}
	}
}

const (
	// boundWait lets a transaction wait for no lock longer. What other nodes commit waits
	// behind it, less long than such a commit may wait itself.
	boundWait = `SET LOCAL lock_timeout = '500ms'`
	// lockGap is how long a migration leaves the tables to others then.
	lockGap = time.Second
)

// impatient has each transaction wait no longer than boundWait says.
type impatient struct{ driver.Connector }

func (i impatient) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := i.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return impatientConn{conn.(*stdlib.Conn)}, nil
}

type impatientConn struct{ *stdlib.Conn }

func (c impatientConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	if _, err := c.ExecContext(ctx, boundWait, nil); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return tx, nil
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, files, goose.WithLogger(goose.NopLogger()), goose.WithTableName(versions))
}

func hasStore(ctx context.Context, db *sql.DB) (has bool, err error) {
	err = db.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL`, versions).Scan(&has)
	return has, err
}

// check refuses a server on which the promises do not hold.
func check(ctx context.Context, conn *pgx.Conn) error {
	var version int
	var standby bool
	var durable, fsync, encoding string
	err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(),
		current_setting('synchronous_commit'), current_setting('fsync'), current_setting('server_encoding')`).Scan(&version, &standby, &durable, &fsync, &encoding)
	switch {
	case err != nil:
		return err
	case version < oldest*10_000:
		return fmt.Errorf("is PostgreSQL %d: recapito needs %d or newer", version/10_000, oldest)
	case standby:
		return errors.New("is a standby, which cannot be written: name the primary, or all servers with target_session_attrs=read-write")
	case durable != "on" && durable != "remote_apply":
		return fmt.Errorf("has synchronous_commit=%s, so that it may lose what it has confirmed: set it to on for this user or database", durable)
	case fsync != "on":
		return errors.New("has fsync=off, so that it may lose what it has confirmed: set it to on")
	case encoding != "UTF8":
		return fmt.Errorf("has the encoding %s: make the database with UTF8", encoding)
	}
	return nil
}

// oldest is the oldest release of PostgreSQL that will do.
const oldest = 14
