package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/transfer"
)

// copied is a database file that is copied, or copied into. It has the lock of one that
// serves it.
type copied struct {
	store *Store
	db    *sql.DB
}

var _ transfer.Target = (*copied)(nil)

// OpenSource opens a database file to be copied, and changes nothing in it. Its errors are
// for people.
func OpenSource(ctx context.Context, path string) (transfer.Source, error) {
	c := &copied{store: newStore(Config{Path: path, MustExist: true})}
	return c.opened(c.read(ctx))
}

func (c *copied) read(ctx context.Context) (err error) {
	if err := c.store.claim(ctx); err != nil {
		return err
	}
	if c.db, err = sql.Open("sqlite", c.store.cfg.uri("mode=ro&_pragma=busy_timeout(5000)")); err != nil {
		return err
	}
	var id int64
	if err := c.db.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil {
		return err
	}
	if id != applicationID {
		return errOthers
	}
	var has, known int64
	if err := c.db.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version`).Scan(&has); err != nil {
		return err
	}
	if known, err = knownSchema(); err != nil {
		return err
	}
	switch {
	case has > known:
		return store.NewerSchema(has, known)
	case has < known:
		return store.OlderSchema(has, known)
	}
	if n, err := c.number(ctx, `SELECT count(*) FROM settings WHERE name = ?`, transfer.Mark); err != nil || n > 0 {
		return errors.Join(err, transfer.ErrUnfinished)
	}
	return nil
}

// OpenTarget opens a database file to be copied into, or makes it. Its errors are for
// people.
func OpenTarget(ctx context.Context, path string) (transfer.Target, error) {
	c := &copied{store: newStore(Config{Path: path})}
	return c.opened(c.write(ctx))
}

func (c *copied) write(ctx context.Context) (err error) {
	if err := c.store.claim(ctx); err != nil {
		return err
	}
	if err := c.store.migrate(ctx); err != nil {
		return err
	}
	c.db, err = sql.Open("sqlite", c.store.cfg.dsn("journal_mode(WAL)", "synchronous(FULL)", "cache_size(-65536)"))
	if err == nil {
		c.db.SetMaxOpenConns(1)
	}
	return err
}

func (c *copied) opened(err error) (*copied, error) {
	if err == nil {
		return c, nil
	}
	path := c.store.cfg.Path
	if err = plain(err); errors.Is(err, errInUse) {
		err = fmt.Errorf("%w: end it before you copy", err)
	}
	return nil, errors.Join(fmt.Errorf("%s: %w", path, err), c.Close())
}

// checkCopied refuses a store into which something is being copied.
func (s *Store) checkCopied(ctx context.Context) error {
	var mark []byte
	switch err := s.one(ctx, s.reads.setting, []any{transfer.Mark}, &mark); {
	case err == nil:
		return transfer.ErrUnfinished
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return nil
}

// Close implements [transfer.Source].
func (c *copied) Close() (err error) {
	if c.db != nil {
		err = c.db.Close()
	}
	c.store.dropLock()
	return err
}

// State implements [transfer.Source]: the number of commits begins with a random one.
func (c *copied) State(ctx context.Context) (string, error) {
	commits, err := c.number(ctx, `SELECT commits FROM totals`)
	return strconv.FormatInt(commits, 10), err
}

// Last implements [transfer.Source].
func (c *copied) Last(ctx context.Context) (int64, error) {
	return c.number(ctx, `SELECT last_seq FROM totals`)
}

func (c *copied) number(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = c.db.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

// Mark implements [transfer.Target].
func (c *copied) Mark(ctx context.Context) (mark []byte, err error) {
	err = c.db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`, transfer.Mark).Scan(&mark)
	if !errors.Is(err, sql.ErrNoRows) {
		return mark, err
	}
	n, err := c.number(ctx, `SELECT EXISTS (SELECT 1 FROM settings) + EXISTS (SELECT 1 FROM accounts) + EXISTS (SELECT 1 FROM webhooks) + EXISTS (SELECT 1 FROM deliveries)`)
	if err == nil && n > 0 {
		err = fmt.Errorf("%s: %w", c.store.cfg.Path, transfer.ErrHolds)
	}
	return nil, err
}

