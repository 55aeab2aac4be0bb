package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// Record implements [store.Queue].
func (s *Store) Record(ctx context.Context, outcomes []store.Outcome, now time.Time) error {
	return s.w.submit(&operation{ctx: ctx, rows: len(outcomes), record: &recorded{outcomes, now}, incarnation: s.w.incarnation.Load()})
}

// recorded is what one caller has recorded.
type recorded struct {
	outcomes []store.Outcome
	now      time.Time
}

// recordable are the outcomes of accounts that are the node's, or that it holds. The others are of
// before it was taken for dead, and another node makes those attempts again: if both
// recorded, a delivery that has ended could be left in the table of what waits.
func (tx *txn) recordable(outcomes []store.Outcome) []store.Outcome {
	foreign := func(o store.Outcome) bool { return !tx.mine(o.Delivery.AccountID) }
	if !slices.ContainsFunc(outcomes, foreign) {
		return outcomes
	}
	return slices.DeleteFunc(slices.Clone(outcomes), foreign)
}

// record adds outcomes to a batch.
func (tx *txn) record(batch *pgx.Batch, r *recorded) {
	outcomes := tx.recordable(r.outcomes)
	tx.outcomes += len(outcomes)
	for rest := outcomes; len(rest) > 0; {
		n := independent(rest)
		tx.recordTogether(batch, rest[:n], r.now)
		rest = rest[n:]
	}
}

// independent counts, from the beginning, the outcomes that can be recorded by one
// statement, which does not see what it changes: at most one of each message, or those
// that release no others and wait for none.
func independent(outcomes []store.Outcome) int {
	type message struct{ account, id string }
	alone := make(map[message]bool, len(outcomes)) // whether one of it must be the only one
	seqs := make(map[int64]bool, len(outcomes))
	for i := range outcomes {
		o := &outcomes[i]
		m := message{o.Delivery.AccountID, o.Delivery.MessageID}
		must, known := alone[m]
		if known && (must || !o.AtFirst()) || seqs[o.Delivery.Seq] {
			return i
		}
		alone[m], seqs[o.Delivery.Seq] = !o.AtFirst(), true
	}
	return len(outcomes)
}

// recordOutcomes records outcomes o. An attempt that is there already is not added
// again: with one that leaves its delivery PENDING nothing happens then. Of a delivery
// that has ended, or was replayed since it was read, the attempt is kept alone; to the
// replay it is one of before.
var recordOutcomes = `WITH o AS MATERIALIZED (
		SELECT u.*, d.account, d.shard, d.message_id, d.size, ` + isPending(`u.seq`) + ` AND coalesce((SELECT x.replayed_at FROM waiting x WHERE x.seq = u.seq), 0) = u.replayed AS pending
		FROM unnest($2::bigint[], $3::integer[], $4::bigint[], $5::bigint[], $6::smallint[], $7::text[], $8::bytea[], $9::boolean[], $10::integer[], $11::smallint[],
				$12::bigint[], $13::boolean[], $14::boolean[], $15::boolean[], $16::bytea[], $17::text[], $18::bytea[], $19::bytea[], $20::bigint[])
			AS u (seq, number, at, duration, status_code, error, response, probe, failures, state, due_at, behind, releases, at_first, phases, detail, location, header, replayed)
		CROSS JOIN LATERAL (SELECT x.account, x.shard, x.message_id, octet_length(x.payload) AS size FROM deliveries x WHERE x.seq = u.seq LIMIT 1) d),
	kept AS (INSERT INTO outcomes (seq, at, ended_at, account, duration, number, failures, status_code, state, probe, error, detail, phases, response, location, header)
		SELECT seq, at, CASE WHEN pending AND state > 0 THEN $1::bigint ELSE 0 END, CASE WHEN pending AND at_first OR number = 0 THEN NULL ELSE account END, duration, number,
			CASE WHEN pending THEN failures ELSE coalesce((SELECT x.failures FROM outcomes x WHERE x.seq = o.seq ORDER BY x.number DESC LIMIT 1), 0) END,
			status_code, CASE WHEN pending THEN state ELSE 0 END, probe, error, detail, phases, response, location, header
		FROM o WHERE number > 0 OR pending AND state > 0
		ON CONFLICT (seq, number) DO UPDATE SET state = excluded.state, ended_at = excluded.ended_at WHERE excluded.state > 0
		RETURNING seq, number, state, xmax = 0 AS is_new),
	gone AS (DELETE FROM waiting w USING o WHERE w.seq = o.seq AND o.pending AND o.state > 0),
	put_off AS (INSERT INTO waiting (seq, account, due_at, shard)
		SELECT seq, account, CASE WHEN due_at = 0 AND replayed > 0 OR behind AND (SELECT p.seq FROM deliveries p WHERE p.message_id = o.message_id AND p.account = o.account AND p.seq < o.seq AND ` + isPending(`p.seq`) + `
				AND (coalesce((SELECT x.replayed_at FROM waiting x WHERE x.seq = p.seq), 0) > 0) = (o.replayed > 0) LIMIT 1) IS NULL THEN $1::bigint ELSE due_at END, shard
		FROM o WHERE pending AND state = 0 AND (number = 0 OR seq IN (SELECT seq FROM kept))
		ON CONFLICT (seq) DO UPDATE SET due_at = excluded.due_at),
	released AS (UPDATE waiting w SET due_at = $1::bigint
		FROM (SELECT p.seq, o.replayed FROM o CROSS JOIN LATERAL (SELECT x.seq FROM deliveries x WHERE x.message_id = o.message_id AND x.account = o.account AND x.seq <> o.seq OFFSET 0) p
			WHERE o.releases AND o.pending) r
		WHERE w.seq = r.seq AND w.due_at > $1::bigint AND (w.replayed_at > 0) = (r.replayed > 0)
			AND (SELECT x.number FROM outcomes x WHERE x.seq = w.seq AND x.number > w.attempts LIMIT 1) IS NULL),
	before AS (UPDATE waiting w SET attempts = greatest(w.attempts, k.number)
		FROM kept k JOIN o ON o.seq = k.seq WHERE w.seq = k.seq AND w.replayed_at > 0 AND NOT o.pending AND k.is_new)
	SELECT k.seq, k.number, o.account, o.size, k.is_new, k.state FROM kept k JOIN o ON o.seq = k.seq`

