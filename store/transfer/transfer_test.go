package transfer_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/open"
	"github.com/recapito/recapito/store/postgres/pgtest"
	"github.com/recapito/recapito/store/storetest"
	"github.com/recapito/recapito/store/transfer"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newFile and newDatabase are URLs of stores that are not there yet.
func newFile(t testing.TB) string     { return "sqlite:" + filepath.Join(t.TempDir(), "recapito.db") }
func newDatabase(t testing.TB) string { return pgtest.Database(t) }

func silent(string, int64, int64) {}

// copyStore copies one store to another, in batches of so many rows.
func copyStore(ctx context.Context, batch int, from, to string, in func(transfer.Target) transfer.Target) (sums transfer.Sums, err error) {
	source, err := open.Source(ctx, from)
	if err != nil {
		return sums, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := open.Target(ctx, to)
	if err != nil {
		return sums, err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	return transfer.CopyIn(ctx, batch, source, in(target), silent)
}

func plain(to transfer.Target) transfer.Target { return to }

// moving is a store that moves to another one, of the other kind, when it is opened anew.
type moving struct {
	store.Store
	t        *testing.T
	url      string
	quota    store.Quota
	listener store.Listener
}

func (m *moving) open(url string) (err error) {
	m.url = url
	m.Store, err = open.Store(context.Background(), url, open.Config{Quota: m.quota})
	if err == nil && m.listener != nil {
		m.Store.Listen(m.listener)
	}
	return err
}

func (m *moving) Listen(l store.Listener) {
	m.listener = l
	m.Store.Listen(l)
}

func (m *moving) Reopen() error {
	from, to := m.url, newFile(m.t)
	if strings.HasPrefix(from, "sqlite:") {
		to = newDatabase(m.t)
	}
	if err := m.Close(); err != nil {
		return err
	}
	if _, err := copyStore(context.Background(), 1000, from, to, plain); err != nil {
		return err
	}
	return m.open(to)
}

// A store that is copied to one of the other kind, again and again, answers as one that
// stays.
func TestModelOfAStoreThatMoves(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		must(t, f.Value.Set("2")) // each run makes databases
		t.Cleanup(func() { _ = f.Value.Set(f.DefValue) })
	}
	for _, first := range []func(testing.TB) string{newFile, newDatabase} {
		storetest.RunModel(t, func(t *testing.T, q store.Quota) store.Store {
			m := &moving{t: t, quota: q}
			must(t, m.open(first(t)))
			return m
		})
	}
}

// life makes a store that holds something of everything, and closes it.
func life(t *testing.T, url string) {
	t.Helper()
	ctx, now := t.Context(), time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	s, err := open.Store(ctx, url, open.Config{SecretKeys: [][]byte{[]byte(strings.Repeat("k", 32))}})
	must(t, err)
	register := func(id string) {
		t.Helper()
		_, err := s.CreateWebhook(ctx, store.Webhook{AccountID: id, ID: store.NewID("wh_"), CallbackURL: "https://" + id + ".example/?token=x", Status: store.Active, Secret: store.NewSecret(), CreatedAt: now, UpdatedAt: now})
		must(t, err)
	}
	register(store.Operations)
	for _, id := range []string{"a", "b", "c"} {
		_, _, err := s.PutAccount(ctx, id, now)
		must(t, err)
		must(t, s.AddAPIKey(ctx, store.APIKey{AccountID: id, ID: "key_" + id, Hash: store.HashKey(id), Hint: "hint", CreatedAt: now, ExpiresAt: now.Add(1000 * time.Hour)}))
		register(id)
		for i := range 10 {
			e := store.Event{AccountID: id, ID: fmt.Sprint("e", i), MessageID: fmt.Sprint("m", i/2), Channel: "SMS", Payload: []byte(`{"é":1}`)}
			if i%2 > 0 {
				e.Traceparent = "00-trace"
			}
			_, err := s.Accept(ctx, []store.Event{e}, now.Add(time.Duration(i)*time.Minute))
			must(t, err)
		}
	}
	for _, id := range []string{"a", "b"} {
		b, err := s.Backlog(ctx, store.BacklogQuery{AccountID: id, Now: now, Fresh: 10})
		must(t, err)
		good := store.Attempt{Number: 1, At: now, Duration: time.Second, StatusCode: 204, Phases: store.Phases{DNS: time.Millisecond}}
		bad := store.Attempt{Number: 1, At: now, StatusCode: 500, Error: store.HTTPStatus, Location: "\xff", Header: "HTTP/1.1 500\r\n\xfe", Response: []byte{0, 1}, Probe: true}
		later := now.Add(11 * time.Minute)
		must(t, s.Record(ctx, []store.Outcome{
			{Delivery: &b.Fresh[0], Attempt: &good, State: store.Delivered},
			{Delivery: &b.Fresh[1], Attempt: &bad, State: store.Failed, Failures: 1},
			{Delivery: &b.Fresh[2], Attempt: &bad, State: store.Pending, Failures: 1, DueAt: later},
			{Delivery: &b.Fresh[3], State: store.Failed},
		}, later))
		must(t, s.Replay(ctx, id, "e1", later))
		_, err = s.RotateSecret(ctx, id, store.NewSecret(), later.Add(time.Hour), later)
		must(t, err)
		w, err := s.Webhook(ctx, id)
		must(t, err)
		must(t, s.RecordHealth(ctx, []store.HealthChange{{AccountID: id, WebhookID: w.ID, Version: w.Version, To: store.HealthFailing, At: later, Error: store.HTTPStatus, StatusCode: 500}}))
		must(t, s.StartReplay(ctx, store.BulkReplay{ID: store.NewID("rpl_"), AccountID: id, StartedAt: later, Query: store.DeliveryQuery{States: []store.State{store.Failed}}}))
	}
	must(t, s.StartReplayGroup(ctx, store.ReplayGroup{ID: store.NewID("rpl_"), StartedAt: now, Accounts: []string{"c"}}))
	must(t, s.PutSetting(ctx, "empty", nil))
	must(t, s.PutSetting(ctx, "kept", []byte{0, 1}))
	must(t, s.Close())
}

// interrupted fails after each of its commits but those of a second try.
type interrupted struct {
	transfer.Target
	again *int
}

var errInterrupted = errors.New("interrupted")

func (i interrupted) Put(ctx context.Context, t *transfer.Table, rows []transfer.Row, before, mark []byte) error {
	err := i.Target.Put(ctx, t, rows, before, mark)
	if *i.again++; err == nil && *i.again%2 > 0 {
		return errInterrupted
	}
	return err
}

// There is something in every table, it arrives there and back, and a copy that is
// interrupted after each commit brings the same.
func TestAnInterruptedCopyGoesOn(t *testing.T) {
	first, second, third := newFile(t), newDatabase(t), newFile(t)
	life(t, first)
	var sums []transfer.Sums
	for _, way := range [][2]string{{first, second}, {second, third}} {
		tries := 0
		for in := func(to transfer.Target) transfer.Target { return interrupted{to, &tries} }; ; {
			got, err := copyStore(t.Context(), 3, way[0], way[1], in)
			if err == nil {
				sums = append(sums, got)
				break
			}
			if !errors.Is(err, errInterrupted) {
				t.Fatal(err)
			}
			for what, use := range map[string]func() error{
				"opening": func() error { return openAndClose(t, way[1]) },
				"copying": func() error { _, err := open.Source(t.Context(), way[1]); return err },
			} {
				if err := use(); !errors.Is(err, transfer.ErrUnfinished) {
					t.Fatalf("%s a half copy: got %v, want %v", what, err, transfer.ErrUnfinished)
				}
			}
		}
		if tries < 2*len(transfer.Tables) {
			t.Errorf("there were %d commits, want some for each table", tries)
		}
	}
	for _, table := range transfer.Tables {
		if sums[0].Rows[table.Name] == 0 {
			t.Errorf("there are no %s: the test copies nothing of them", table.Name)
		}
	}
	if err := sums[0].Differ(&sums[1]); err != nil {
		t.Error(err)
	}
}

func openAndClose(t *testing.T, url string) error {
	s, err := open.Store(t.Context(), url, open.Config{SecretKeys: [][]byte{[]byte(strings.Repeat("k", 32))}})
	if err == nil {
		err = s.Close()
	}
	return err
}

// A column that a migration adds is copied, or it is known why not.
func TestEveryColumnIsCopied(t *testing.T) {
	file, database := newFile(t), newDatabase(t)
	must(t, openAndClose(t, file))
	must(t, openAndClose(t, database))
	none := strings.Fields(`goose_db_version recapito_migrations cluster nodes shards held changes erasing totals listed tally_log`) // of a store's own
	own := map[string]string{"deliveries": "checksum src shard", "waiting": "shard", "accounts": "id no shard", "tallies": "slot"}
	columns := map[string]bool{}
	for _, table := range transfer.Tables {
		for _, column := range append(append(table.Columns, "account_id"), strings.Fields(own[table.Name])...) {
			columns[table.Name+"."+column] = true
		}
	}
	for url, query := range map[string]string{
		file:     `SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'`,
		database: `SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name IN (SELECT tablename FROM pg_tables)`,
	} {
		db := opened(t, url)
		rows, err := db.QueryContext(t.Context(), query)
		must(t, err)
		defer func() { _ = rows.Close() }() // it has been read
		for rows.Next() {
			var table, column string
			must(t, rows.Scan(&table, &column))
			if !columns[table+"."+column] && !slices.Contains(none, table) {
				t.Errorf("%s: %s.%s is not copied", url, table, column)
			}
		}
		must(t, rows.Err())
	}
}

func opened(t *testing.T, url string) *sql.DB {
	t.Helper()
	driver, name, _ := strings.Cut(url, ":")
	if driver == "postgres" {
		driver, name = "pgx", url
	}
	db, err := sql.Open(driver, name)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// forgetful loses the outcomes of an account.
type forgetful struct{ transfer.Target }

func (f forgetful) Put(ctx context.Context, t *transfer.Table, rows []transfer.Row, before, mark []byte) error {
	var kept []transfer.Row
	for _, row := range rows {
		if t.Name != "outcomes" || row[1] != "b" {
			kept = append(kept, row)
		}
	}
	return f.Target.Put(ctx, t, kept, before, mark)
}

func TestACopyThatDiffersNamesTheAccount(t *testing.T) {
	for _, to := range []string{newFile(t), newDatabase(t)} {
		from := newFile(t)
		life(t, from)
		_, err := copyStore(t.Context(), 1000, from, to, func(to transfer.Target) transfer.Target { return forgetful{to} })
		if err == nil || !strings.Contains(err.Error(), `it differs in account "b" (`) || strings.Contains(err.Error(), `"a"`) {
			t.Errorf("got %v, want that account b differs", err)
		}
		if err := openAndClose(t, to); !errors.Is(err, transfer.ErrUnfinished) {
			t.Errorf("opening it: got %v, want %v", err, transfer.ErrUnfinished)
		}
	}
}

func TestWhatACopyRefuses(t *testing.T) {
	file, database, other := newFile(t), newDatabase(t), newFile(t)
	life(t, other)
	life(t, file)
	life(t, database)
	execute := func(url, statement string) {
		t.Helper()
		db := opened(t, url)
		_, err := db.ExecContext(t.Context(), statement)
		must(t, errors.Join(err, db.Close()))
	}
	refused := func(what, from, to, want string) {
		t.Helper()
		_, err := copyStore(t.Context(), 1000, from, to, plain)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want %q, and no password", what, err, want)
		}
	}
	password := strings.Replace(database, "recapito@", "recapito:secret@", 1)
	refused("a store in memory", "memory:", file, "lives in the server's process only")
	refused("a target in memory", file, "memory:", "lives in the server's process only")
	refused("another scheme", "mysql://u:secret@h/db", file, "use memory:, sqlite:FILE or postgres://")
	refused("no source", newFile(t), newDatabase(t), "there is no such store")
	refused("an empty source", newDatabase(t), newFile(t), "holds nothing of recapito")
	refused("a database that holds something", file, password, "holds something already, and is not overwritten: copy into a new one")
	refused("a file that holds something", password, file, "holds something already, and is not overwritten: copy into a new one")
	for _, url := range []string{file, password} {
		s, err := open.Store(t.Context(), url, open.Config{SecretKeys: [][]byte{[]byte(strings.Repeat("k", 32))}})
		must(t, err)
		refused("a source that is served", url, newFile(t), "end it before you copy")
		refused("a target that is served", other, url, "end it before you copy")
		must(t, s.Close())
	}
	for _, url := range []string{file, password} {
		versions := map[bool]string{true: "recapito_migrations", false: "goose_db_version"}[url != file]
		half := newFile(t)
		source, err := open.Source(t.Context(), url)
		must(t, err)
		target, err := open.Target(t.Context(), half)
		must(t, err)
		_, err = transfer.Copy(t.Context(), source, interrupted{target, new(int)}, silent)
		if !errors.Is(errors.Join(err, source.Close(), target.Close()), errInterrupted) {
			t.Fatal(err)
		}
		must(t, openAndClose(t, url))
		refused("a source that was served meanwhile", url, half, "has been written to since the copy began")
		execute(url, `INSERT INTO `+versions+` (version_id, is_applied) VALUES (999, true)`)
		refused("a newer source", url, newFile(t), "was written by a newer recapito (schema 999")
		refused("a newer target", other, url, "was written by a newer recapito (schema 999")
		execute(url, `DELETE FROM `+versions+` WHERE version_id > 3`)
		refused("an older source", url, newFile(t), "was written by an older recapito (schema 3")
	}
}
