package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/recapito/recapito/store"
)

// bulkReplay is a bulk replay with how far it has come.
type bulkReplay struct {
	store.BulkReplay
	at place
}

// end is the place of a bulk replay that has replayed everything.
var end = place{math.MaxInt64, math.MaxInt64}

const (
	bulkColumns = `id, account_id, group_id, query, asked, started_at, state, ended_at, matched, replayed, damaged, accepted_at, seq`
	selectBulk  = `SELECT ` + bulkColumns + `, iif(ended_at = 0, ` + waitingReplays + `, 0) FROM replays r `
	bulkByID    = selectBulk + `WHERE id = ? AND account_id = ?`
	bulkRunning = selectBulk + `WHERE account_id = ? AND ended_at = 0`
	bulksOf     = selectBulk + `WHERE account_id = ? ORDER BY started_at DESC, id DESC LIMIT ?`
	// waitingReplays counts replays of an account that have not been attempted yet. It
	// looks at a bounded number, those that are due first.
	waitingReplays = `(SELECT count(*) FROM (SELECT seq, attempts FROM waiting INDEXED BY waiting_replayed
		WHERE account_id = r.account_id AND replayed_at > 0 ORDER BY due_at, seq LIMIT 4000) w
		WHERE NOT EXISTS (SELECT 1 FROM outcomes o NOT INDEXED WHERE o.seq = w.seq AND o.number > w.attempts))`
)

func scanBulk(rows *sql.Rows) (b bulkReplay, err error) {
	var query []byte
	var started, ended int64
	err = rows.Scan(&b.ID, &b.AccountID, &b.GroupID, &query, &b.Asked, &started, &b.State, &ended, &b.Matched, &b.Replayed, &b.Damaged,
		&b.at.accepted, &b.at.seq, &b.Waiting)
	b.StartedAt, b.EndedAt = instant(started), instant(ended)
	return b, errors.Join(err, json.Unmarshal(query, &b.Query))
}

// StartReplay implements [store.Replays].
func (s *Store) StartReplay(ctx context.Context, r store.BulkReplay) error {
	query, err := json.Marshal(r.Query)
	if err != nil {
		return err
	}
	return s.w.do(ctx, func(tx *txn) error { return tx.startReplay(&r, query) })
}

