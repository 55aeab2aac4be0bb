package pgtest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Standby starts a server that follows this one. From now on, a commit of this one waits
// until that one has it on disk.
func (s *Server) Standby() (*Server, error) {
	return start(filepath.Dir(s.dir), s.bin, func(standby *Server) error {
		copying := standby.command("pg_basebackup", "--pgdata", standby.data(), "--host", "127.0.0.1", "--port", strconv.Itoa(s.Port), "--username", superuser,
			"--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast")
		if out, err := copying.CombinedOutput(); err != nil {
			return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
		}
		return nil
	}, s.waitForStandby)
}

// waitForStandby has commits wait for a standby, and returns when there is one.
func (s *Server) waitForStandby() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, statement := range []string{`ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	for {
		var follows bool
		if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')`).Scan(&follows); err != nil || follows {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Kill ends the server as a power cut does.
func (s *Server) Kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	<-s.over
}

// Promote makes a standby a server that follows none.
func (s *Server) Promote() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	var promoted bool
	err = conn.QueryRow(ctx, `SELECT pg_promote()`).Scan(&promoted)
	if err == nil && !promoted {
		err = errors.New("the standby was not promoted")
	}
	return errors.Join(err, conn.Close(ctx))
}
