package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// bulkReplay is a bulk replay with how far it has come.
type bulkReplay struct {
	store.BulkReplay
	accepted, seq int64 // the place
}

// end is the place of a bulk replay that has replayed everything, in both columns.
const end = math.MaxInt64

func (b *bulkReplay) ended() bool { return b.seq == end }

func (b *bulkReplay) place() store.Place {
	return store.Place{AcceptedAt: instant(b.accepted), Seq: b.seq}
}

const (
	selectBulk = `SELECT r.id, a.id, r.group_id, r.query, r.asked, r.started_at, r.state, r.ended_at, r.matched, r.replayed, r.damaged, r.accepted_at, r.seq,
		CASE WHEN r.ended_at = 0 THEN ` + waitingReplays + ` ELSE 0 END FROM replays r JOIN accounts a ON a.no = r.account `
	bulkByID    = selectBulk + `WHERE r.id = $1 AND a.id = $2`
	bulkRunning = selectBulk + `WHERE a.id = $1 AND r.ended_at = 0`
	bulksOf     = selectBulk + `WHERE a.id = $1 ORDER BY r.started_at DESC, r.id DESC LIMIT $2`
	// waitingReplays counts replays of an account that have not been attempted yet. It
	// looks at a bounded number, those that are due first.
	waitingReplays = `(SELECT count(*) FROM (SELECT w.seq, w.attempts FROM waiting w
		WHERE w.account = r.account AND w.replayed_at > 0 ORDER BY w.due_at, w.seq LIMIT 4000) w
		WHERE (SELECT o.number FROM outcomes o WHERE o.seq = w.seq AND o.number > w.attempts LIMIT 1) IS NULL)`
)

func scanBulk(row pgx.CollectableRow) (b bulkReplay, err error) {
	var query []byte
	var started, ended int64
	err = row.Scan(&b.ID, &b.AccountID, &b.GroupID, &query, &b.Asked, &started, &b.State, &ended, &b.Matched, &b.Replayed, &b.Damaged,
		&b.accepted, &b.seq, &b.Waiting)
	if err != nil {
		return b, err
	}
	b.StartedAt, b.EndedAt = instant(started), instant(ended)
	return b, json.Unmarshal(query, &b.Query)
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
	no, _, err := tx.account(r.AccountID)
	if err != nil {
		return err
	}
	switch _, err := tx.registration(r.AccountID); {
	case errors.Is(err, store.ErrNotFound):
		return store.ErrNoWebhook
	case err != nil:
		return err
	}
	n, err := tx.exec(`INSERT INTO replays (id, account, group_id, query, asked, started_at, state, ended_at, matched, replayed, damaged, accepted_at, seq)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING`,
		r.ID, no, r.GroupID, query, append([]byte{}, r.Asked...), micros(r.StartedAt), string(store.ReplayCounting))
	switch {
	case err != nil:
		return err
	case n == 0:
		return store.ErrConflict
	}
	tx.news = append(tx.news, news{account: r.AccountID, started: true})
	if !tx.mine(r.AccountID) {
		tx.note(r.AccountID, replayStarted, r.StartedAt)
	}
	return nil
}

// BulkReplay implements [store.Replays].
func (s *Store) BulkReplay(ctx context.Context, accountID, id string) (store.BulkReplay, error) {
	found, err := all(ctx, s, scanBulk, bulkByID, id, accountID)
	switch {
	case err != nil:
		return store.BulkReplay{}, err
	case len(found) == 0:
		return store.BulkReplay{}, store.ErrNotFound
	}
	return found[0].BulkReplay, nil
}

// BulkReplays implements [store.Replays].
func (s *Store) BulkReplays(ctx context.Context, accountID string, limit int) (bulks []store.BulkReplay, err error) {
	found, err := all(ctx, s, scanBulk, bulksOf, accountID, limit)
	for i := range found {
		bulks = append(bulks, found[i].BulkReplay)
	}
	return bulks, err
}

// StopReplay implements [store.Replays].
func (s *Store) StopReplay(ctx context.Context, accountID, id string, now time.Time) error {
	return s.w.do(ctx, func(tx *txn) error {
		var known string
		if err := tx.row(`SELECT id FROM replays WHERE id = $2 AND account = `+numberOf, []any{accountID, id}, &known); err != nil {
			return err
		}
		_, err := tx.exec(`UPDATE replays SET state = $2, ended_at = $3 WHERE id = $1 AND ended_at = 0`, id, string(store.ReplayStopped), micros(now))
		return err
	})
}

// cancelReplay ends an account's bulk replay, as its webhook is deleted.
func (tx *txn) cancelReplay(account int64, now time.Time) error {
	_, err := tx.exec(`UPDATE replays SET state = $2, ended_at = $3 WHERE account = $1 AND ended_at = 0`, account, string(store.ReplayCancelled), micros(now))
	return err
}

// forgetReplays removes some that ended before a time, of one account and of several.
func (tx *txn) forgetReplays(before time.Time) error {
	for _, table := range [...]string{"replays", "replay_groups"} {
		if _, err := tx.exec(`DELETE FROM `+table+` WHERE id IN (SELECT id FROM `+table+` WHERE ended_at > 0 AND ended_at < $1 LIMIT 100)`, ceilMicros(before)); err != nil {
			return err
		}
	}
	return nil
}

