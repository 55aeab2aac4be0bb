package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/transfer"
)

// This file turns rows into the form that all stores have in common, and back.

// rowsOf selects the rows of each table whose columns are others than those in common.
// What belongs to an account that was erased is left out by the join.
var rowsOf = map[string]string{
	"settings":      `SELECT name COLLATE "C", value FROM settings WHERE name COLLATE "C" > $1 AND name <> '` + transfer.Mark + `'`,
	"accounts":      `SELECT id, created_at FROM accounts WHERE id > $1 AND no <> 0`,
	"replay_groups": `SELECT id COLLATE "C", accounts, query, asked, started_at, state, ended_at, skipped, after FROM replay_groups WHERE id COLLATE "C" > $1`,
	"tallies":       `SELECT a.id, t.minute, t.tally, t.slot FROM accounts a JOIN tallies t ON t.account = a.no WHERE a.id > $1`,
	"deliveries":    `SELECT d.seq, a.id, d.event_id, d.message_id, d.channel, d.part, d.sequence, d.payload, d.accepted_at, coalesce(d.traceparent, '') FROM deliveries d JOIN accounts a ON a.no = d.account WHERE d.seq > $1`,
	"outcomes": `SELECT o.seq, a.id, o.number, o.at, o.duration, o.status_code, o.error, o.response, o.probe, o.failures, o.state, o.ended_at, o.phases, o.detail, o.location, o.header, o.account IS NOT NULL
		FROM outcomes o JOIN deliveries d ON d.seq = o.seq JOIN accounts a ON a.no = d.account WHERE o.seq > $1`,
	"waiting": `SELECT d.seq, a.id, coalesce(w.due_at, 0), coalesce(w.replayed_at, 0), coalesce(w.attempts, 0), coalesce(w.webhook_id, '')
		FROM deliveries d JOIN accounts a ON a.no = d.account LEFT JOIN waiting w ON w.seq = d.seq WHERE d.seq > $1 AND ` + isPending(`d.seq`),
}

// selectRows selects the rows of any table that follow a key.
func selectRows(t *transfer.Table) string {
	if text, ok := rowsOf[t.Name]; ok {
		return text
	}
	return `SELECT a.id, t.` + strings.Join(t.Columns[1:], `, t.`) + ` FROM accounts a JOIN ` + t.Name + ` t ON t.account = a.no WHERE a.id > $1`
}

// Count implements [transfer.Source].
func (c *copied) Count(ctx context.Context, t *transfer.Table, after any) (n int64, err error) {
	err = c.conn.QueryRow(ctx, `SELECT count(*) FROM (`+selectRows(t)+`) r`, t.First(after)).Scan(&n)
	return n, err
}

// Rows implements [transfer.Source]. The rows come by the indexes: nothing is sorted that
// may be larger than the memory.
func (c *copied) Rows(ctx context.Context, t *transfer.Table, after any, visit func(transfer.Row) error) error {
	if t.Name != "tallies" {
		return c.rows(ctx, selectRows(t)+` ORDER BY 1`, t.First(after), visit)
	}
	m := minutes{visit: visit}
	if err := c.rows(ctx, selectRows(t)+` ORDER BY 1, 2`, t.First(after), m.add); err != nil {
		return err
	}
	return m.tell()
}

