package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/pressly/goose/v3"

	"github.com/recapito/recapito/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks our files: "RCPT".
const applicationID = 0x52435054

// migrate brings the schema up to date, and refuses one that is not what the
// migrations make. It does not change it under a process that serves the file.
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
	provider, err := newProvider(db)
	if err != nil {
		return err
	}
	has, known, err := provider.GetVersions(ctx)
	switch {
	case err != nil:
		return err
	case has > known:
		return store.NewerSchema(has, known)
	case has < known:
		if err := s.bringUp(ctx, provider); err != nil {
			return err
		}
	}
	return compareSchema(ctx, db)
}

// knownSchema is the version of the last migration.
func knownSchema() (known int64, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	provider, err := newProvider(db)
	if err != nil {
		return 0, err
	}
	for _, source := range provider.ListSources() {
		known = max(known, source.Version)
	}
	return known, nil
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithLogger(goose.NopLogger()))
}

func (s *Store) bringUp(ctx context.Context, provider *goose.Provider) error {
	if s.cfg.Shared {
		if err := s.takeLock(); err != nil {
			return fmt.Errorf("has to be brought up to date first: %w", err)
		}
		defer s.dropLock()
	}
	_, err := provider.Up(ctx)
	return err
}

// compareSchema compares the tables and indexes with those that the migrations
// make. It ignores others.
func compareSchema(ctx context.Context, db *sql.DB) error {
	want, err := madeSchema()
	if err != nil {
		return err
	}
	got, err := schemaOf(ctx, db)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			return fmt.Errorf("has another form than this recapito expects (%s differs): it was written by another build, or changed since; use the recapito that wrote it, or restore a backup", name)
		}
	}
	return nil
}

// madeSchema is what the migrations make in an empty database.
var madeSchema = sync.OnceValues(func() (_ map[string]string, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // each has a database of its own
	provider, err := newProvider(db)
	if err != nil {
		return nil, err
	}
	if _, err := provider.Up(context.Background()); err != nil {
		return nil, err
	}
	return schemaOf(context.Background(), db)
})

// schemaOf is how each table and index was made.
func schemaOf(ctx context.Context, db *sql.DB) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, `SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'goose_%' AND name NOT LIKE 'sqlite_%'`)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	_, err = collect(rows, func(r *sql.Rows) (struct{}, error) {
		var name, text string
		err := r.Scan(&name, &text)
		all[name] = text
		return struct{}{}, err
	})
	return all, err
}