// Put implements [transfer.Target].
func (c *copied) Put(ctx context.Context, t *transfer.Table, rows []transfer.Row, before, mark []byte) error {
	err := c.commit(ctx, before, func(tx *sql.Tx) error {
		if err := insertRows(ctx, tx, t, rows); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES (?, ?)`, transfer.Mark, mark)
		return err
	})
	if err != nil {
		return err
	}
	var busy, pages, done int // of a log that only grows, if this fails
	return c.db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &done)
}

// commit does a transaction that removes the mark before.
func (c *copied) commit(ctx context.Context, before []byte, do func(*sql.Tx) error) error {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // unless it was committed
	if before != nil {
		res, err := tx.ExecContext(ctx, `DELETE FROM settings WHERE name = ? AND value = ?`, transfer.Mark, before)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, transfer.ErrChanged)
		}
	}
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Finish implements [transfer.Target]. All is entered in the listing.
func (c *copied) Finish(ctx context.Context, last int64, before []byte) error {
	return c.commit(ctx, before, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO listed (account_id, accepted_at, seq) SELECT account_id, accepted_at, seq FROM deliveries ORDER BY account_id, accepted_at, seq`)
		if err == nil {
			err = logLastMinute(ctx, tx)
		}
		t := totals{lastSeq: last, listed: last}
		if err == nil {
			err = countStates(ctx, tx, &t)
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, `UPDATE totals SET commits = commits + 1, checksum = ?, last_seq = ?, listed = ?, pending = ?, delivered = ?, failed = ?, cancelled = ?`,
				t.sum(), t.lastSeq, t.listed, t.count[pending], t.count[delivered], t.count[failed], t.count[cancelled])
		}
		return err
	})
}

// logLastMinute logs what was counted in the last minute, in the place of its rows: more
// may be counted in it.
func logLastMinute(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT account_id, minute, tally, coalesce((SELECT tally FROM tallies e WHERE e.account_id = t.account_id AND e.minute < t.minute ORDER BY minute DESC LIMIT 1), x'')
		FROM tallies t WHERE minute = (SELECT max(minute) FROM tallies)`)
	if err != nil {
		return err
	}
	var minute int64
	var log []byte
	if err := each(rows, func() error {
		var account string
		var sum, earlier []byte
		if err := rows.Scan(&account, &minute, &sum, &earlier); err != nil {
			return err
		}
		change, err := changeBetween(earlier, sum)
		if err == nil {
			log = appendLogged(log, account, change)
		}
		return err
	}); err != nil || len(log) == 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO tally_log (minute, changes) VALUES (?, ?)`, minute, log); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM tallies WHERE minute = ?`, minute)
	return err
}

// changeBetween is the change between two rows of tallies; earlier may be none.
func changeBetween(earlier, sum []byte) (*store.Tally, error) {
	from := &store.Tally{}
	to, _, err := store.ReadTally(sum)
	if err == nil && len(earlier) > 0 {
		from, _, err = store.ReadTally(earlier)
	}
	if err != nil {
		return nil, err
	}
	change := to.Between(from)
	if !to.Anew {
		change.InARow -= from.InARow
	}
	return change, nil
}

func countStates(ctx context.Context, tx *sql.Tx, t *totals) error {
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM waiting`).Scan(&t.count[pending]); err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, `SELECT state, count(*) FROM outcomes NOT INDEXED WHERE ended_at > 0 GROUP BY state`)
	if err != nil {
		return err
	}
	return each(rows, func() error {
		var state int
		var n int64
		err := rows.Scan(&state, &n)
		if err == nil && state > pending && state < len(t.count) {
			t.count[state] = n
		}
		return err
	})
}
