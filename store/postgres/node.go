package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// This file is the process among those that serve the same database: a node, which has
// a row. The row is its lease, which others watch, its fence, and the end of its
// stream.

// beatGap is how long the row may stay as it is. A node without traffic commits so
// often.
const beatGap = 500 * time.Millisecond

// mostNodes bounds the nodes of a database.
const mostNodes = 1024

// errNoSlot: another process was faster, or there are too many.
var errNoSlot = errors.New("no row of nodes is free")

// register makes the process a node: it takes the first row that is free, with the next
// epoch. All that it will accept comes behind pos, and it knows of all changes so far,
// since it has read nothing yet.
func (w *writer) register(ctx context.Context, conn *pgx.Conn) error {
	var ttl int64 // in ms
	if err := conn.QueryRow(ctx, `SELECT ttl_ms FROM cluster`).Scan(&ttl); err != nil {
		return err
	}
	w.lease.ttl.Store(ttl * int64(time.Millisecond))
	host, _ := os.Hostname() // for people
	for range mostNodes {
		sent := boot()
		var n node
		since := micros(time.Now())
		err := conn.QueryRow(ctx, takeSlot, host, since, !w.store.takes()).Scan(&n.slot, &n.epoch, &n.pos, &n.applied)
		if errors.Is(err, pgx.ErrNoRows) || codeOf(err) == uniqueViolation {
			continue // somebody was faster
		}
		if err == nil {
			w.become(n)
			w.since = since
			w.lease.renew(sent)
		}
		return err
	}
	return errNoSlot
}

const (
	// drawn is a seq that all blocks drawn so far end before, and all others begin behind.
	drawn = `(SELECT last_value FROM blocks) * 65536 + 65535`
	// takeSlot takes a row: of a node that has ended, or a new one.
	takeSlot = `WITH f AS (SELECT slot FROM nodes WHERE NOT alive ORDER BY slot LIMIT 1 FOR UPDATE),
	u AS (UPDATE nodes SET epoch = epoch + 1, leaves_held = epoch + 1, alive = true, leaving = $3, beat = beat + 1, pos = ` + drawn + `, applied = (SELECT changes FROM cluster), host = $1, since = $2
		FROM f WHERE nodes.slot = f.slot RETURNING nodes.slot, epoch, pos, applied),
	i AS (INSERT INTO nodes (slot, epoch, leaves_held, alive, leaving, beat, pos, applied, pending, delivered, failed, cancelled, host, since)
		SELECT (SELECT coalesce(max(slot) + 1, 0) FROM nodes), 1, 1, true, $3, 1, ` + drawn + `, (SELECT changes FROM cluster), 0, 0, 0, 0, $1, $2
		WHERE NOT EXISTS (SELECT FROM f) RETURNING slot, epoch, pos, applied)
	TABLE u UNION ALL TABLE i`
)

// become is called where a new row, or the same with a new epoch, is the process's.
func (w *writer) become(n node) {
	w.lease.epoch = n.epoch
	w.slot.Store(int32(n.slot))
	w.applied.Store(n.applied)
	w.own = map[int64]bool{}
	w.pos = n.pos
}

// session is the application_name of what the node with a row and an epoch commits.
func session(slot int16, epoch int64) string {
	return fmt.Sprintf("recapito node %d, epoch %d", slot, epoch)
}

// endSessions ends what commits as a node that cannot commit any more. If the process has
// stopped in the middle of a batch, or is cut off, the server waits for the rest, for hours,
// and what the batch has written so far is locked. A commit that waits for its standby does
// not stop there.
func endSessions(ctx context.Context, conn *pgx.Conn, slot int16, epoch int64) error {
	_, err := conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name = $1 AND usename = current_user AND datname = current_database() AND wait_event IS DISTINCT FROM 'SyncRep'`, session(slot, epoch))
	return err
}

// again registers the node with a new connection. What the old one may still be doing
// cannot commit any more, and is ended. What the node holds it goes on to hold: the second
// statement sees what the old connection has committed before the first. The epoch may be a later
// one, if this was done before and its answer was lost: nobody else gives the row one without
// another since. [store.ErrFenced]: others took the node for dead.
func (w *writer) again(ctx context.Context, conn *pgx.Conn) error {
	sent := boot()
	n := node{slot: w.mySlot()}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `UPDATE nodes SET epoch = epoch + 1, leaves_held = epoch + 1, beat = beat + 1 WHERE slot = $1 AND epoch >= $2 AND since = $3 AND alive RETURNING epoch, pos`,
			n.slot, w.lease.epoch, w.since).Scan(&n.epoch, &n.pos)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, keepHeld, n.slot, n.epoch, n.epoch-1)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return store.ErrFenced
	}
	if err != nil {
		return err
	}
	before := w.lease.epoch
	w.lease.epoch, w.pos = n.epoch, n.pos
	w.lease.renew(sent)
	return endSessions(ctx, conn, n.slot, before)
}

// leave gives the row back, and what it still has. If that fails, others wait until the
// lease has run out.
func (w *writer) leave(ctx context.Context, conn *pgx.Conn) {
	_, _ = conn.Exec(ctx, `WITH l AS (UPDATE nodes SET alive = false WHERE slot = $1 AND epoch = $2 AND alive RETURNING slot)
		UPDATE shards SET slot = NULL FROM l WHERE shards.slot = l.slot`, w.mySlot(), w.lease.epoch)
	w.lease.lose()
}

// mySlot is the node's row.
func (w *writer) mySlot() int16 { return int16(w.slot.Load()) }

// fence is the last statement of a commit, but for what numbers its changes. By it the commit
// fails if others took the node for dead. Last, since a client that stops in the middle of what
// it sends would keep the row locked. It acknowledges the changes that the node has taken in,
// and returns which there are. Without events, all that the node has accepted is before what was
// drawn. It says so only if $8: all others read its stream up to there, in which nothing is.
const (
	fence = `WITH f AS (UPDATE nodes SET beat = beat + 1, applied = greatest(applied, $3), pending = pending + $4, delivered = delivered + $5,
			failed = failed + $6, cancelled = cancelled + $7, pos = `
	fenceEnd      = ` WHERE slot = $1 AND epoch = $2 AND alive RETURNING pos) SELECT 1 / count(*), max(pos), (SELECT changes FROM cluster) FROM f`
	fenceAccepted = fence + `currval('blocks') * 65536 + $8` + fenceEnd
	fenceOthers   = fence + `CASE WHEN $8 THEN ` + drawn + ` ELSE pos END` + fenceEnd
)
