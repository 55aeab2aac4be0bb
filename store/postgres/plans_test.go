package postgres

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/postgres/pgtest"
)

// deliveriesOf notes what was accepted.
type deliveriesOf struct {
	listener
	mu  sync.Mutex
	all []store.Delivery
}

func (l *deliveriesOf) Accepted(batch []store.Acceptance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batch {
		l.all = append(l.all, batch[i].Delivery)
	}
}

func (l *deliveriesOf) first(n int) []store.Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[:min(n, len(l.all))]
}

// The server keeps plans, and makes the first of them while the tables are empty: there a plan
// that reads all of a table costs the least. It is seen by what the server says that it has read.
func TestNoCommitReadsAWholeTable(t *testing.T) {
	const batches, rows = 20, 50
	tables := []string{"deliveries", "outcomes", "waiting"}
	url := pgtest.Database(t)
	s, l := open(t, url, func(c *Config) { c.deaf, c.share = true, func(int) int { return numShards } }), &deliveriesOf{}
	for _, table := range tables { // as after a quiet time: it knows that they are empty
		if _, err := s.reads.Exec(t.Context(), `VACUUM ANALYZE `+table); err != nil {
			t.Fatal(err)
		}
	}
	s.Listen(l)
	ready(t, s, "a")
	eventually(t, "the node to have its shards", func() bool { return shardsHeld(s) == numShards })
	other := open(t, url, none)
	for b := range batches {
		events := make([]store.Event, rows)
		for i := range events {
			events[i] = event("a", fmt.Sprintf("e%d-%d", b, i))
			events[i].MessageID = fmt.Sprint("m", i)
		}
		if _, err := []*Store{s, other}[b%2].Accept(t.Context(), events, t0); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the node to know of them", func() bool { return len(l.first(rows*(b+1))) == rows*(b+1) })
	}
	outcomes := make([]store.Outcome, 0, rows)
	for n := range batches - 1 {
		ds := l.first(rows * (n + 1))[rows*n:]
		outcomes = outcomes[:0]
		for i := range ds {
			o := store.Outcome{Delivery: &ds[i], State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: t0, StatusCode: 200}}
			if i%2 == 1 {
				o.State, o.Failures, o.DueAt, o.Attempt.Error = store.Pending, 1, t0.Add(time.Hour), store.Timeout
			}
			outcomes = append(outcomes, o)
		}
		if err := s.Record(t.Context(), outcomes, t0); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the server to have counted", func() bool {
		var accepted, attempted int
		if err := s.one(t.Context(), `SELECT (SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'deliveries'), (SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'outcomes')`,
			nil, &accepted, &attempted); err != nil {
			t.Fatal(err)
		}
		return accepted >= batches*rows && attempted >= (batches-1)*rows
	})
	for _, table := range tables {
		var scans, read int
		if err := s.one(t.Context(), `SELECT seq_scan, seq_tup_read FROM pg_stat_user_tables WHERE relname = $1`, []any{table}, &scans, &read); err != nil {
			t.Fatal(err)
		}
		if read > 0 {
			t.Errorf("%s: %d rows were read in %d scans of the whole table, want none", table, read, scans)
		}
	}
}

// Many accounts have nothing that waits, though one has much.
func TestWhoHasSomethingPendingIsFoundByIndexes(t *testing.T) {
	s := open(t, pgtest.Database(t))
	ready(t, s, "a")
	ctx := t.Context()
	for _, statement := range []string{
		`INSERT INTO waiting (seq, account, due_at, shard) SELECT n, 1, n, 1 FROM generate_series(1, 50000) n`, `VACUUM ANALYZE waiting`,
	} {
		if _, err := s.reads.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	for name, pool := range map[string]string{"direct": "off", "by a pooler, which takes no settings": "on"} {
		t.Run(name, func(t *testing.T) {
			var plan []string
			if err := pgx.BeginFunc(ctx, s.reads, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = `+pool); err != nil {
					return err
				}
				rows, err := tx.Query(ctx, `EXPLAIN `+pendingAccounts, "", 1, []int16{0}, []string{})
				if err != nil {
					return err
				}
				plan, err = pgx.CollectRows(rows, pgx.RowTo[string])
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if text := strings.Join(plan, "\n"); strings.Contains(text, "Seq Scan on waiting") {
				t.Errorf("all of a table is read:\n%s", text)
			}
		})
	}
}
