package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/transfer"
)

// This file turns rows into the form that all stores have in common, and back.

// there says that an account was not erased.
const there = ` IN (SELECT id FROM accounts UNION ALL SELECT '` + store.Operations + `')`

// rowsOf selects the rows of each table whose columns are others than those in common.
var rowsOf = map[string]string{
	"settings":      `SELECT name, value FROM settings WHERE name > ? AND name NOT IN ('written', '` + transfer.Mark + `')`,
	"accounts":      `SELECT id, created_at FROM accounts WHERE id > ?`,
	"replay_groups": `SELECT id, accounts, query, asked, started_at, state, ended_at, skipped, after FROM replay_groups WHERE id > ?`,
	"deliveries": `SELECT seq, account_id, event_id, message_id, channel, part, sequence, payload, accepted_at, traceparent, checksum
		FROM deliveries WHERE seq > ? AND account_id` + there,
	"outcomes": `SELECT o.seq, d.account_id, o.number, o.at, o.duration, o.status_code, o.error, o.response, o.probe, o.failures, o.state, o.ended_at, o.phases, o.detail,
		CAST(o.location AS BLOB), CAST(o.header AS BLOB), o.account_id IS NOT NULL FROM outcomes o CROSS JOIN deliveries d ON d.seq = o.seq WHERE o.seq > ? AND d.account_id` + there,
	"waiting": `SELECT d.seq, d.account_id, coalesce(w.due_at, 0), coalesce(w.replayed_at, 0), coalesce(w.attempts, 0), coalesce(w.webhook_id, '')
		FROM deliveries d LEFT JOIN waiting w ON w.seq = d.seq
		WHERE d.seq > ? AND d.account_id` + there + ` AND NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.seq = d.seq AND o.ended_at > 0)`,
}

// selectRows selects the rows of any table that follow a key.
func selectRows(t *transfer.Table) string {
	if text, ok := rowsOf[t.Name]; ok {
		return text
	}
	return `SELECT account_id, ` + strings.Join(t.Columns[1:], `, `) + ` FROM ` + t.Name + ` WHERE account_id > ? AND account_id` + there
}

// Count implements [transfer.Source].
func (c *copied) Count(ctx context.Context, t *transfer.Table, after any) (int64, error) {
	return c.number(ctx, `SELECT count(*) FROM (`+selectRows(t)+`)`, t.First(after))
}

