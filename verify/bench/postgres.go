package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store/postgres/pgtest"
	"github.com/recapito/recapito/store/sqlite"
	"github.com/recapito/recapito/verify/rig"
)

// This file has runs on a PostgreSQL of their own, with fsync on, and with several nodes.

// database is the name of a run's database.
const database = "postgres"

// onPostgres prepares a run on a PostgreSQL; the caller starts the nodes.
func (l *lab) onPostgres() (*run, error) {
	r, err := l.prepare()
	if err != nil {
		return nil, err
	}
	if r.server, err = pgtest.StartIn(l.Dir); err != nil {
		return nil, r.end(err)
	}
	return r, nil
}

// withNodes has so many nodes serve a new PostgreSQL while do does.
func (l *lab) withNodes(n int, do func(*run) error) (err error) {
	r, err := l.onPostgres()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	if err := r.serveNodes(n); err != nil {
		return err
	}
	return do(r)
}

// shards are those that all nodes share.
const shards = 256

// serveNodes starts so many, which must divide the shards, and returns when each has its
// part of them. The i-th one has slot i.
func (r *run) serveNodes(n int) error {
	if err := r.serve(); err != nil {
		return err
	}
	for i := 1; i < n; i++ {
		o := r.options()
		o.LogFile = filepath.Join(r.dir, fmt.Sprint("node", i, ".log"))
		s, err := rig.Serve(o)
		if s != nil {
			r.others = append(r.others, s)
		}
		if err != nil {
			return err
		}
	}
	return rig.Await(time.Minute, "the nodes to share the accounts", func() bool {
		for _, s := range r.nodes() {
			if has, err := s.Metric("recapito_shards"); err != nil || int(has) != shards/n {
				return false
			}
		}
		return true
	})
}

// seedPostgres fills the run's PostgreSQL before its nodes start: a file is filled and
// copied, which takes seconds.
func (r *run) seedPostgres(fill func(context.Context, *sqlite.Store) error) error {
	if err := r.seed(fill); err != nil {
		return err
	}
	out, err := exec.Command(r.lab.bin, "copy", "--from", "sqlite:"+filepath.Join(r.dir, "recapito.db"), "--to", r.server.URL(database)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("recapito copy: %w\n%s", err, out)
	}
	return nil
}

// openDatabase connects to the run's PostgreSQL; the caller closes the connection.
func (r *run) openDatabase(ctx context.Context) (*pgx.Conn, error) {
	return pgx.Connect(ctx, r.server.URL(database))
}

// space is what a database has taken of the disk, in bytes, and what it has written to its log.
type space struct{ stored, logged float64 }

func (r *run) space() (s space, err error) {
	ctx := context.Background()
	conn, err := r.openDatabase(ctx)
	if err != nil {
		return s, err
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, `SELECT pg_database_size(current_database())::float8, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8`).Scan(&s.stored, &s.logged)
	return s, err
}

// spaceOfEvent is the space that each event has taken that was delivered since, all being so.
func (r *run) spaceOfEvent(before space) (space, error) {
	after, err := r.space()
	if err != nil {
		return after, err
	}
	n, err := r.service.Metric(`recapito_deliveries{state="DELIVERED"}`)
	return space{(after.stored - before.stored) / n, (after.logged - before.logged) / n}, err
}

// accountsOf picks, of some accounts, one in each shard of a node.
func (r *run) accountsOf(slot int, among []string) ([]string, error) {
	ctx := context.Background()
	conn, err := r.openDatabase(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `SELECT min(a.id) FROM accounts a JOIN shards s USING (shard) WHERE s.slot = $1 AND a.id = ANY($2) GROUP BY shard`, slot, among)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// accountNames are those of the rig's accounts from to from+n.
func accountNames(from, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = rig.Account(from + i)
	}
	return names
}

// awaitRow waits until a question about a slot is answered with true.
func (r *run) awaitRow(limit time.Duration, what, question string, slot int) error {
	ctx := context.Background()
	conn, err := r.openDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var yes bool
	late := rig.Await(limit, what, func() bool {
		err = conn.QueryRow(ctx, question, slot).Scan(&yes)
		return err != nil || yes
	})
	return errors.Join(err, late)
}
