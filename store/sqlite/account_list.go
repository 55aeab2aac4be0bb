package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

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
	return a.store.PendingAccounts(a.ctx, after, n)
}

// longestPending is since when the deliveries of an account that are entered wait that
// wait longest: in their first run, and sent again.
const longestPending = `SELECT
	coalesce((SELECT accepted_at FROM deliveries WHERE seq = (SELECT min(seq) FROM waiting INDEXED BY waiting_longest WHERE account_id = ?1 AND replayed_at = 0)), 0),
	coalesce((SELECT min(replayed_at) FROM waiting INDEXED BY waiting_longest WHERE account_id = ?1 AND replayed_at > 0), 0)`

// Harm leaves out what cannot be read.
func (a *accountSource) Harm(r *history.Ranking, ids []string) error {
	changes, fresh := make([][]minuteChange, len(ids)), make([]int64, len(ids))
	for i, id := range ids {
		changes[i], _ = a.store.w.tallies.of(id)
		fresh[i] = a.store.w.tail.oldest(id)
	}
	return a.store.snapshot(a.ctx, func(tx *readTxn) error {
		for i, id := range ids {
			if id == store.Operations {
				continue
			}
			sum, err := tx.tallyUpTo(id, r.Minute, changes[i])
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				return err
			}
			if sum.Pending() <= 0 {
				continue
			}
			var first, replay int64
			if err := tx.tx.StmtContext(tx.ctx, a.store.reads.longest).QueryRowContext(tx.ctx, id).Scan(&first, &replay); err != nil {
				return err
			}
			r.Add(id, sum.Pending(), store.Earliest(store.Earliest(instant(first), instant(replay)), instant(fresh[i])))
		}
		return nil
	})
}

const accountsInState = `SELECT account_id FROM webhooks WHERE account_id IN (SELECT value FROM json_each(?)) AND health IN (SELECT value FROM json_each(?))`

func (a *accountSource) InState(ids []string, states []store.HealthState) ([]string, error) {
	return readRows(a.ctx, a.store, accountsInState, scanString, texts(ids), texts(states))
}

// The accounts with IDs from one on, beyond another, and before a third: all, and those
// in a state.
const (
	accountsAfter  = `SELECT id FROM accounts WHERE id >= ? AND id > ? AND id < ? ORDER BY id LIMIT ?`
	healthyAfter   = `SELECT account_id FROM webhooks WHERE account_id >= ? AND account_id > ? AND account_id < ? AND health = 'HEALTHY' AND account_id <> '` + store.Operations + `' ORDER BY account_id LIMIT ?`
	unhealthyAfter = `SELECT account_id FROM webhooks WHERE account_id >= ? AND account_id > ? AND account_id < ? AND health <> 'HEALTHY' AND health = ? AND account_id <> '` + store.Operations + `' ORDER BY account_id LIMIT ?`
)

// After is by an index for each state. What begins with the prefix is before the prefix
// with a character behind it that no ID has.
func (a *accountSource) After(id, prefix string, states []store.HealthState, n int) (found []string, err error) {
	from, to := max(prefix, id), prefix+"\x7f"
	if len(states) == 0 {
		return readRows(a.ctx, a.store, accountsAfter, scanString, from, id, to, n)
	}
	for _, state := range states {
		var more []string
		if state == store.HealthHealthy {
			more, err = readRows(a.ctx, a.store, healthyAfter, scanString, from, id, to, n)
		} else {
			more, err = readRows(a.ctx, a.store, unhealthyAfter, scanString, from, id, to, string(state), n)
		}
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	return found[:min(n, len(found))], nil
}

// accountState is the state of an account's webhook.
const accountState = `SELECT health, health_since FROM webhooks WHERE account_id = ?`

// Health says no more than the state of an account of which something is damaged.
func (a *accountSource) Health(id string) (h store.AccountHealth, err error) {
	if h.Account, err = a.store.Account(a.ctx, id); err != nil {
		return h, err
	}
	var since int64
	if err = a.store.one(a.ctx, a.store.reads.state, []any{id}, &h.State, &since); err != nil && !errors.Is(err, store.ErrNotFound) {
		return h, err
	}
	h.Since = instant(since)
	if w, err := a.store.Webhook(a.ctx, id); err == nil {
		h.CallbackURL = w.CallbackURL
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

// texts is an argument for json_each.
func texts[T ~string](all []T) string {
	b, err := json.Marshal(all)
	if err != nil {
		panic(err) // texts can be written
	}
	return string(b)
}

var _ history.AccountSource = (*accountSource)(nil)
