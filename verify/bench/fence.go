package main

import (
	"context"
	"fmt"
)

// fenceRound notes the fence's part of the time in which PostgreSQL executes statements. It
// does not say what CPU each takes, and the fence cannot be turned off.
func (l *lab) fenceRound(f *nodesFigures) (err error) {
	r, err := l.onPostgres()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	if err := r.countStatements(); err != nil {
		return err
	}
	if err := r.serveNodes(1); err != nil {
		return err
	}
	if err := r.register(nodesAccounts, r.endpoint); err != nil {
		return err
	}
	if err := r.execute(`SELECT pg_stat_statements_reset()`); err != nil { // the tables have been made
		return err
	}
	if _, err := r.atFullSpeed(r.nodeFeed(nodesAccounts)); err != nil {
		return err
	}
	share, err := r.shareOf(`WITH f AS (UPDATE nodes SET beat%`)
	f.fence = append(f.fence, 100*share)
	return err
}

// countStatements has the run's PostgreSQL note how long statements take. That is loaded
// at its start only.
func (r *run) countStatements() error {
	if err := r.execute(`ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'`); err != nil {
		return err
	}
	if err := r.server.Restart(); err != nil {
		return err
	}
	return r.execute(`CREATE EXTENSION pg_stat_statements`)
}

func (r *run) execute(statement string) error {
	ctx := context.Background()
	conn, err := r.openDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// shareOf is the part of statements that begin so. What only waits for the disk is left
// out: COMMIT.
func (r *run) shareOf(pattern string) (share float64, err error) {
	ctx := context.Background()
	conn, err := r.openDatabase(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, `SELECT coalesce(sum(total_exec_time) FILTER (WHERE query LIKE $1), 0) / sum(total_exec_time)
		FROM pg_stat_statements WHERE query !~* '^(BEGIN|COMMIT)'`, pattern).Scan(&share)
	if err == nil && share == 0 {
		err = fmt.Errorf("no statement is like %s", pattern)
	}
	return share, err
}
