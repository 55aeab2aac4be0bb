// Package sqlite keeps everything in one SQLite database file. It is the embedded
// default and needs no other service.
//
// It promises that what it has reported as done survives a power cut: WAL with
// synchronous=FULL, asserted at each connection of the writer. One goroutine
// writes everything that is waiting in one commit. Readers have connections of
// their own and never wait for it. A second process that would serve the same file
// is refused.
//
// It leaves out replication (any tool that knows SQLite's WAL does it), and more
// than one serving process.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // registers the driver

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/history"
)

// Config configures a [Store].
type Config struct {
	Path string // of the database file; its directory must exist
	// SecretKeys encrypt the signing secrets and the callback URLs: 32 bytes each,
	// the present one first; or none.
	SecretKeys [][]byte
	// Shared opens the file beside a process that serves it, to provision
	// accounts and keys. Webhooks and deliveries must be left alone then.
	Shared bool
	// MustExist opens a store that is there and makes none.
	MustExist bool
	// OthersGap is how long a change by another process may go unnoticed while
	// nothing is written; default [OthersGap].
	OthersGap time.Duration
	Quota     store.Quota // of each account
	// OnCommit is told of every group commit; may be nil.
	OnCommit func(store.Commit)
	Logger   *slog.Logger // default: discards

	// For tests.
	tailSize int                     // default: tailSize
	logPages int                     // default: logPages
	scanRows int                     // default: scanRows
	vfs      string                  // beneath SQLite; default: its own
	rewrite  func(path string) error // default: rewrite
}

// OthersGap is how long a server goes on without a change that a command beside it has
// made: a key that was revoked is valid so long. A commit of its own ends that earlier.
const OthersGap = 250 * time.Millisecond

// Store implements [store.Store].
type Store struct {
	cfg    Config
	path   string       // of the database file, without symbolic links
	unlock func() error // nil if shared
	sealer atomic.Pointer[store.Sealer]
	read   *sql.DB // short reads
	reads  readStatements
	// history is for listings, which may read many rows.
	history  *sql.DB
	readers  readers // of both
	damage   damageMet
	w        *writer
	cache    *cache
	rankings history.Rankings

	erasing sync.Mutex // held while one begins, and while the store is closed
	erasers sync.WaitGroup

	closing sync.Once
	closed  chan struct{}
}

var (
	_ store.Store      = (*Store)(nil)
	_ store.Encrypting = (*Store)(nil)
)

const (
	readConnections    = 4
	historyConnections = 2
)

// Open opens the file, or makes it. Its errors are for people: another
// program's file, a second server, a directory that cannot be written.
func Open(ctx context.Context, cfg Config) (_ *Store, err error) {
	s := newStore(cfg)
	defer func() {
		if err != nil {
			s.release()
			err = fmt.Errorf("%s: %w", cfg.Path, plain(err))
		}
	}()
	sealer, err := store.NewSealer(cfg.SecretKeys...)
	if err != nil {
		return nil, err
	}
	s.sealer.Store(sealer)
	if err := s.claim(ctx); err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	if err := s.openReaders(); err != nil {
		return nil, err
	}
	if err := s.checkCopied(ctx); err != nil {
		return nil, err
	}
	if s.w, err = newWriter(s); err != nil {
		return nil, err
	}
	err = s.checkSecretKeys(ctx)
	if err == nil {
		err = s.resumeErasing()
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// newStore is one that is not open.
func newStore(cfg Config) *Store {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.OnCommit == nil {
		cfg.OnCommit = func(store.Commit) {}
	}
	if cfg.OthersGap == 0 {
		cfg.OthersGap = OthersGap
	}
	if cfg.tailSize == 0 {
		cfg.tailSize = tailSize
	}
	if cfg.logPages == 0 {
		cfg.logPages = logPages
	}
	if cfg.scanRows == 0 {
		cfg.scanRows = scanRows
	}
	if cfg.rewrite == nil {
		cfg.rewrite = rewrite
	}
	return &Store{cfg: cfg, closed: make(chan struct{}), cache: newCache(), readers: readers{open: map[int64]struct{}{}}}
}

func (s *Store) openReaders() (err error) {
	query := s.cfg.dsn("query_only(1)", "cache_size(-2048)")
	if s.read, err = sql.Open("sqlite", query); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(readConnections)
	s.read.SetMaxIdleConns(readConnections)
	if s.history, err = sql.Open("sqlite", query); err != nil {
		return err
	}
	s.history.SetMaxOpenConns(historyConnections)
	s.history.SetMaxIdleConns(historyConnections)
	if err := errors.Join(connect(s.read, readConnections), connect(s.history, historyConnections)); err != nil {
		return err
	}
	return s.reads.prepare(s.read)
}

// connect opens all connections of a pool, which keeps them: later there may be
// no file descriptor left.
func connect(db *sql.DB, n int) (err error) {
	for range n {
		conn, failed := db.Conn(context.Background())
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, conn.Close()) }() // when all are open
	}
	return nil
}

// Ready implements [store.Readiness]: it commits a row. What it writes differs each
// time, since SQLite neither writes nor syncs a page that stays as it was.
func (s *Store) Ready(ctx context.Context) error {
	if s.damage.count() > 0 {
		return store.ErrDamaged
	}
	return s.w.do(ctx, func(tx *txn) error {
		return tx.exec(`INSERT INTO settings (name, value) VALUES ('written', randomblob(8)) ON CONFLICT DO UPDATE SET value = excluded.value`)
	})
}

// Listen implements [store.Queue].
func (s *Store) Listen(l store.Listener) { s.w.listener.Store(&l) }

// May implements [store.Queue]: there is one process.
func (s *Store) May(string) bool { return true }

// Close implements [store.Store].
func (s *Store) Close() (err error) {
	s.closing.Do(func() {
		s.erasing.Lock()
		close(s.closed)
		s.erasing.Unlock()
		s.erasers.Wait()
		err = s.w.close()
		s.release()
	})
	return err
}

// release releases what Open acquired.
func (s *Store) release() {
	for _, db := range []*sql.DB{s.read, s.history} {
		if db != nil {
			_ = db.Close() // only readers
		}
	}
	if s.w != nil {
		s.w.files.close()
	}
	s.dropLock()
}

// orClosed explains an error of a read that Close cut short.
func (s *Store) orClosed(err error) error {
	if s.isClosed() {
		return store.ErrClosed
	}
	return err
}

func (s *Store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}
