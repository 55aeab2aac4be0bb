package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/history"
)

// Accounts implements [store.Accounts].
func (s *Store) Accounts(ctx context.Context, q store.AccountQuery) (store.AccountPage, error) {
	return s.rankings.Accounts(&q, &accountSource{ctx, s, q.Now})
}

// accountSource implements [history.AccountSource].
type accountSource struct {
	ctx   context.Context
	store *Store
	now   time.Time
}

func (a *accountSource) Waiting(after string, n int) ([]string, error) {
	return a.store.pendingIn(a.ctx, everyShard, []string{}, after, n)
}

// longestPending are the tallies of some accounts by the end of a minute, and since when
// their deliveries wait that wait longest: in their first run, and sent again.
var longestPending = `SELECT s.id, t.tallies,
		coalesce((SELECT x.accepted_at FROM deliveries x WHERE x.seq = (SELECT min(u.seq) FROM (
			SELECT min(seq) AS seq FROM waiting WHERE account = a.no AND replayed_at = 0
			UNION ALL (` + freshBeyond(`a.no`, `a.shard`, `0`, ``) + ` ORDER BY d.seq LIMIT 1)) u) LIMIT 1), 0),
		coalesce((SELECT min(replayed_at) FROM waiting WHERE account = a.no AND replayed_at > 0), 0)
	FROM unnest($1::text[]) WITH ORDINALITY AS s (id, place)
	CROSS JOIN LATERAL (SELECT x.no, x.shard FROM accounts x WHERE x.id = s.id AND x.no > 0 LIMIT 1) a
	CROSS JOIN LATERAL (SELECT array_agg(y.tally) AS tallies FROM nodes n
		CROSS JOIN LATERAL (SELECT x.tally FROM tallies x WHERE x.account = a.no AND x.slot = n.slot AND x.minute <= $2 ORDER BY x.minute DESC LIMIT 1) y) t
	ORDER BY s.place`

// Harm leaves out what cannot be read.
func (a *accountSource) Harm(r *history.Ranking, ids []string) error {
	type row struct {
		id            string
		tallies       [][]byte
		first, replay int64
	}
	found, err := all(a.ctx, a.store, func(from pgx.CollectableRow) (w row, err error) {
		return w, from.Scan(&w.id, &w.tallies, &w.first, &w.replay)
	}, longestPending, ids, r.Minute)
	for _, w := range found {
		if sum, err := readTogether(w.tallies); err == nil && len(w.tallies) > 0 {
			r.Add(w.id, sum.Pending(), store.Earliest(instant(w.first), instant(w.replay)))
		}
	}
	return err
}

const accountsInState = `SELECT a.id FROM unnest($1::text[]) AS s (id) CROSS JOIN LATERAL (SELECT x.id, x.no FROM accounts x WHERE x.id = s.id LIMIT 1) a
	WHERE (SELECT w.health FROM webhooks w WHERE w.account = a.no LIMIT 1) = ANY($2::text[])`

func (a *accountSource) InState(ids []string, states []store.HealthState) ([]string, error) {
	return all(a.ctx, a.store, pgx.RowTo[string], accountsInState, ids, states)
}

// The accounts with IDs from one on, beyond another, and before a third: all, and those
// in a state.
const (
	accountsAfter = `SELECT id FROM accounts WHERE no > 0 AND id >= $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4`
	healthyAfter  = `SELECT a.id FROM accounts a WHERE a.no > 0 AND a.id >= $1 AND a.id > $2 AND a.id < $3
		AND (SELECT w.health FROM webhooks w WHERE w.account = a.no LIMIT 1) = 'HEALTHY' ORDER BY a.id LIMIT $4`
	// The index of those that are not HEALTHY has numbers of accounts, in no order of IDs.
	unhealthyAfter = `SELECT a.id FROM webhooks w JOIN accounts a ON a.no = w.account WHERE w.health <> 'HEALTHY' AND w.health = ANY($5::text[])
		AND a.no > 0 AND a.id >= $1 AND a.id > $2 AND a.id < $3 ORDER BY a.id LIMIT $4`
)

// After looks through all that are not HEALTHY, if such are asked for. What begins with
// the prefix is before the prefix with a character behind it that no ID has.
func (a *accountSource) After(id, prefix string, states []store.HealthState, n int) (found []string, err error) {
	args := []any{max(prefix, id), id, prefix + "\x7f", n}
	if len(states) == 0 {
		return all(a.ctx, a.store, pgx.RowTo[string], accountsAfter, args...)
	}
	if slices.Contains(states, store.HealthHealthy) {
		if found, err = all(a.ctx, a.store, pgx.RowTo[string], healthyAfter, args...); err != nil {
			return nil, err
		}
	}
	more, err := all(a.ctx, a.store, pgx.RowTo[string], unhealthyAfter, append(args, states)...)
	found = append(found, more...)
	slices.Sort(found)
	return found[:min(n, len(found))], err
}

// Health says no more than the state of an account of which something is damaged.
func (a *accountSource) Health(id string) (h store.AccountHealth, err error) {
	var made, since int64
	var callbackURL []byte
	w := store.Webhook{AccountID: id}
	err = a.store.one(a.ctx, `SELECT a.id, a.created_at, coalesce(w.health, ''), coalesce(w.health_since, 0), coalesce(w.id, ''), w.callback_url
		FROM accounts a LEFT JOIN webhooks w ON w.account = a.no WHERE a.id = $1 AND a.no > 0`, []any{id}, &h.ID, &made, &h.State, &since, &w.ID, &callbackURL)
	if err != nil {
		return h, err
	}
	h.CreatedAt, h.Since = instant(made), instant(since)
	if text, err := a.store.sealer.Load().Open(callbackURL, w.URLContext()); err == nil {
		h.CallbackURL = string(text)
	}
	v, err := a.store.Vitals(a.ctx, id, a.now)
	switch {
	case err == nil:
		h.Add(&v, a.now)
	case errors.Is(err, store.ErrDamaged), errors.Is(err, errUnreadable):
		err = nil
	}
	return h, err
}

var _ history.AccountSource = (*accountSource)(nil)
