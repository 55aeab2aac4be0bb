package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// connectTimeout bounds a try to connect.
	connectTimeout = 5 * time.Second
	// commitTimeout is when a commit without an answer is given up.
	commitTimeout = 30 * time.Second
	// readTimeout bounds a short read.
	readTimeout = 30 * time.Second
)

// Parse reads the URL of a database. Its errors do not repeat it, since it may hold a
// password.
func Parse(url string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("is not a URL of PostgreSQL: use postgres://USER@HOST:PORT/DATABASE")
	}
	// Statements have no names on the server, so that a pooler may give each
	// transaction another session; but see [Store.nameStatements].
	cfg.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	if cfg.ConnectTimeout == 0 || cfg.ConnectTimeout > connectTimeout {
		cfg.ConnectTimeout = connectTimeout
	}
	cfg.DialFunc = watched(cfg.DialFunc)
	if _, named := cfg.RuntimeParams["application_name"]; !named {
		cfg.RuntimeParams["application_name"] = "recapito"
	}
	return cfg, nil
}

// Name is a database in words, without user and password.
func Name(cfg *pgx.ConnConfig) string {
	host := cfg.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("PostgreSQL at %s:%d, database %s", host, cfg.Port, cfg.Database)
}

// unwaited is set by the notice that a commit did not wait for the synchronous
// standby: the server reports it as done.
type unwaited struct{ atomic.Bool }

const successWithWarning = "01000"

func (u *unwaited) notice(_ *pgconn.PgConn, n *pgconn.Notice) {
	if n.Code == successWithWarning || n.Code == "57P01" {
		u.Store(true)
	}
}

// connect opens a connection of the writer or of the pulse.
func (s *Store) connect(ctx context.Context, notices *unwaited) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	cfg := s.conns.Copy()
	cfg.OnNotice = notices.notice
	if s.named {
		cfg.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
		cfg.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	}
	s.byIndex(cfg)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := check(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

// byIndex has the server find rows by an index, as each statement can, unless a pooler takes no
// such settings. A plan that reads a whole table costs least while that is empty, and takes minutes
// for one commit soon after; or where the server takes the first row of some account for near.
// Where there is no other way, it takes the plan for so dear that it would compile it.
func (s *Store) byIndex(cfg *pgx.ConnConfig) {
	if s.named {
		cfg.RuntimeParams["enable_seqscan"], cfg.RuntimeParams["jit"] = "off", "off"
	}
}

// nameStatements gives the statements of the writer and of the pulse names on the server,
// unless there is a pooler before it: then the server parses and plans them once, and not at
// each execution, which takes longer than a small commit. A pooler may give each transaction
// another session, and makes up the process ID that it tells. Nor has a statement a name if the
// URL says statement_cache_capacity=0.
func (s *Store) nameStatements(ctx context.Context) error {
	if s.conns.StatementCacheCapacity == 0 {
		return nil
	}
	var pid uint32
	if err := s.w.conn.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		return err
	}
	if s.named = pid == s.w.conn.PgConn().PID(); !s.named {
		s.cfg.Logger.Info("the database is behind a pooler: it plans each statement anew, which takes more of its CPU", "database", s.name)
		return nil
	}
	s.w.drop()
	var err error
	s.w.conn, err = s.connect(ctx, &s.w.notices)
	return err
}

// replanGap is how old a plan may be.
const replanGap = 5 * time.Second

// plans are those that the server keeps of a connection.
type plans struct {
	of   *pgx.Conn
	from time.Duration // by the boot clock
}

// replan has the server plan anew, if it keeps plans, and they are old: one that was made while a
// table was small may read all of it.
func (s *Store) replan(ctx context.Context, p *plans, conn *pgx.Conn) error {
	if !s.named {
		return nil
	}
	now := boot()
	if p.of != conn {
		p.of, p.from = conn, now
	}
	if now-p.from < replanGap {
		return nil
	}
	p.from = now
	_, err := conn.Exec(ctx, `DISCARD PLANS`, pgx.QueryExecModeExec)
	return err
}

// newPool makes connections for reads, at most so many. They are opened when they are
// needed.
func (s *Store) newPool(ctx context.Context, most int32) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(s.cfg.URL)
	if err != nil {
		return nil, err
	}
	cfg.ConnConfig, cfg.MaxConns, cfg.MinConns = s.conns.Copy(), most, 0
	cfg.MaxConnIdleTime = 5 * time.Minute
	s.byIndex(cfg.ConnConfig)
	return pgxpool.NewWithConfig(ctx, cfg)
}

// plain says in words what people can do something about.
func plain(err error) error {
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch failure.Code {
		case "3D000":
			return errors.New("there is no such database: make it with createdb")
		case "28P01", "28000":
			return fmt.Errorf("the server refuses the user: %s", failure.Message)
		case "42501":
			return fmt.Errorf("the user may not do that: %s: make it the owner of the database", failure.Message)
		case "42P07":
			return fmt.Errorf("%s, and is not recapito's: give recapito a database of its own", failure.Message)
		case "53300":
			return errors.New("the server has no connection left: raise max_connections; recapito uses up to 7")
		case "57P03":
			return fmt.Errorf("the server does not take connections yet: %s", failure.Message)
		}
		return err
	}
	if failed, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		if inner := errors.Unwrap(failed); inner != nil {
			return fmt.Errorf("cannot connect: %w", inner)
		}
		return errors.New("cannot connect")
	}
	return err
}

func codeOf(err error) string {
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok {
		return failure.Code
	}
	return ""
}

// The codes of PostgreSQL on which the store decides.
const (
	divisionByZero  = "22012" // the fence
	readOnly        = "25006"
	uniqueViolation = "23505"
	deadlock        = "40P01"
)
