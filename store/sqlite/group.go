package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// replayGroup is a replay of several accounts with how far it has come.
type replayGroup struct {
	store.ReplayGroup
	after string
}

const (
	groupColumns = `id, accounts, query, asked, started_at, state, ended_at, skipped, after`
	selectGroup  = `SELECT ` + groupColumns + ` FROM replay_groups `
	groupByID    = selectGroup + `WHERE id = ?`
	groupRunning = selectGroup + `WHERE ended_at = 0`
	groupsNewest = selectGroup + `ORDER BY started_at DESC, id DESC LIMIT ?`
	bulksOfGroup = selectBulk + `WHERE group_id = ? AND group_id <> ''`
)

func scanGroup(rows *sql.Rows) (g replayGroup, err error) {
	var accounts, query []byte
	var started, ended int64
	err = rows.Scan(&g.ID, &accounts, &query, &g.Asked, &started, &g.State, &ended, &g.Skipped, &g.after)
	g.StartedAt, g.EndedAt = instant(started), instant(ended)
	return g, errors.Join(err, json.Unmarshal(accounts, &g.Accounts), json.Unmarshal(query, &g.Query))
}

// StartReplayGroup implements [store.Replays].
func (s *Store) StartReplayGroup(ctx context.Context, g store.ReplayGroup) error {
	accounts, err := json.Marshal(g.Accounts)
	if err != nil {
		return err
	}
	query, err := json.Marshal(g.Query)
	if err != nil {
		return err
	}
	return s.w.do(ctx, func(tx *txn) error {
		n, err := tx.changes(`INSERT INTO replay_groups (`+groupColumns+`) VALUES (?, ?, ?, ?, ?, ?, 0, 0, '') ON CONFLICT DO NOTHING`,
			g.ID, accounts, query, append([]byte{}, g.Asked...), micros(g.StartedAt), string(store.ReplayRunning))
		if err == nil && n == 0 {
			err = store.ErrConflict
		}
		if err == nil {
			tx.news = append(tx.news, news{started: true})
		}
		return err
	})
}

// ReplayGroup implements [store.Replays].
func (s *Store) ReplayGroup(ctx context.Context, id string) (store.ReplayGroup, error) {
	found, err := s.groups(ctx, groupByID, id)
	switch {
	case err != nil:
		return store.ReplayGroup{}, err
	case len(found) == 0:
		return store.ReplayGroup{}, store.ErrNotFound
	}
	return found[0].ReplayGroup, nil
}

// ReplayGroups implements [store.Replays].
func (s *Store) ReplayGroups(ctx context.Context, limit int) (all []store.ReplayGroup, err error) {
	found, err := s.groups(ctx, groupsNewest, limit)
	for i := range found {
		all = append(all, found[i].ReplayGroup)
	}
	return all, err
}

// groups reads some, each with the sum of its bulk replays.
func (s *Store) groups(ctx context.Context, query string, args ...any) ([]replayGroup, error) {
	found, err := readRows(ctx, s, query, scanGroup, args...)
	for i := 0; i < len(found) && err == nil; i++ {
		var members []bulkReplay
		members, err = readRows(ctx, s, bulksOfGroup, scanBulk, found[i].ID)
		for j := range members {
			found[i].Sum.Add(&members[j].BulkReplay)
		}
	}
	return found, err
}

// readRows runs a query outside a transaction and the writer.
func readRows[T any](ctx context.Context, s *Store, query string, scan func(*sql.Rows) (T, error), args ...any) ([]T, error) {
	if s.isClosed() {
		return nil, store.ErrClosed
	}
	defer s.readers.begin()()
	rows, err := s.read.QueryContext(context.WithoutCancel(ctx), query, args...)
	if err != nil {
		return nil, s.orClosed(err)
	}
	return collect(rows, scan)
}

// StopReplayGroup implements [store.Replays].
func (s *Store) StopReplayGroup(ctx context.Context, id string, now time.Time) error {
	return s.w.do(ctx, func(tx *txn) error {
		var known bool
		if err := tx.row(`SELECT EXISTS (SELECT 1 FROM replay_groups WHERE id = ?)`, []any{id}, &known); err != nil {
			return err
		}
		if !known {
			return store.ErrNotFound
		}
		stopped := []any{string(store.ReplayStopped), micros(now), id}
		return errors.Join(
			tx.exec(`UPDATE replay_groups SET state = ?, ended_at = ? WHERE id = ? AND ended_at = 0`, stopped...),
			tx.exec(`UPDATE replays SET state = ?, ended_at = ? WHERE group_id = ? AND group_id <> '' AND ended_at = 0`, stopped...))
	})
}

// ContinueReplayGroup implements [store.Upkeep].
func (s *Store) ContinueReplayGroup(ctx context.Context, now time.Time, limit int) (running, worked bool, err error) {
	found, err := s.groups(ctx, groupRunning)
	if err != nil || len(found) == 0 {
		return false, false, err
	}
	g := &found[0]
	next, err := s.nextAccounts(ctx, g, min(limit, store.MaxGroupRunning-int(g.Sum.Running)))
	switch {
	case err != nil:
		return true, false, err
	case len(next) > 0:
		return true, true, s.w.doRows(ctx, len(next), func(tx *txn) error { return tx.beginMembers(g, next) })
	case g.Sum.Running > 0:
		return true, false, nil
	}
	return false, true, s.w.do(ctx, func(tx *txn) error {
		_, err := tx.moveGroup(g, `state = ?, ended_at = ?`, string(store.ReplayDone), micros(now))
		return err
	})
}

// nextAccounts are up to limit of a group's accounts that have not had their turn.
func (s *Store) nextAccounts(ctx context.Context, g *replayGroup, limit int) (next []string, err error) {
	if limit <= 0 {
		return nil, nil
	}
	if g.Accounts == nil {
		return readRows(ctx, s, `SELECT id FROM accounts WHERE id > ? ORDER BY id LIMIT ?`, scanString, g.after, limit)
	}
	from, is := slices.BinarySearch(g.Accounts, g.after)
	if is {
		from++
	}
	return g.Accounts[from:min(from+limit, len(g.Accounts))], nil
}

// moveGroup changes a group, unless somebody has since it was read.
func (tx *txn) moveGroup(g *replayGroup, set string, args ...any) (is bool, err error) {
	n, err := tx.changes(`UPDATE replay_groups SET `+set+` WHERE id = ? AND ended_at = 0 AND after = ?`, append(args, g.ID, g.after)...)
	return n > 0, err
}

// beginMembers begins the bulk replays of some of a group's accounts.
func (tx *txn) beginMembers(g *replayGroup, accounts []string) error {
	query, err := json.Marshal(g.Query)
	if err != nil {
		return err
	}
	if is, err := tx.moveGroup(g, `after = ?`, accounts[len(accounts)-1]); err != nil || !is {
		return err
	}
	skipped := 0
	for _, account := range accounts {
		r := store.BulkReplay{ID: store.MemberID(g.ID, account), AccountID: account, GroupID: g.ID, Asked: g.Asked, StartedAt: g.StartedAt}
		switch err := tx.startReplay(&r, query); {
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrNoWebhook), errors.Is(err, store.ErrConflict), errors.Is(err, errUnreadable):
			skipped++
		case err != nil:
			return err
		}
	}
	return tx.exec(`UPDATE replay_groups SET skipped = skipped + ? WHERE id = ?`, skipped, g.ID)
}
