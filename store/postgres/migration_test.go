package postgres

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"io/fs"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/recapito/recapito/store/postgres/pgtest"
)

// Databases have been made by them. A new file is added here with its digest.
func TestMigrationsAreFrozen(t *testing.T) {
	want := map[string]string{
		"migrations/00001_init.sql":            "1980324a66495a4fa29fbaf71d8de031727546a46837c4e789abd881841272d2",
		"migrations/00002_waiting_longest.sql": "ce79fe245c1b8762c4313f5f5b076237ee539b1ffee52e379c5dd777d2bda17d",
		"migrations/00003_nodes.sql":           "ca68f202dcfd9a2797110613a518a188fe4b07a7c8e6e90642bbad5e7b5a58bf",
		"migrations/00004_pending_bytes.sql":   "f6495c03f691c6d2ec1d68a0977d50f752ac09009ad4280acdcb0fb498310933",
		"migrations/00005_traceparent.sql":     "d35f83ad13d990f9d887f9f07969bdda7ce9c0474bfbd169e95c7507ae4b111c",
		"migrations/00006_make_due.sql":        "a93430b3d3e2def14bf82d84b8870280122b8d2d5976b85c69c19f21692e4e63",
		"migrations/00007_key_expiry.sql":      "fe310f59d2a8e9e80c7091ca551cef0e489825a95fa6d21c8aa269aeaff80468",
		"migrations/00008_held.sql":            "0ee7fcdd26b0da580625503a09cbb04cd5383964b0768b1a47d7840e03aa8595",
	}
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(want) {
		t.Errorf("%d files, want %d", len(files), len(want))
	}
	for _, file := range files {
		content, err := migrations.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		if got := hex.EncodeToString(sum[:]); got != want[file] {
			t.Errorf("%s: got the SHA-256 %s, want %s", file, got, want[file])
		}
	}
}

// What waited before bytes were counted counts.
func TestOldBacklogCountsAfterTheMigration(t *testing.T) {
	url := pgtest.Database(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	makeUpTo(t, url, 3)
	for _, statement := range []string{
		`INSERT INTO accounts (id, shard, created_at) VALUES ('a', 202, 1), ('b', 62, 1)`,
		`INSERT INTO deliveries SELECT 65536 + n, 1000000, no, n, 0, 1, shard, 'SMS', 'e' || n, 'm', convert_to(repeat('x', n * 1000), 'UTF8') FROM accounts, generate_series(1, 3) n WHERE id = 'a'`,
		`INSERT INTO outcomes (seq, at, ended_at, duration, number, failures, status_code, state, probe, error, detail) VALUES (65538, 1, 2, 1, 1, 0, 204, 1, false, '', '')`,
		`INSERT INTO tallies (account, minute, tally) SELECT no, 5, '\x01000a0000' FROM accounts WHERE id <> '$operations'`,
		`INSERT INTO tallies (account, minute, tally) SELECT no, 6, '\x0200040206000e' FROM accounts WHERE id = 'a'`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	s := open(t, url)
	for account, want := range map[string]backlog{"a": {2, 4000}, "b": {5, 0}} {
		var tally []byte
		err := s.one(t.Context(), `SELECT tally FROM tallies t JOIN accounts a ON a.no = t.account WHERE a.id = $1 ORDER BY minute DESC LIMIT 1`, []any{account}, &tally)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := readTally(tally)
		if err != nil {
			t.Fatalf("%s: %v", account, err)
		}
		if got := (backlog{sum.Pending(), sum.PendingBytes()}); got != want {
			t.Errorf("%s: %+v wait, want %+v", account, got, want)
		}
	}
}

// Who reads the tables, as pg_dump does, delays a start that changes them. It delays no
// commit of the nodes that serve meanwhile.
func TestAMigrationThatCannotBeginKeepsNobody(t *testing.T) {
	url := pgtest.Database(t)
	makeUpTo(t, url, 7)
	conn, end := connect(t, url)
	defer end()
	execute := func(statement string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	execute(`BEGIN`)
	execute(`LOCK TABLE nodes IN ACCESS SHARE MODE`)
	started := make(chan error)
	go func() {
		s, err := Open(context.Background(), Config{URL: url})
		if err == nil {
			err = s.Close()
		}
		started <- err
	}()
	eventually(t, "the migration to wait", func() (waits bool) {
		return conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'nodes'::regclass AND NOT granted)`).Scan(&waits) == nil && waits
	})
	node, end := connect(t, url)
	defer end()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := node.Exec(ctx, `UPDATE nodes SET beat = beat + 1`); err != nil {
		t.Errorf("a commit while the migration waits: %v", err)
	}
	execute(`ROLLBACK`)
	if err := <-started; err != nil {
		t.Errorf("the start ends with %v, want that it goes on when the tables are free", err)
	}
}

// Nodes that start at once on an empty database make its tables between them.
func TestNodesThatStartTogetherMakeTheTables(t *testing.T) {
	url := pgtest.Database(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s, err := Open(context.Background(), Config{URL: url})
			if err == nil {
				err = s.Close()
			}
			if err != nil {
				t.Errorf("a start: %v", err)
			}
		})
	}
	all.Wait()
}

// makeUpTo makes the tables as they were.
func makeUpTo(t *testing.T, url string, version int64) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	provider, err := newProvider(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
}