// RunningReplays implements [store.Upkeep].
func (s *Store) RunningReplays(ctx context.Context, after string, limit int) ([]string, error) {
	return all(ctx, s, pgx.RowTo[string], `SELECT a.id FROM replays r JOIN accounts a ON a.no = r.account WHERE r.ended_at = 0 AND a.id > $1 AND a.shard = ANY($3) ORDER BY a.id LIMIT $2`, after, limit, s.shards.in(owned))
}

// ContinueReplay implements [store.Upkeep]. A reader finds what is next, as in a
// listing; the writer takes it if nobody has gone on meanwhile.
func (s *Store) ContinueReplay(ctx context.Context, accountID string, now time.Time, limit int) (worked bool, err error) {
	if !s.attends(accountID) {
		return false, nil
	}
	found, err := all(ctx, s, scanBulk, bulkRunning, accountID)
	if err != nil || len(found) == 0 {
		return false, err
	}
	switch b := &found[0]; {
	case b.State == store.ReplayCounting:
		return true, s.countFor(ctx, b)
	case b.ended() && b.Waiting == 0:
		return true, s.w.do(ctx, func(tx *txn) error {
			_, err := tx.moveOn(b, `state = $5, ended_at = $6`, string(store.ReplayDone), micros(now))
			return err
		})
	case b.ended() || b.Waiting >= int64(limit):
		return false, nil
	default:
		return true, s.replayFor(ctx, b, now, limit)
	}
}

// moveOn changes a bulk replay, unless somebody has since it was read. The parameters
// of set begin with the fifth.
func (tx *txn) moveOn(b *bulkReplay, set string, args ...any) (is bool, err error) {
	n, err := tx.exec(`UPDATE replays SET `+set+` WHERE id = $1 AND ended_at = 0 AND state = $2 AND accepted_at = $3 AND seq = $4`,
		append([]any{b.ID, string(b.State), b.accepted, b.seq}, args...)...)
	return n > 0, err
}

// countFor counts some of what a bulk replay lists.
func (s *Store) countFor(ctx context.Context, b *bulkReplay) error {
	q := b.Asks(b.place(), s.cfg.scanRows)
	var n int64
	var next store.Place
	err := s.snapshot(ctx, s.history, func(tx pgx.Tx) error {
		few, err := s.narrow(ctx, tx, &q)
		if err != nil {
			return err
		}
		l := newListing(&q, few, s.cfg.scanRows)
		if err := tx.QueryRow(ctx, l.count(), l.args...).Scan(&n); err != nil {
			return err
		}
		next, err = l.next(ctx, tx, nil)
		return err
	})
	if err != nil {
		return err
	}
	state := store.ReplayCounting
	if next.Seq == 0 {
		state = store.ReplayRunning // from the beginning
	}
	return s.w.do(ctx, func(tx *txn) error {
		_, err := tx.moveOn(b, `state = $5, matched = matched + $6, accepted_at = $7, seq = $8`, string(state), n, micros(next.AcceptedAt), next.Seq)
		return err
	})
}

// replayFor makes up to limit of what a bulk replay lists PENDING again.
func (s *Store) replayFor(ctx context.Context, b *bulkReplay, now time.Time, limit int) error {
	page, err := s.Deliveries(ctx, b.Asks(b.place(), limit))
	if err != nil {
		return err
	}
	accepted, seq := int64(end), int64(end)
	if page.Next.Seq > 0 {
		accepted, seq = micros(page.Next.AcceptedAt), page.Next.Seq
	}
	var whole []int64
	for i := range page.Deliveries {
		if !page.Deliveries[i].Damaged {
			whole = append(whole, page.Deliveries[i].Seq)
		}
	}
	damaged := len(page.Deliveries) - len(whole)
	return s.w.do(ctx, func(tx *txn) error {
		r, err := tx.registration(b.AccountID)
		if errors.Is(err, store.ErrNotFound) {
			return nil // it is about to end
		}
		if err != nil {
			return err
		}
		ended, err := tx.stillEnded(whole, b.Asks(store.Place{}, 0).FinishedTo)
		if err != nil {
			return err
		}
		if !tx.mine(b.AccountID) {
			return nil // its node goes on
		}
		is, err := tx.moveOn(b, `replayed = replayed + $5, damaged = damaged + $6, accepted_at = $7, seq = $8`, len(ended), damaged, accepted, seq)
		if err != nil || !is || len(ended) == 0 {
			return err
		}
		return tx.replay(r, ended, now)
	})
}

const endedBefore = `SELECT e.seq, e.state, e.ended_at, coalesce((SELECT max(x.number) FROM outcomes x WHERE x.seq = e.seq), 0)
	FROM unnest($1::bigint[]) WITH ORDINALITY AS s (seq, ord)
	CROSS JOIN LATERAL (SELECT x.seq, x.state, x.ended_at FROM outcomes x WHERE x.seq = s.seq AND x.ended_at > 0 AND x.ended_at < $2 LIMIT 1) e ORDER BY s.ord`

// stillEnded are those of an account's deliveries that ended before a time.
func (tx *txn) stillEnded(seqs []int64, before time.Time) ([]store.Delivery, error) {
	rows, err := tx.tx.Query(tx.ctx, endedBefore, seqs, ceilMicros(before))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d store.Delivery, err error) {
		var state int16
		var finished int64
		err = row.Scan(&d.Seq, &state, &finished, &d.Attempts)
		d.State, d.FinishedAt = states[state], instant(finished)
		return d, err
	})
}
