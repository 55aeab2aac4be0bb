package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// drop gives the connection up.
func (w *writer) drop() { discard(&w.conn) }

// discard closes a connection, if there is one, that is of no use, or on which nothing is
// under way.
func discard(conn **pgx.Conn) {
	if *conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = (*conn).Close(ctx) // it is given up whatever that says
	*conn = nil
}

// forsake gives up the connections for reading, as the server is not the primary any more: what
// it says is old. They are made anew, as the writer's is, to whom the URL's names lead then.
func (s *Store) forsake() {
	s.forsaken.Add(1)
	s.reads.Reset()
	s.history.Reset()
}

// fence notes that others took the node for dead: it has no accounts any more.
func (w *writer) fence() {
	s := w.store
	w.lease.lose()
	w.fenced = true
	s.cfg.Logger.Error("another recapito has taken this one for dead, and has its accounts: it begins anew", "database", s.name)
	s.fences.Add(1)
	s.telling.Lock()
	defer s.telling.Unlock()
	w.incarnation.Add(1)
	s.shards.set(everyShard, others)
	s.held.awaited.Store(nil)
	clear(s.held.kept)
	s.tellLost(func(string) bool { return true })
}

// ready makes the connection ready for the next transaction.
func (w *writer) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	if w.conn != nil && !w.fenced {
		err := w.store.replan(ctx, &w.plans, w.conn)
		if err == nil || !w.lost(err) {
			return err
		}
	}
	if w.conn == nil {
		if err := w.connect(ctx); err != nil {
			return err
		}
	}
	if !w.fenced {
		return nil
	}
	if err := w.begin(ctx); err != nil {
		w.lost(err)
		return away(err)
	}
	w.fenced = false
	w.store.cfg.Logger.Info("this recapito is a node of the database again", "database", w.store.name, "slot", w.mySlot())
	return nil
}

// away says that nothing was written, as there is no connection to write by.
func away(err error) error { return fmt.Errorf("postgres: %w: %w", store.ErrUnavailable, plain(err)) }

// begin makes the process a node that has nothing.
func (w *writer) begin(ctx context.Context) error {
	if err := w.register(ctx, w.conn); err != nil {
		return err
	}
	if err := w.load(ctx); err != nil {
		return err
	}
	w.doubt = nil // others have the accounts
	w.store.telling.Lock()
	defer w.store.telling.Unlock()
	w.store.streams.begin(w.mySlot(), w.pos)
	return nil
}

// fallBehind has the own stream told by the pulse, from where it is told: a commit may
// have happened.
func (w *writer) fallBehind() {
	if w.store.cfg.Shared {
		return
	}
	w.store.telling.Lock()
	defer w.store.telling.Unlock()
	w.store.streams.fallBehind(w.mySlot())
}

// connect opens a connection in place of one that was lost.
func (w *writer) connect(ctx context.Context) error {
	conn, err := w.store.connect(ctx, &w.notices)
	if err != nil {
		time.Sleep(reopenGap)
		return away(err)
	}
	w.conn = conn
	if w.store.cfg.Shared || w.fenced {
		return nil
	}
	switch err := w.again(ctx, conn); {
	case errors.Is(err, store.ErrFenced):
		w.fence()
		return nil
	case err != nil:
		w.lost(err)
		return away(err)
	}
	if err := w.load(ctx); err != nil {
		w.lost(err)
		return away(err)
	}
	w.settleDoubt()
	return nil
}

// settleDoubt lets the listener read anew what a commit may have brought that failed:
// it cannot happen any more. What it may have accepted is in the stream.
func (w *writer) settleDoubt() {
	s := w.store
	s.telling.Lock()
	defer s.telling.Unlock()
	s.streams.fallBehind(w.mySlot())
	s.streams.own = max(s.streams.own, w.pos)
	doubt := slices.DeleteFunc(w.doubt, func(account string) bool { return !s.attends(account) })
	if l := w.listener.Load(); l != nil && len(doubt) > 0 {
		slices.Sort(doubt)
		(*l).Uncertain(slices.Compact(doubt))
	}
	w.doubt = nil
	s.lookAtOnce()
}

// load reads what is known of the node's last commit.
func (w *writer) load(ctx context.Context) error {
	var c counts
	var minute int64
	err := w.conn.QueryRow(ctx, `SELECT pending, delivered, failed, cancelled, (SELECT coalesce(max(minute), 0) FROM tallies WHERE slot = $1) FROM nodes WHERE slot = $1`, w.mySlot()).
		Scan(&c[pending], &c[delivered], &c[failed], &c[cancelled], &minute)
	if err != nil {
		return err
	}
	w.minute.Store(minute)
	w.sums = map[int64]*store.Tally{}
	w.counts.Store(&c)
	w.store.cache.clear()
	return nil
}
