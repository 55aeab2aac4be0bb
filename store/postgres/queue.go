package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// LastAccepted implements [store.Queue].
func (s *Store) LastAccepted(ctx context.Context) (time.Time, error) {
	found, err := all(ctx, s, pgx.RowTo[int64], `SELECT accepted_at FROM deliveries ORDER BY seq DESC LIMIT 1`)
	if err != nil || len(found) == 0 {
		return time.Time{}, err
	}
	return instant(found[0]), nil
}

// freshBeyond are the deliveries of an account, beyond the mark of its shard and another
// place, that are fresh and not in the table of what waits. shown is up to where each
// node's are shown, by slot; empty: all are.
func freshBeyond(account, shard, after, shown string) string {
	told := ``
	if shown != `` {
		told = ` AND d.seq <= coalesce((` + shown + `::bigint[])[d.src + 1], 0)`
	}
	return `SELECT d.seq FROM deliveries d WHERE d.account = ` + account + ` AND d.seq > (SELECT h.mark FROM shards h WHERE h.shard = ` + shard + `) AND d.seq > ` + after + told + ` AND ` + isPending(`d.seq`) + `
		AND (SELECT w.seq FROM waiting w WHERE w.seq = d.seq) IS NULL`
}

// numberOf is the number of an account by its ID; NULL: there is none.
const numberOf = `(SELECT no FROM accounts WHERE id = $1)`

// hasPending is whether an account has something PENDING. It asks for the first one by an index:
// else the server may look for any in the whole table, though most accounts have none.
func hasPending(account, shard string) string {
	return `((SELECT w.seq FROM waiting w WHERE w.account = ` + account + ` ORDER BY w.due_at, w.seq LIMIT 1) IS NOT NULL
		OR (SELECT f.seq FROM (` + freshBeyond(account, shard, `0`, ``) + ` ORDER BY d.seq LIMIT 1) f) IS NOT NULL)`
}

var (
	anyPending      = `SELECT ` + hasPending(`$1`, `$2::smallint`)
	pendingAccounts = `SELECT a.id FROM accounts a WHERE a.id > $1 AND a.shard = ANY($3) AND a.id <> ALL($4) AND ` + hasPending(`a.no`, `a.shard`) + ` ORDER BY a.id LIMIT $2`
)

// PendingAccounts implements [store.Queue]. It looks at each account once, however
// many deliveries it has.
func (s *Store) PendingAccounts(ctx context.Context, after string, limit int) ([]string, error) {
	these := s.shards.in(owned) // first: what is held of a shard is known before it is owned
	return s.pendingIn(ctx, these, s.held.list(), after, limit)
}

// pendingIn are those of some shards, but for some accounts.
func (s *Store) pendingIn(ctx context.Context, these []int16, but []string, after string, limit int) ([]string, error) {
	return all(ctx, s, pgx.RowTo[string], pendingAccounts, after, limit, these, but)
}

// The deliveries of a backlog: those that are due, and the fresh ones.
var (
	dueDeliveries = `SELECT ` + deliveryColumns + whatBehind(`$5`) + ` FROM (SELECT seq, due_at FROM waiting WHERE account = ` + numberOf + `
			AND due_at > 0 AND replayed_at = 0` + mostDue
	dueReplays = `SELECT ` + deliveryColumns + whatBehind(`$5`) + ` FROM (SELECT seq, due_at FROM waiting WHERE account = ` + numberOf + `
			AND replayed_at > 0` + mostDue
	freshDeliveries = `SELECT ` + deliveryColumns + whatBehind(`$5`) + ` FROM (
			(SELECT seq FROM waiting WHERE account = ` + numberOf + ` AND due_at = 0 AND seq > $3 ORDER BY seq LIMIT $4)
			UNION ALL (` + freshBeyond(numberOf, `$2::smallint`, `$3`, `$6`) + ` ORDER BY d.seq LIMIT $4) ORDER BY seq LIMIT $4) s` + bySeq + withQueue + ` ORDER BY s.seq`
	oldestDelivery = `SELECT ` + deliveryColumns + `, ` + firstFailure(`d.seq`) + `, NULL::bigint[] FROM (SELECT min(u.seq) AS seq FROM (
			SELECT min(seq) AS seq FROM waiting WHERE account = ` + numberOf + ` AND replayed_at = 0
			UNION ALL (` + freshBeyond(numberOf, `$2::smallint`, `0`, `$3`) + ` ORDER BY d.seq LIMIT 1)) u) s` + bySeq + withQueue
	firstReplay = `SELECT ` + deliveryColumns + whatBehind(`$2`) + ` FROM (SELECT seq FROM waiting WHERE account = ` + numberOf + ` AND replayed_at > 0
		ORDER BY replayed_at, seq LIMIT 1) s` + bySeq + withQueue
)