// columns are outcomes in the order of the statement's arguments.
type columns struct {
	seq, at, duration, due, replayed   []int64
	number, failures                   []int32
	status, state                      []int16
	kind, detail                       []string
	response, phases, location, header [][]byte
	probe, behind, releases, atFirst   []bool
}

func (c *columns) add(o *store.Outcome) {
	a := o.Attempt
	if a == nil {
		a = &store.Attempt{}
	}
	c.seq, c.at, c.duration, c.due = append(c.seq, o.Delivery.Seq), append(c.at, micros(a.At)), append(c.duration, a.Duration.Microseconds()), append(c.due, micros(o.DueAt))
	c.replayed = append(c.replayed, micros(o.Delivery.Replay.At))
	c.number, c.failures = append(c.number, int32(a.Number)), append(c.failures, int32(o.Failures))
	if o.Attempt == nil {
		c.failures[len(c.failures)-1] = 0
	}
	c.status, c.state = append(c.status, int16(a.StatusCode)), append(c.state, stateCodes[o.State])
	c.kind, c.detail = append(c.kind, string(a.Error)), append(c.detail, a.Detail)
	c.response, c.phases = append(c.response, a.Response), append(c.phases, a.PackPhases())
	c.location, c.header = append(c.location, orNull(a.Location)), append(c.header, orNull(a.Header))
	c.probe, c.behind, c.releases, c.atFirst = append(c.probe, a.Probe), append(c.behind, o.Behind), append(c.releases, o.Releases()), append(c.atFirst, o.AtFirst())
}

func orNull(text string) []byte {
	if text == "" {
		return nil
	}
	return []byte(text)
}

func (tx *txn) recordTogether(batch *pgx.Batch, outcomes []store.Outcome, now time.Time) {
	var c columns
	for i := range outcomes {
		c.add(&outcomes[i])
	}
	batch.Queue(recordOutcomes, micros(now), c.seq, c.number, c.at, c.duration, c.status, c.kind, c.response, c.probe, c.failures, c.state,
		c.due, c.behind, c.releases, c.atFirst, c.phases, c.detail, c.location, c.header, c.replayed).Query(func(rows pgx.Rows) error { return tx.recorded(rows, outcomes, now) })
}

// recorded counts what was added and what has ended. It gets at most one row of each
// delivery.
func (tx *txn) recorded(rows pgx.Rows, outcomes []store.Outcome, now time.Time) error {
	of := make(map[int64]*store.Outcome, len(outcomes))
	for i := range outcomes {
		of[outcomes[i].Delivery.Seq] = &outcomes[i]
	}
	var seq, account, size int64
	var number int32
	var isNew bool
	var state int16
	_, err := pgx.ForEachRow(rows, []any{&seq, &number, &account, &size, &isNew, &state}, func() error {
		t := tx.tally(account, now)
		if state > 0 {
			tx.ended(state, 1)
			t.AddPending(-1, -size)
			if state == failed {
				tx.gaveUp(account, 1, now)
			}
		}
		if isNew && number > 0 {
			t.AddAttempt(seq, of[seq].Attempt)
		}
		return nil
	})
	return err
}
