// Package postgres keeps everything in a PostgreSQL database, so that the machine that
// runs Recapito may be lost.
//
// It promises that what it has reported as done survives a power cut of the server, and
// the loss of the server where it has a synchronous standby: the settings that this
// needs are asserted at each connection of the writer. One goroutine writes everything
// that is waiting in one commit.
//
// Any number of processes serve a database: its nodes. Each accepts events of all
// accounts, and attempts for those of its shards. A node holds a lease, by its row in
// the table nodes, and every commit of it updates that row: once others have taken it
// for dead, nothing that it still does can be committed. The README says how they work
// together.
//
// It needs no session: a pooler between them may give each transaction another
// connection. It leaves out replication and backup, which PostgreSQL has.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/history"
)

// Config configures a [Store].
type Config struct {
	URL string // postgres://USER@HOST:PORT/DATABASE
	// SecretKeys encrypt the signing secrets and the callback URLs: 32 bytes each, the
	// present one first; or none.
	SecretKeys [][]byte
	// Shared opens the database beside a process that serves it, to provision accounts
	// and keys. Webhooks and deliveries must be left alone then.
	Shared bool
	// Alone refuses a database that others serve.
	Alone bool
	// MustExist opens a store that is there and makes none.
	MustExist bool
	Quota     store.Quota // of each account
	// OnCommit is told of every group commit; may be nil.
	OnCommit func(store.Commit)
	// OnChange is told how long the answer to a change waited until all nodes had taken it
	// in; may be nil.
	OnChange func(waited time.Duration)
	Logger   *slog.Logger // default: discards

	// For tests.
	scanRows  int                // default: scanRows
	share     func(live int) int // default: fairShare
	holdAfter time.Duration      // default: holdAfter
	patience  time.Duration      // default: lockPatience
	deaf      bool               // nobody listens at first
}

// Store implements [store.Store].
type Store struct {
	cfg      Config
	conns    *pgx.ConnConfig
	named    bool   // statements of the writer and of the pulse have names on the server
	name     string // of the database, for people
	sealer   atomic.Pointer[store.Sealer]
	reads    *pgxpool.Pool // short reads
	history  *pgxpool.Pool // listings, which may read many rows
	rankings history.Rankings
	w        *writer
	pulse    *pulse // nil: the store is shared
	cache    *cache
	shards   shards
	held     held

	// telling is held while the listener is told, and while it changes what it is told
	// of: the shards and the streams.
	telling     sync.Mutex
	kick        chan struct{} // for the pulse
	streams     streams
	givers      sync.WaitGroup
	handingOver atomic.Bool
	evictions   atomic.Int64  // by this node
	fences      atomic.Int64  // of this node
	settling    chan struct{} // holds a token while somebody asks
	settled     int64         // up to which change all nodes had taken in all; whoever asks owns it
	slowInserts atomic.Uint64
	forsaken    atomic.Int64 // servers

	erasing    sync.Mutex // held while one begins, and while the store is closed
	erasers    sync.WaitGroup
	eraserRuns bool
	again      atomic.Bool // there may be something to erase

	closing sync.Once
	closed  chan struct{}
}

var (
	_ store.Store      = (*Store)(nil)
	_ store.Encrypting = (*Store)(nil)
)

// The connections: with those of the writer and of the pulse seven.
const (
	readConnections    = 3
	historyConnections = 2
)