func (c *copied) rows(ctx context.Context, query string, after any, visit func(transfer.Row) error) error {
	return pgx.BeginTxFunc(ctx, c.conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		for _, way := range []string{"sort", "hashjoin"} {
			if _, err := tx.Exec(ctx, `SET LOCAL enable_`+way+` = off`); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, query, after)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			row, err := rows.Values()
			if err != nil {
				return err
			}
			if err := visit(inCommon(row)); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

// minutes adds up what the nodes have counted of an account by the end of each minute.
type minutes struct {
	visit   func(transfer.Row) error
	account string
	minute  int64
	bySlot  map[int64]*store.Tally // as of the last row of each
}

func (m *minutes) add(row transfer.Row) error {
	account, minute := row[0].(string), row[1].(int64)
	if account != m.account || minute != m.minute {
		if err := m.tell(); err != nil {
			return err
		}
	}
	if account != m.account || m.bySlot == nil {
		m.bySlot = map[int64]*store.Tally{}
	}
	t, err := readTally(row[2].([]byte))
	m.account, m.minute, m.bySlot[row[3].(int64)] = account, minute, t
	return err
}

func (m *minutes) tell() error {
	var all []*store.Tally
	for _, slot := range slices.Sorted(maps.Keys(m.bySlot)) {
		all = append(all, m.bySlot[slot])
	}
	if len(all) == 0 {
		return nil
	}
	return m.visit(transfer.Row{m.account, m.minute, together(all).Append(nil)})
}

// inCommon has no NULL, and one kind of numbers.
func inCommon(row transfer.Row) transfer.Row {
	for i, v := range row {
		switch v := v.(type) {
		case int16:
			row[i] = int64(v)
		case int32:
			row[i] = int64(v)
		case bool:
			row[i] = int64(0)
			if v {
				row[i] = int64(1)
			}
		case nil:
			row[i] = []byte{}
		}
	}
	return row
}

// insertRows inserts rows as they are in common.
func insertRows(ctx context.Context, tx pgx.Tx, t *transfer.Table, rows []transfer.Row) error {
	if len(rows) == 0 {
		return nil
	}
	numbers, err := numbersOf(ctx, tx, t, rows)
	if err != nil {
		return err
	}
	columns := append([]string{}, t.Columns...)
	switch t.Name {
	case "accounts":
		columns = []string{"id", "created_at", "shard"}
	case "deliveries":
		columns = append(columns, "src", "shard")
	case "waiting":
		columns = append(columns, "shard")
	case "outcomes": // the last one says whether the account is kept
		columns = columns[:len(columns)-1]
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{t.Name}, columns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		return kept(t, rows[i], numbers), nil
	}))
	return err
}

// numbersOf are the numbers of the accounts of rows.
func numbersOf(ctx context.Context, tx pgx.Tx, t *transfer.Table, rows []transfer.Row) (map[string]int64, error) {
	at := slices.Index(t.Columns, "account")
	if at < 0 || t.Name == "accounts" {
		return nil, nil
	}
	numbers := map[string]int64{}
	for _, row := range rows {
		numbers[row[at].(string)] = -1
	}
	found, err := tx.Query(ctx, `SELECT id, no FROM accounts WHERE id = ANY($1)`, slices.Collect(maps.Keys(numbers)))
	if err != nil {
		return nil, err
	}
	var id string
	var no int64
	_, err = pgx.ForEachRow(found, []any{&id, &no}, func() error { numbers[id] = no; return nil })
	for id, no := range numbers {
		if no < 0 && err == nil {
			err = fmt.Errorf("there is no account %q", id)
		}
	}
	return numbers, err
}

// kept is a row as it is kept: the account by its number, and what may be NULL is so
// where it is empty.
func kept(t *transfer.Table, row transfer.Row, numbers map[string]int64) []any {
	if t.Name == "accounts" {
		return []any{row[0], row[1], shardOf(row[0].(string))}
	}
	out, shard := append([]any{}, row...), int16(0)
	for i, name := range t.Columns {
		switch name {
		case "account":
			out[i], shard = numbers[row[i].(string)], shardOf(row[i].(string))
		case "probe", "make_due":
			out[i] = row[i] == int64(1)
		case "response", "phases", "location", "header":
			if len(row[i].([]byte)) == 0 {
				out[i] = nil
			}
		case "traceparent":
			if row[i] == "" {
				out[i] = nil
			}
		}
	}
	switch t.Name {
	case "deliveries":
		return append(out, int16(0), shard) // as if the first node had accepted them
	case "waiting":
		return append(out, shard)
	case "outcomes":
		if row[len(row)-1] == int64(0) {
			out[1] = nil
		}
		return out[:len(out)-1]
	}
	return out
}
