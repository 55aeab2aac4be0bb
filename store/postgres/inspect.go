package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Inspection is what a database, and its server, say of themselves.
type Inspection struct {
	Name    string // in words
	Version string // of the server
	Durable string // synchronous_commit; fsync is on
	Standby string // synchronous_standby_names
	Schema  int64  // of the tables; 0: there are none of recapito's
	Known   int64  // the schema of this recapito
	Free    int    // connections that recapito may have, with those that it has
	Needed  int    // connections that all its processes take at most; one, if there is none
}

// Inspect asks a database, which may be served meanwhile, and changes nothing. It refuses
// one that [Open] refuses. Its errors are for people.
func Inspect(ctx context.Context, url string) (i Inspection, err error) {
	conns, err := Parse(url)
	if err != nil {
		return i, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	i.Name = Name(conns)
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", i.Name, plain(err))
		}
	}()
	conn, err := pgx.ConnectConfig(ctx, conns)
	if err != nil {
		return i, err
	}
	defer func() { _ = conn.Close(ctx) }() // it has only read
	if err := check(ctx, conn); err != nil {
		return i, err
	}
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
		current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer - coalesce(current_setting('reserved_connections', true), '0')::integer
		- (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
			AND NOT (usename IS NOT DISTINCT FROM current_user AND datname IS NOT DISTINCT FROM current_database() AND application_name = current_setting('application_name')))::integer`).
		Scan(&i.Version, &i.Durable, &i.Standby, &i.Free)
	if err != nil {
		return i, err
	}
	if i.Schema, i.Known, err = schemas(ctx, conns); err != nil {
		return i, err
	}
	nodes := 0
	if i.Schema > 0 {
		err = conn.QueryRow(ctx, `SELECT count(*) FROM nodes WHERE alive`).Scan(&nodes)
	}
	i.Needed = max(1, nodes) * (2 + readConnections + historyConnections) // the writer's, the pulse's
	return i, err
}

// schemas are that of the tables and that of this recapito.
func schemas(ctx context.Context, conns *pgx.ConnConfig) (has, known int64, err error) {
	db := stdlib.OpenDB(*conns)
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	provider, err := newProvider(db)
	if err != nil {
		return 0, 0, err
	}
	for _, source := range provider.ListSources() {
		known = max(known, source.Version)
	}
	if exists, err := hasStore(ctx, db); err != nil || !exists {
		return 0, known, err
	}
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM `+versions).Scan(&has)
	return has, known, err
}