func (tx *txn) startReplay(r *store.BulkReplay, query []byte) error {
	if err := tx.mustHaveAccount(r.AccountID); err != nil {
		return err
	}
	switch w, err := tx.webhookOrNone(r.AccountID); {
	case err != nil:
		return err
	case w == nil:
		return store.ErrNoWebhook
	}
	n, err := tx.changes(`INSERT INTO replays (`+bulkColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING`,
		r.ID, r.AccountID, r.GroupID, query, append([]byte{}, r.Asked...), micros(r.StartedAt), string(store.ReplayCounting))
	switch {
	case err != nil:
		return err
	case n == 0:
		return store.ErrConflict
	}
	tx.news = append(tx.news, news{account: r.AccountID, started: true})
	return nil
}

// BulkReplay implements [store.Replays].
func (s *Store) BulkReplay(ctx context.Context, accountID, id string) (store.BulkReplay, error) {
	found, err := s.bulks(ctx, bulkByID, id, accountID)
	switch {
	case err != nil:
		return store.BulkReplay{}, err
	case len(found) == 0:
		return store.BulkReplay{}, store.ErrNotFound
	}
	return found[0].BulkReplay, nil
}

// BulkReplays implements [store.Replays].
func (s *Store) BulkReplays(ctx context.Context, accountID string, limit int) ([]store.BulkReplay, error) {
	found, err := s.bulks(ctx, bulksOf, accountID, limit)
	var all []store.BulkReplay
	for i := range found {
		all = append(all, found[i].BulkReplay)
	}
	return all, err
}

func (s *Store) bulks(ctx context.Context, query string, args ...any) ([]bulkReplay, error) {
	return readRows(ctx, s, query, scanBulk, args...)
}

// StopReplay implements [store.Replays].
func (s *Store) StopReplay(ctx context.Context, accountID, id string, now time.Time) error {
	return s.w.do(ctx, func(tx *txn) error {
		var known bool
		if err := tx.row(`SELECT EXISTS (SELECT 1 FROM replays WHERE id = ? AND account_id = ?)`, []any{id, accountID}, &known); err != nil {
			return err
		}
		if !known {
			return store.ErrNotFound
		}
		return tx.exec(`UPDATE replays SET state = ?, ended_at = ? WHERE id = ? AND ended_at = 0`, string(store.ReplayStopped), micros(now), id)
	})
}

// cancelReplay ends an account's bulk replay, as its webhook is deleted.
func (tx *txn) cancelReplay(accountID string, now time.Time) error {
	return tx.exec(`UPDATE replays SET state = ?, ended_at = ? WHERE account_id = ? AND ended_at = 0`, string(store.ReplayCancelled), micros(now), accountID)
}

// forgetReplays removes some that ended before a time, of one account and of several.
func (tx *txn) forgetReplays(before time.Time) error {
	return errors.Join(
		tx.exec(`DELETE FROM replays WHERE id IN (SELECT id FROM replays WHERE ended_at > 0 AND ended_at < ? LIMIT 100)`, ceilMicros(before)),
		tx.exec(`DELETE FROM replay_groups WHERE id IN (SELECT id FROM replay_groups WHERE ended_at > 0 AND ended_at < ? LIMIT 100)`, ceilMicros(before)))
}

// RunningReplays implements [store.Upkeep].
func (s *Store) RunningReplays(ctx context.Context, after string, limit int) ([]string, error) {
	return readRows(ctx, s, runningReplays, scanString, after, limit)
}

const runningReplays = `SELECT account_id FROM replays INDEXED BY replays_running WHERE ended_at = 0 AND account_id > ? ORDER BY account_id LIMIT ?`

// ContinueReplay implements [store.Upkeep]. A reader finds what is next, as in a
// listing; the writer takes it if nobody has gone on meanwhile.
func (s *Store) ContinueReplay(ctx context.Context, accountID string, now time.Time, limit int) (worked bool, err error) {
	found, err := s.bulks(ctx, bulkRunning, accountID)
	if err != nil || len(found) == 0 {
		return false, err
	}
	switch b := &found[0]; {
	case b.State == store.ReplayCounting:
		return true, s.countFor(ctx, b)
	case b.at == end && b.Waiting == 0:
		return true, s.w.do(ctx, func(tx *txn) error {
			_, err := tx.moveOn(b, `state = ?, ended_at = ?`, string(store.ReplayDone), micros(now))
			return err
		})
	case b.at == end || b.Waiting >= int64(limit):
		return false, nil
	default:
		return true, s.replayFor(ctx, b, now, limit)
	}
}

// moveOn changes a bulk replay, unless somebody has since it was read.
func (tx *txn) moveOn(b *bulkReplay, set string, args ...any) (is bool, err error) {
	n, err := tx.changes(`UPDATE replays SET `+set+` WHERE id = ? AND ended_at = 0 AND state = ? AND accepted_at = ? AND seq = ?`,
		append(args, b.ID, string(b.State), b.at.accepted, b.at.seq)...)
	return n > 0, err
}

// countFor counts some of what a bulk replay lists.
func (s *Store) countFor(ctx context.Context, b *bulkReplay) error {
	q := b.Asks(b.at.shown(), s.cfg.scanRows)
	l := listing{search: search{store: s, ctx: ctx}, query: &q, own: s.w.tail.places(q.AccountID)}
	var n int64
	var next place
	if err := s.list(&l.search, func() (err error) {
		n, next, err = l.count(s.cfg.scanRows)
		return err
	}); err != nil {
		return err
	}
	state := store.ReplayCounting
	if next == end {
		state, next = store.ReplayRunning, place{}
	}
	return s.w.do(ctx, func(tx *txn) error {
		_, err := tx.moveOn(b, `state = ?, matched = matched + ?, accepted_at = ?, seq = ?`, string(state), n, next.accepted, next.seq)
		return err
	})
}

// count counts what the query asks for among the next deliveries.
func (l *listing) count(scan int) (n int64, next place, err error) {
	if err := l.narrow(); err != nil {
		return 0, next, err
	}
	places, err := l.places(l.begin(), scan)
	if err != nil {
		return 0, next, err
	}
	f := newFilter(l.query)
	row := l.tx.QueryRowContext(l.ctx, f.count(), append([]any{list(seqsOf(places))}, f.args...)...)
	if err := row.Scan(&n); err != nil || len(places) < scan {
		return n, end, err
	}
	return n, places[len(places)-1], nil
}

// replayFor makes up to limit of what a bulk replay lists PENDING again.
func (s *Store) replayFor(ctx context.Context, b *bulkReplay, now time.Time, limit int) error {
	page, err := s.Deliveries(ctx, b.Asks(b.at.shown(), limit))
	if err != nil {
		return err
	}
	next := end
	if page.Next.Seq > 0 {
		next = place{micros(page.Next.AcceptedAt), page.Next.Seq}
	}
	var whole []int64
	for i := range page.Deliveries {
		if !page.Deliveries[i].Damaged {
			whole = append(whole, page.Deliveries[i].Seq)
		}
	}
	damaged := len(page.Deliveries) - len(whole)
	return s.w.doRows(ctx, 2*len(whole)+1, func(tx *txn) error {
		w, err := tx.webhookOrNone(b.AccountID)
		if err != nil || w == nil {
			return err // it is about to end
		}
		ended, err := tx.stillEnded(whole, b.Asks(store.Place{}, 0).FinishedTo)
		if err != nil {
			return err
		}
		is, err := tx.moveOn(b, `replayed = replayed + ?, damaged = damaged + ?, accepted_at = ?, seq = ?`, len(ended), damaged, next.accepted, next.seq)
		if err != nil || !is || len(ended) == 0 {
			return err
		}
		return tx.replay(w, ended, now)
	})
}

// stillEnded are those of an account's deliveries that ended before a time.
func (tx *txn) stillEnded(seqs []int64, before time.Time) ([]store.Delivery, error) {
	rows, err := tx.query(endedBefore, list(seqs), ceilMicros(before))
	if err != nil {
		return nil, err
	}
	return collect(rows, func(r *sql.Rows) (d store.Delivery, err error) {
		var state int
		var finished int64
		err = r.Scan(&d.Seq, &state, &finished, &d.Attempts)
		if err == nil && (state < 0 || state >= len(states)) {
			return d, store.ErrDamaged
		}
		if err == nil {
			d.State, d.FinishedAt = states[state], instant(finished)
		}
		return d, err
	})
}

const endedBefore = `SELECT end.seq, end.state, end.ended_at, coalesce((SELECT max(number) FROM outcomes WHERE seq = end.seq), 0)
	FROM json_each(?) j CROSS JOIN outcomes end NOT INDEXED ON end.seq = j.value AND end.ended_at > 0 AND end.ended_at < ? ORDER BY j.key`
