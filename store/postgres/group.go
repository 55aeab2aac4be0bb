package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

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
	groupByID    = selectGroup + `WHERE id = $1`
	groupRunning = selectGroup + `WHERE ended_at = 0`
	groupsNewest = selectGroup + `ORDER BY started_at DESC, id DESC LIMIT $1`
	bulksOfGroup = selectBulk + `WHERE r.group_id = $1 AND r.group_id <> ''`
)

func scanGroup(row pgx.CollectableRow) (g replayGroup, err error) {
	var accounts, query []byte
	var started, ended int64
	err = row.Scan(&g.ID, &accounts, &query, &g.Asked, &started, &g.State, &ended, &g.Skipped, &g.after)
	if err != nil {
		return g, err
	}
	g.StartedAt, g.EndedAt = instant(started), instant(ended)
	return g, errors.Join(json.Unmarshal(accounts, &g.Accounts), json.Unmarshal(query, &g.Query))
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
		n, err := tx.exec(`INSERT INTO replay_groups (`+groupColumns+`) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, '') ON CONFLICT DO NOTHING`,
			g.ID, accounts, query, append([]byte{}, g.Asked...), micros(g.StartedAt), string(store.ReplayRunning))
		switch {
		case err != nil:
			return err
		case n == 0:
			return store.ErrConflict
		}
		tx.news = append(tx.news, news{account: store.Operations, started: true})
		if !tx.mine(store.Operations) {
			tx.note(store.Operations, replayStarted, g.StartedAt)
		}
		return nil
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
func (s *Store) ReplayGroups(ctx context.Context, limit int) (groups []store.ReplayGroup, err error) {
	found, err := s.groups(ctx, groupsNewest, limit)
	for i := range found {
		groups = append(groups, found[i].ReplayGroup)
	}
	return groups, err
}

// groups reads some, each with the sum of its bulk replays.
func (s *Store) groups(ctx context.Context, query string, args ...any) ([]replayGroup, error) {
	found, err := all(ctx, s, scanGroup, query, args...)
	for i := 0; i < len(found) && err == nil; i++ {
		var members []bulkReplay
		members, err = all(ctx, s, scanBulk, bulksOfGroup, found[i].ID)
		for j := range members {
			found[i].Sum.Add(&members[j].BulkReplay)
		}
	}
	return found, err
}

// StopReplayGroup implements [store.Replays].
func (s *Store) StopReplayGroup(ctx context.Context, id string, now time.Time) error {
	return s.w.do(ctx, func(tx *txn) error {
		var known string
		if err := tx.row(`SELECT id FROM replay_groups WHERE id = $1`, []any{id}, &known); err != nil {
			return err
		}
		for _, which := range [...]string{`replay_groups SET state = $2, ended_at = $3 WHERE id = $1`, `replays SET state = $2, ended_at = $3 WHERE group_id = $1 AND group_id <> ''`} {
			if _, err := tx.exec(`UPDATE `+which+` AND ended_at = 0`, id, string(store.ReplayStopped), micros(now)); err != nil {
				return err
			}
		}
		return nil
	})
}

// ContinueReplayGroup implements [store.Upkeep].
func (s *Store) ContinueReplayGroup(ctx context.Context, now time.Time, limit int) (running, worked bool, err error) {
	if !s.shards.owns(operationsShard) {
		return false, false, nil // that of the platform's own webhook goes on with it
	}
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
		return true, true, s.w.do(ctx, func(tx *txn) error { return tx.beginMembers(g, next) })
	case g.Sum.Running > 0:
		return true, false, nil
	}
	return false, true, s.w.do(ctx, func(tx *txn) error {
		_, err := tx.moveGroup(g, `state = $3, ended_at = $4`, string(store.ReplayDone), micros(now))
		return err
	})
}

// nextAccounts are up to limit of a group's accounts that have not had their turn.
func (s *Store) nextAccounts(ctx context.Context, g *replayGroup, limit int) (next []string, err error) {
	if limit <= 0 {
		return nil, nil
	}
	if g.Accounts == nil {
		return all(ctx, s, pgx.RowTo[string], `SELECT id FROM accounts WHERE no > 0 AND id > $1 ORDER BY id LIMIT $2`, g.after, limit)
	}
	from, is := slices.BinarySearch(g.Accounts, g.after)
	if is {
		from++
	}
	return g.Accounts[from:min(from+limit, len(g.Accounts))], nil
}

// moveGroup changes a group, unless somebody has since it was read. The parameters of
// set begin with the third.
func (tx *txn) moveGroup(g *replayGroup, set string, args ...any) (is bool, err error) {
	n, err := tx.exec(`UPDATE replay_groups SET `+set+` WHERE id = $1 AND ended_at = 0 AND after = $2`, append([]any{g.ID, g.after}, args...)...)
	return n > 0, err
}

// beginMembers begins the bulk replays of some of a group's accounts.
func (tx *txn) beginMembers(g *replayGroup, accounts []string) error {
	query, err := json.Marshal(g.Query)
	if err != nil {
		return err
	}
	if is, err := tx.moveGroup(g, `after = $3`, accounts[len(accounts)-1]); err != nil || !is {
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
	_, err = tx.exec(`UPDATE replay_groups SET skipped = skipped + $2 WHERE id = $1`, g.ID, skipped)
	return err
}