// Open opens the database, makes the tables in it, and makes the process a node. It has
// all accounts when Open returns, if there is no other. Its errors are for people.
func Open(ctx context.Context, cfg Config) (_ *Store, err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.OnCommit == nil {
		cfg.OnCommit = func(store.Commit) {}
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func(time.Duration) {}
	}
	if cfg.scanRows == 0 {
		cfg.scanRows = scanRows
	}
	if cfg.share == nil {
		cfg.share = fairShare
	}
	if cfg.holdAfter == 0 {
		cfg.holdAfter = holdAfter
	}
	if cfg.patience == 0 {
		cfg.patience = lockPatience
	}
	s := &Store{cfg: cfg, closed: make(chan struct{}), kick: make(chan struct{}, 1), settling: make(chan struct{}, 1), cache: newCache(), held: held{kept: map[string]bool{}}}
	if s.conns, err = Parse(cfg.URL); err != nil {
		return nil, err
	}
	s.name = Name(s.conns)
	defer func() {
		if err != nil {
			s.disconnect()
			err = fmt.Errorf("%s: %w", s.name, plain(err))
		}
	}()
	keys, err := store.NewSealer(cfg.SecretKeys...)
	if err != nil {
		return nil, err
	}
	s.sealer.Store(keys)
	s.w = newWriter(s)
	if s.w.conn, err = s.connect(ctx, &s.w.notices); err != nil {
		return nil, err
	}
	if err := s.nameStatements(ctx); err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	if s.reads, err = s.newPool(ctx, readConnections); err != nil {
		return nil, err
	}
	if s.history, err = s.newPool(ctx, historyConnections); err != nil {
		return nil, err
	}
	if err := s.checkCopied(ctx, s.w.conn); err != nil {
		return nil, err
	}
	if err := s.serve(ctx); err != nil {
		return nil, err
	}
	go s.w.run()
	if err := errors.Join(s.checkSecretKeys(ctx), s.join(ctx)); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// serve makes the process a node, unless it shares the database with those.
func (s *Store) serve(ctx context.Context) error {
	if s.cfg.Shared {
		return nil
	}
	if s.cfg.Alone {
		if err := s.awaitNone(ctx); err != nil {
			return err
		}
	}
	return s.w.begin(ctx)
}

// errServed: others serve the database.
var errServed = errors.New("is served by another recapito")

// awaitNone returns when no node is alive, and takes those for dead that are silent.
func (s *Store) awaitNone(ctx context.Context) error {
	silent, err := s.awaitSilence(ctx, s.w.conn)
	if err != nil || silent == 0 {
		return err
	}
	_, err = s.w.conn.Exec(ctx, `WITH e AS (UPDATE nodes SET alive = false WHERE alive AND (SELECT sum(epoch + beat) FROM nodes WHERE alive) = $1 RETURNING slot)
		UPDATE shards SET slot = NULL FROM e WHERE shards.slot = e.slot`, silent)
	return err
}

// awaitSilence returns when no node is alive. One that did not end as it should is alive
// as long as a lease lasts: then it returns the sum of the epochs and beats of these.
// errServed: one is.
func (s *Store) awaitSilence(ctx context.Context, conn *pgx.Conn) (silent int64, err error) {
	const alive = `SELECT coalesce(sum(epoch + beat), 0)::bigint, coalesce(max(host), ''), (SELECT ttl_ms FROM cluster) FROM nodes WHERE alive`
	var first, now, ttl int64
	var host string
	for began := boot(); ; {
		if err := conn.QueryRow(ctx, alive).Scan(&now, &host, &ttl); err != nil {
			return 0, err
		}
		if first == 0 {
			first = now
		}
		switch {
		case now == 0:
			return 0, nil
		case now != first:
			return 0, fmt.Errorf("%w (on %s)", errServed, host)
		case boot()-began >= time.Duration(ttl)*time.Millisecond:
			return now, nil
		}
		select {
		case <-time.After(aloneGap):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// join lets the node take what is free, and begin to look at the others.
func (s *Store) join(ctx context.Context) error {
	if s.cfg.Shared {
		return nil
	}
	p := &pulse{store: s, silent: map[int16]silence{}, stopped: make(chan struct{}), kick: s.kick}
	for again := true; again; {
		var err error
		if again, err = p.step(); err != nil {
			discard(&p.conn)
			return err
		}
		if again = again || p.gaining; ctx.Err() != nil {
			discard(&p.conn)
			return ctx.Err()
		}
	}
	s.pulse = p
	go p.run()
	return nil
}

// Stats implements [store.Statistics].
func (s *Store) Stats() store.Stats {
	c, o := s.w.counts.Load(), s.w.others.Load()
	stats := store.Stats{Deliveries: map[store.State]int64{}}
	for state, code := range stateCodes {
		stats.Deliveries[state] = c[code] + o[code]
	}
	return stats
}

// Ready implements [store.Readiness]: it commits.
func (s *Store) Ready(ctx context.Context) error {
	return s.w.do(ctx, func(*txn) error { return nil })
}

// Listen implements [store.Queue]. From then on the node takes accounts from others.
func (s *Store) Listen(l store.Listener) { s.w.listener.Store(&l) }

// Close implements [store.Store].
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.erasing.Lock()
		close(s.closed)
		s.erasing.Unlock()
		if s.pulse != nil {
			<-s.pulse.stopped
		}
		<-s.w.stopped
		s.erasers.Wait()
		s.givers.Wait()
		s.disconnect()
	})
	return nil
}

// disconnect releases what Open acquired.
func (s *Store) disconnect() {
	for _, pool := range []*pgxpool.Pool{s.reads, s.history} {
		if pool != nil {
			pool.Close()
		}
	}
	if s.w != nil && s.w.conn != nil && !s.w.conn.IsClosed() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.w.conn.Close(ctx) // nothing is under way
	}
}

func (s *Store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}