// Rows implements [transfer.Source].
func (c *copied) Rows(ctx context.Context, t *transfer.Table, after any, visit func(transfer.Row) error) error {
	if t.Name == "tallies" {
		return c.tallies(ctx, t.First(after), visit)
	}
	rows, err := c.db.QueryContext(ctx, selectRows(t)+` ORDER BY 1`, t.First(after))
	if err != nil {
		return err
	}
	columns, err := rows.Columns()
	if err != nil {
		return errors.Join(err, rows.Close())
	}
	return each(rows, func() error {
		row := make(transfer.Row, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		return visit(inCommon(t, row))
	})
}

// inCommon has no NULL, and the payload of a damaged delivery is empty.
func inCommon(t *transfer.Table, row transfer.Row) transfer.Row {
	if t.Name == "deliveries" {
		sum, sequence, payload := row[len(t.Columns)], row[6].(int64), row[7].([]byte)
		if kept, known := sum.(int64); known && kept != deliverySum(row[1].(string), row[2].(string), row[3].(string), sequence, payload) {
			row[7] = []byte{}
		}
		row = row[:len(t.Columns)]
	}
	for i, v := range row {
		if b, is := v.([]byte); v == nil || is && b == nil {
			row[i] = []byte{}
		}
	}
	return row
}

// tallies are the rows of an account, and what is only logged, by the ends of minutes.
func (c *copied) tallies(ctx context.Context, after any, visit func(transfer.Row) error) error {
	rows, err := c.db.QueryContext(ctx, `SELECT id FROM (SELECT id FROM accounts UNION ALL SELECT '`+store.Operations+`' AS id) WHERE id > ? ORDER BY id`, after)
	if err != nil {
		return err
	}
	accounts, err := collect(rows, scanString)
	if err != nil {
		return err
	}
	log, err := c.log(ctx)
	for _, account := range accounts {
		if err == nil {
			err = c.talliesOf(ctx, account, log[account], visit)
		}
	}
	return err
}

// log is what is logged of each account.
func (c *copied) log(ctx context.Context) (map[string][]minuteChange, error) {
	rows, err := c.db.QueryContext(ctx, `SELECT minute, changes FROM tally_log ORDER BY id`)
	if err != nil {
		return nil, err
	}
	t := tallies{accounts: map[string]*counted{}}
	err = each(rows, func() error {
		var minute int64
		var b []byte
		if err := rows.Scan(&minute, &b); err != nil {
			return err
		}
		return readLogged(b, func(account string, change *store.Tally) { t.change(account, minute, change) })
	})
	log := map[string][]minuteChange{}
	for account, of := range t.accounts {
		log[account] = of.changes
	}
	return log, err
}

func (c *copied) talliesOf(ctx context.Context, account string, log []minuteChange, visit func(transfer.Row) error) error {
	rows, err := c.db.QueryContext(ctx, `SELECT minute, tally FROM tallies WHERE account_id = ? ORDER BY minute`, account)
	if err != nil {
		return err
	}
	sum, at := &store.Tally{}, int64(-1)
	tell := func() error { return visit(transfer.Row{account, at, sum.Append(nil)}) }
	if err := each(rows, func() (err error) {
		var last *store.Tally
		if at, last, err = scanTally(rows.Scan); err != nil {
			return err
		}
		sum = &store.Tally{}
		sum.Add(last)
		return tell()
	}); err != nil {
		return err
	}
	for _, change := range log {
		if change.minute <= at {
			continue // it is in the row
		}
		at = change.minute
		sum.Add(change.change)
		if err := tell(); err != nil {
			return err
		}
	}
	return nil
}

// insertRows inserts rows as they are in common.
func insertRows(ctx context.Context, tx *sql.Tx, t *transfer.Table, rows []transfer.Row) error {
	statement, values := insertOf(t)
	prepared := map[int]*sql.Stmt{}
	defer func() {
		for _, st := range prepared {
			_ = st.Close() // it ends with the transaction anyway
		}
	}()
	return bulk(len(rows), func(from, to int) (err error) {
		st := prepared[to-from]
		if st == nil {
			if st, err = tx.PrepareContext(ctx, text(statement, values, to-from)); err != nil {
				return err
			}
			prepared[to-from] = st
		}
		var args []any
		for _, row := range rows[from:to] {
			args = append(args, kept(t, row)...)
		}
		_, err = st.ExecContext(ctx, args...)
		return err
	})
}

// insertOf is a statement for text, and a row of it.
func insertOf(t *transfer.Table) (statement, values string) {
	columns := append([]string{}, t.Columns...)
	marks := strings.Split(strings.TrimSuffix(strings.Repeat(`?,`, len(columns)), `,`), `,`)
	for i, name := range columns {
		switch {
		case name == "account" && t.Name == "accounts":
			columns[i] = "id"
		case name == "account":
			columns[i] = "account_id"
		case name == "location", name == "header":
			marks[i] = `CAST(? AS TEXT)`
		}
	}
	switch t.Name {
	case "deliveries":
		columns, marks = append(columns, "checksum"), append(marks, `?`)
	case "outcomes": // the account comes last, in the place of what says whether it is kept
		columns = append(append(columns[:1:1], columns[2:len(columns)-1]...), "account_id")
		marks = append(marks[:1:1], marks[2:]...)
	}
	return fmt.Sprintf(`INSERT INTO %s (%s) VALUES %%s`, t.Name, strings.Join(columns, `, `)), `(` + strings.Join(marks, `, `) + `)`
}

// kept are the arguments of insertOf. What may be NULL is so where it is empty.
func kept(t *transfer.Table, row transfer.Row) []any {
	args := append([]any{}, row...)
	switch t.Name {
	case "deliveries":
		args = append(args, deliverySum(row[1].(string), row[2].(string), row[3].(string), row[6].(int64), row[7].([]byte)))
	case "outcomes":
		for i, name := range t.Columns {
			if b, is := row[i].([]byte); is && len(b) == 0 && (name == "response" || name == "phases") {
				args[i] = nil
			}
		}
		args = append(args[:1:1], args[2:len(args)-1]...)
		args = append(args, nil)
		if row[len(row)-1] == int64(1) {
			args[len(args)-1] = row[1]
		}
	}
	return args
}