const mostDue = ` AND due_at <= $2 AND seq <> ALL($3::bigint[]) ORDER BY due_at, seq LIMIT $4) s` + bySeq + withQueue + ` ORDER BY s.due_at, s.seq`

const nextDue = `SELECT coalesce(min(due_at), 0) FROM waiting WHERE account = ` + numberOf + ` AND due_at > $2`

// Backlog implements [store.Queue].
func (s *Store) Backlog(ctx context.Context, q store.BacklogQuery) (b store.Backlog, err error) {
	ctx, cancel := shortly(ctx)
	defer cancel()
	shown, now := s.shown(), micros(time.Now()) // nothing in the snapshot is later; what is told meanwhile may be left out
	err = s.snapshot(ctx, s.reads, func(tx pgx.Tx) error {
		if b.Webhook, err = s.webhookIn(ctx, tx, q.AccountID); err != nil {
			return err
		}
		known := append([]int64{}, q.Known...)
		if b.Due, err = deliveries(ctx, tx, q.AccountID, false, dueDeliveries, q.AccountID, micros(q.Now), known, q.Due, now); err != nil {
			return err
		}
		if q.Fresh > 0 {
			if b.Fresh, err = deliveries(ctx, tx, q.AccountID, false, freshDeliveries, q.AccountID, shardOf(q.AccountID), q.After, q.Fresh, now, shown); err != nil {
				return err
			}
		}
		if q.Replays > 0 {
			if b.Replays, err = deliveries(ctx, tx, q.AccountID, false, dueReplays, q.AccountID, micros(q.Now), known, q.Replays, now); err != nil {
				return err
			}
		}
		var next int64
		err = tx.QueryRow(ctx, nextDue, q.AccountID, micros(q.Now)).Scan(&next)
		b.NextDue = instant(next)
		return err
	})
	return b, err
}

// Oldest implements [store.Queue].
func (s *Store) Oldest(ctx context.Context, accountID string) (b store.Backlog, err error) {
	ctx, cancel := shortly(ctx)
	defer cancel()
	shown := s.shown()
	err = s.snapshot(ctx, s.reads, func(tx pgx.Tx) error {
		if b.Webhook, err = s.webhookIn(ctx, tx, accountID); err != nil {
			return err
		}
		if b.Fresh, err = deliveries(ctx, tx, accountID, false, oldestDelivery, accountID, shardOf(accountID), shown); err != nil {
			return err
		}
		b.Replays, err = deliveries(ctx, tx, accountID, false, firstReplay, accountID, micros(time.Now()))
		return err
	})
	return b, err
}

// shown is up to where what is fresh may be shown, by the slot of its node.
func (s *Store) shown() []int64 {
	s.telling.Lock()
	defer s.telling.Unlock()
	return s.streams.shown(s.w.mySlot())
}

// shown is, by slot, up to where a page may show what is fresh: what the listener has been
// told. It must be told nothing that it has found before, and must find nothing that is
// behind an event of the same message of which it is still to be told.
func (s *streams) shown(slot int16) []int64 {
	last := slot
	for other := range s.told {
		last = max(last, other)
	}
	shown := make([]int64, last+1)
	shown[slot] = s.own
	for other, seq := range s.told {
		shown[other] = seq
	}
	return shown
}
