package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/transfer"
)

// copied is a database that is copied, or copied into.
type copied struct {
	store *Store
	conn  *pgx.Conn
}

var _ transfer.Target = (*copied)(nil)

// OpenSource opens a database to be copied, and changes nothing in it. Its errors are for
// people.
func OpenSource(ctx context.Context, url string) (transfer.Source, error) {
	return openCopied(ctx, url, func(c *copied) error {
		switch has, known, err := schemas(ctx, c.store.conns); {
		case err != nil:
			return err
		case has == 0:
			return errors.New("holds nothing of recapito")
		case has > known:
			return store.NewerSchema(has, known)
		case has < known:
			return store.OlderSchema(has, known)
		}
		if err := c.store.checkCopied(ctx, c.conn); err != nil {
			return err
		}
		_, err := c.store.awaitSilence(ctx, c.conn)
		return err
	})
}

// OpenTarget opens a database to be copied into, and makes the tables in it. Its errors
// are for people.
func OpenTarget(ctx context.Context, url string) (transfer.Target, error) {
	return openCopied(ctx, url, func(c *copied) error {
		if err := check(ctx, c.conn); err != nil {
			return err
		}
		if err := c.store.migrate(ctx); err != nil {
			return err
		}
		_, err := c.store.awaitSilence(ctx, c.conn)
		return err
	})
}

func openCopied(ctx context.Context, url string, look func(*copied) error) (_ *copied, err error) {
	c := &copied{store: &Store{}}
	s := c.store
	if s.conns, err = Parse(url); err != nil {
		return nil, err
	}
	s.name = Name(s.conns)
	if c.conn, err = pgx.ConnectConfig(ctx, s.conns); err == nil {
		err = look(c)
	}
	if errors.Is(err, errServed) {
		err = fmt.Errorf("%w: end it before you copy", err)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", s.name, plain(err)), c.Close())
	}
	return c, nil
}

// checkCopied refuses a store into which something is being copied.
func (s *Store) checkCopied(ctx context.Context, from querier) error {
	rows, err := from.Query(ctx, `SELECT value FROM settings WHERE name = $1`, transfer.Mark)
	if err != nil {
		return err
	}
	marks, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if len(marks) > 0 {
		return transfer.ErrUnfinished
	}
	return err
}

// Close implements [transfer.Source].
func (c *copied) Close() error {
	if c.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	return c.conn.Close(ctx)
}

// State implements [transfer.Source]. A node changes its row when it begins; a command
// beside nodes makes a change.
func (c *copied) State(ctx context.Context) (state string, err error) {
	err = c.conn.QueryRow(ctx, `SELECT concat_ws(' ', coalesce(sum(epoch + beat), 0), coalesce(min(since), 0), (SELECT changes FROM cluster)) FROM nodes`).Scan(&state)
	return state, err
}

// Last implements [transfer.Source].
func (c *copied) Last(ctx context.Context) (last int64, err error) {
	err = c.conn.QueryRow(ctx, `SELECT `+drawn).Scan(&last)
	return last, err
}

// Mark implements [transfer.Target].
func (c *copied) Mark(ctx context.Context) (mark []byte, err error) {
	err = c.conn.QueryRow(ctx, `SELECT value FROM settings WHERE name = $1`, transfer.Mark).Scan(&mark)
	if !errors.Is(err, pgx.ErrNoRows) {
		return mark, err
	}
	var holds bool
	err = c.conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM settings) OR EXISTS (SELECT FROM accounts WHERE no <> $1) OR EXISTS (SELECT FROM webhooks) OR EXISTS (SELECT FROM deliveries)`,
		operationsNo).Scan(&holds)
	if err == nil && holds {
		err = fmt.Errorf("%s: %w", c.store.name, transfer.ErrHolds)
	}
	return nil, err
}

// Put implements [transfer.Target].
func (c *copied) Put(ctx context.Context, t *transfer.Table, rows []transfer.Row, before, mark []byte) error {
	return c.commit(ctx, before, func(tx pgx.Tx) error {
		if err := insertRows(ctx, tx, t, rows); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2)`, transfer.Mark, mark)
		return err
	})
}

// commit does a transaction that removes the mark before, unless somebody serves.
func (c *copied) commit(ctx context.Context, before []byte, do func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, c.conn, func(tx pgx.Tx) error {
		var ours bool
		err := tx.QueryRow(ctx, `WITH m AS (DELETE FROM settings WHERE name = $1 AND value = $2 RETURNING 1)
			SELECT ($2::bytea IS NULL OR EXISTS (SELECT FROM m)) AND NOT EXISTS (SELECT FROM nodes WHERE alive)`, transfer.Mark, before).Scan(&ours)
		switch {
		case err != nil:
			return err
		case !ours:
			return transfer.ErrChanged
		}
		return do(tx)
	})
	if codeOf(err) == uniqueViolation {
		return errors.Join(transfer.ErrChanged, err)
	}
	return err
}

// Finish implements [transfer.Target]. All that is PENDING is in waiting, and what has
// been counted is of a node that has ended. The statistics of the tables are taken anew:
// nobody has looked at them since they were empty.
func (c *copied) Finish(ctx context.Context, last int64, before []byte) error {
	err := c.commit(ctx, before, func(tx pgx.Tx) error {
		for _, statement := range []string{
			fmt.Sprintf(`SELECT setval('blocks', greatest((SELECT last_value FROM blocks), %d))`, last>>16),
			`UPDATE shards SET mark = ` + drawn,
			`INSERT INTO nodes (slot, epoch, alive, beat, pos, applied, pending, delivered, failed, cancelled, host, since)
				SELECT 0, 1, false, 1, ` + drawn + `, 0, (SELECT count(*) FROM waiting), count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 2), count(*) FILTER (WHERE state = 3),
				'recapito copy', ` + fmt.Sprint(micros(time.Now())) + ` FROM outcomes WHERE ended_at > 0`,
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		_, err = c.conn.Exec(ctx, `ANALYZE`)
	}
	return err
}
