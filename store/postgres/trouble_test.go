package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/postgres/pgtest"
)

// proxy is between the store and its server. While it is deaf, the server hears
// everything and is not heard.
type proxy struct {
	net.Listener
	to    string
	armed atomic.Bool // it becomes deaf when the next commit is answered
	deaf  atomic.Bool
	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(t *testing.T, port int) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: fmt.Sprint("127.0.0.1:", port)}
	t.Cleanup(func() { _ = l.Close(); p.cut() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(&mouth{p, in}, out); _ = in.Close() }()
		}
	}()
	return p
}

// mouth is what the server says.
type mouth struct {
	p  *proxy
	to net.Conn
}

func (m *mouth) Write(b []byte) (int, error) {
	if m.p.armed.Load() && bytes.Contains(b, []byte("COMMIT\x00")) {
		m.p.deaf.Store(true)
	}
	if m.p.deaf.Load() {
		_ = m.to.Close() // the server has done what it answers
		return 0, io.ErrClosedPipe
	}
	return m.to.Write(b)
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

// behind is a URL by way of the proxy.
func (p *proxy) behind(t *testing.T, url string) string {
	t.Helper()
	return strings.Replace(url, p.to, p.Addr().String(), 1)
}

func TestWhatACommitWhoseAnswerIsLostAcceptedIsToldOnce(t *testing.T) {
	url := pgtest.Database(t)
	p := newProxy(t, pgtest.Shared(t).Port)
	s, l := open(t, p.behind(t, url)), &listener{}
	s.Listen(l)
	ready(t, s, "a")
	if err := acceptOne(s, "before"); err != nil {
		t.Fatal(err)
	}
	p.armed.Store(true)
	if err := acceptOne(s, "lost"); err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("Accept: got %v, want that the outcome is unknown", err)
	}
	p.armed.Store(false)
	p.deaf.Store(false)
	p.cut()
	eventually(t, "the listener to be told", func() bool { accepted, _, _, _ := l.told(); return slices.Contains(accepted, "lost") })
	verdicts, err := s.Accept(t.Context(), []store.Event{event("a", "lost")}, t0)
	if err != nil || verdicts[0] != store.Duplicate {
		t.Errorf("the repeat: got %v (%v), want a duplicate", verdicts, err)
	}
	if n := s.Stats().Deliveries[store.Pending]; n != 2 {
		t.Errorf("%d are PENDING, want 2", n)
	}
	if err := acceptOne(s, "after"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the listener to be told", func() bool { accepted, _, _, _ := l.told(); return slices.Contains(accepted, "after") })
	if accepted, _, lost, _ := l.told(); lost != 0 || !slices.Equal(accepted, []string{"before", "lost", "after"}) {
		t.Errorf("told of %v and %d times Lost, want of before, lost and after, and never", accepted, lost)
	}
}

// The pulse has found what a commit in doubt accepted, and has not told it yet.
func TestTheWriterTellsAgainOnceThePulseHasToldWhatItFound(t *testing.T) {
	s := &streams{}
	s.begin(0, 10)
	s.fallBehind(0)
	s.ended.Store(20)
	if s.caughtUp(0) {
		t.Error("the writer tells again from 10, and the pulse tells up to 20")
	}
	s.told[0] = 20
	if !s.caughtUp(0) || s.own != 20 {
		t.Errorf("after that the writer tells again from %d, want 20", s.own)
	}
}

// An event that the node has accepted and not told may be behind another node's, of the same
// message, of which it does not know yet.
func TestAPageShowsNothingThatIsStillToBeTold(t *testing.T) {
	s := &streams{}
	s.begin(1, 10)
	s.told[0] = 7
	if diff := cmp.Diff([]int64{7, 10}, s.shown(1)); diff != "" {
		t.Errorf("a page shows up to (-want +got):\n%s", diff)
	}
	s.fallBehind(1)
	s.own = 20
	if diff := cmp.Diff([]int64{7, 10}, s.shown(1)); diff != "" {
		t.Errorf("while the pulse tells the own stream, a page shows up to (-want +got):\n%s", diff)
	}
}

func TestACrashOfTheServerLosesNothingThatWasAccepted(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url)
	ready(t, s, "a")
	var accepted []string
	stop, done := make(chan struct{}), make(chan struct{})
	var some atomic.Int64
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			id := fmt.Sprint("e", i)
			if err := acceptOne(s, id); err == nil {
				accepted = append(accepted, id)
				some.Add(1)
			}
		}
	}()
	eventually(t, "events to be accepted", func() bool { return some.Load() > 20 })
	if err := pgtest.Shared(t).Restart(); err != nil {
		t.Fatal(err)
	}
	before := some.Load()
	eventually(t, "events to be accepted again", func() bool { return some.Load() > before+20 })
	close(stop)
	<-done
	var page store.FeedPage
	eventually(t, "the feed to be read, on a connection of after the crash", func() (read bool) {
		var err error
		page, err = s.Events(t.Context(), store.FeedQuery{AccountID: "a", Limit: 1 << 20})
		return err == nil
	})
	kept := map[string]bool{}
	for _, e := range page.Events {
		kept[e.EventID] = true
	}
	for _, id := range accepted {
		if !kept[id] {
			t.Errorf("%s was accepted and is lost", id)
		}
	}
	if n := s.Stats().Deliveries[store.Pending]; n != int64(len(page.Events)) {
		t.Errorf("the total of PENDING is %d, want %d", n, len(page.Events))
	}
}

// A server whose standby does not answer may be told to go on without it. It then
// reports the commit as done.
func TestACommitThatDidNotWaitForTheStandbyIsUncertain(t *testing.T) {
	server, err := pgtest.Start() // of its own: all of its commits wait
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	url := server.Database(t)
	s := open(t, url)
	ready(t, s, "a")
	execute(t, url, `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`, `SELECT pg_reload_conf()`)
	// A commit that comes before the server has read its configuration does not wait.
	var id string
	refused := make(chan error, 1)
	go func() {
		for i := 1; t.Context().Err() == nil; i++ {
			id = fmt.Sprint("e", i)
			if err := acceptOne(s, id); err != nil {
				refused <- err
				return
			}
		}
	}()
	eventually(t, "a commit to wait for the standby, and not to any more", func() bool {
		var ended int
		row(t, url, `SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep'`, &ended)
		return len(refused) > 0
	})
	if err := <-refused; !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "did not wait for the synchronous standby") {
		t.Errorf("Accept: got %v, want that the outcome is unknown, as the commit did not wait", err)
	}
	execute(t, url, `ALTER SYSTEM RESET synchronous_standby_names`, `SELECT pg_reload_conf()`)
	eventually(t, "the store to go on", func() bool { return s.Ready(t.Context()) == nil })
	if verdicts, err := s.Accept(t.Context(), []store.Event{event("a", id)}, t0); err != nil || verdicts[0] != store.Duplicate {
		t.Errorf("the repeat: got %v (%v), want a duplicate", verdicts, err)
	}
}

// A server that was demoted may keep its connections: what it is asked by them it refuses, or
// answers with what is old.
func TestAServerThatIsNoPrimaryAnyMoreIsLeft(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url)
	ready(t, s, "a")
	if _, _, err := s.Delivery(t.Context(), "a", "e0"); !errors.Is(err, store.ErrNotFound) { // a connection for reading
		t.Fatal(err)
	}
	const ours = ` FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`
	var before []int32
	row(t, url, `SELECT array_agg(pid)`+ours, &before)
	if len(before) < 3 {
		t.Fatalf("%d connections, want those of the writer, of the pulse and for reading", len(before))
	}
	if err := s.w.do(t.Context(), func(tx *txn) error {
		_, err := tx.exec(`SET default_transaction_read_only = on`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := acceptOne(s, "e1"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Accept by a connection that cannot write any more: got %v, want that it is unavailable", err)
	}
	eventually(t, "an event to be accepted by a new connection", func() bool { return acceptOne(s, "e2") == nil })
	eventually(t, "all connections of before to end", func() bool {
		var left int
		row(t, url, fmt.Sprintf(`SELECT count(*)`+ours+` AND pid = ANY('{%s}')`, strings.Trim(strings.ReplaceAll(fmt.Sprint(before), " ", ","), "[]")), &left)
		return left == 0
	})
}

func TestWhatTheServerCannotKeepFailsAlone(t *testing.T) {
	s := open(t, pgtest.Database(t))
	ready(t, s, "a")
	release := s.w.heldUp(t) // so that the others are one commit
	var all sync.WaitGroup
	var failures, done atomic.Int64
	for i := range 8 {
		all.Go(func() {
			id := fmt.Sprint("e", i)
			if i%4 == 0 {
				id += "\x00" // text of PostgreSQL does not hold it
			}
			if err := acceptOne(s, id); err != nil {
				failures.Add(1)
			} else {
				done.Add(1)
			}
		})
	}
	eventually(t, "the events to be handed in", func() bool { return len(s.w.queue) == 8 })
	release()
	all.Wait()
	if failures.Load() != 2 || done.Load() != 6 {
		t.Errorf("%d failed and %d were accepted, want 2 and 6", failures.Load(), done.Load())
	}
	if n := s.Stats().Deliveries[store.Pending]; n != 6 {
		t.Errorf("%d are PENDING, want 6", n)
	}
}

func TestAWebhookThatCannotBeReadEndsNoConnection(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url)
	ready(t, s, "a")
	epoch := func() (epoch int64) {
		if err := s.w.do(t.Context(), func(tx *txn) error { epoch = tx.w.lease.epoch; return nil }); err != nil {
			t.Fatal(err)
		}
		return epoch
	}
	before := epoch()
	execute(t, url, `UPDATE webhooks SET callback_url = '\x01ff'`) // sealed with a key
	if _, err := s.ReplaceCallbackURL(t.Context(), "a", "https://b.example/", t0); !errors.Is(err, errUnreadable) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("ReplaceCallbackURL: got %v, want that it cannot be read", err)
	}
	if after := epoch(); after != before {
		t.Errorf("the node has connected %d times since, want never", after-before)
	}
}

// An endpoint may answer with any bytes.
func TestBytesOfAnEndpointAreKeptAsTheyAre(t *testing.T) {
	s := open(t, pgtest.Database(t))
	ready(t, s, "a")
	d := pendingOne(t, s, "e1")
	a := store.Attempt{Number: 1, At: t0, StatusCode: 302, Error: store.HTTPStatus, Location: "\xff\x00", Header: "HTTP/1.1 302 \xfe\x00", Response: []byte{0, 0xff}}
	if err := s.Record(t.Context(), []store.Outcome{{Delivery: &d, State: store.Failed, Failures: 1, Attempt: &a}}, t0); err != nil {
		t.Fatal(err)
	}
	_, attempts, err := s.Delivery(t.Context(), "a", "e1")
	if err != nil || len(attempts) != 1 || attempts[0].Location != a.Location || attempts[0].Header != a.Header || string(attempts[0].Response) != string(a.Response) {
		t.Errorf("got %+v (%v), want %+v", attempts, err, a)
	}
}

// The server parses and plans statements once. Behind a pooler, which may give each
// transaction another session, nothing is kept in one.
func TestStatementsAreKeptInASessionUnlessThereIsAPooler(t *testing.T) {
	for name, by := range map[string]func(string) string{"direct": func(url string) string { return url }, "pooler": pgtest.Shared(t).Pooler(t)} {
		t.Run(name, func(t *testing.T) {
			s := open(t, by(pgtest.Database(t)))
			ready(t, s, "a")
			if err := acceptOne(s, "e1"); err != nil {
				t.Fatal(err)
			}
			var statements, others int
			err := s.w.do(t.Context(), func(tx *txn) error {
				return tx.row(`SELECT (SELECT count(*) FROM pg_prepared_statements),
					(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') + (SELECT count(*) FROM pg_listening_channels())`, nil, &statements, &others)
			})
			if err != nil || others > 0 || (statements > 0) != (name == "direct") {
				t.Errorf("%d prepared statements, %d advisory locks and channels (%v)", statements, others, err)
			}
		})
	}
}

// A plan is made for the tables as they are.
func TestAPlanIsNotKeptWhileItsTableGrows(t *testing.T) {
	ctx := t.Context()
	s := open(t, pgtest.Database(t), func(c *Config) { c.Shared = true })
	conn := s.w.conn
	var p plans
	if err := s.replan(ctx, &p, conn); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`SET enable_seqscan = on`, // so that there are two ways
		`CREATE TEMP TABLE growing (n integer PRIMARY KEY)`, `PREPARE find(integer) AS SELECT n FROM growing WHERE n = $1`,
		`INSERT INTO growing VALUES (1)`, `ANALYZE growing`, `EXECUTE find(1)`,
	} {
		if _, err := conn.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	plan := func() (first string) {
		if err := conn.QueryRow(ctx, `EXPLAIN EXECUTE find(1)`, pgx.QueryExecModeSimpleProtocol).Scan(&first); err != nil {
			t.Fatal(err)
		}
		return first
	}
	if small := plan(); !strings.HasPrefix(small, "Seq Scan") {
		t.Fatalf("of one row: %s, want that it reads the table: the test shows nothing", small)
	}
	if _, err := conn.Exec(ctx, `INSERT INTO growing SELECT generate_series(2, 50000)`); err != nil {
		t.Fatal(err)
	}
	p.from -= replanGap
	if err := s.replan(ctx, &p, conn); err != nil {
		t.Fatal(err)
	}
	if large := plan(); strings.HasPrefix(large, "Seq Scan") {
		t.Errorf("of 50,000 rows: %s, want that it uses the index", large)
	}
}

func TestWhatIsStillFreshIsEnteredAfterAWhile(t *testing.T) {
	var m marks
	for _, tt := range []struct {
		at, accepted int64 // seconds; the last delivery by then
		mark, want   int64
		due          bool
	}{{0, 10, 0, 0, false}, {1, 20, 0, 0, false}, {4, 40, 0, 0, false}, {5, 50, 0, 10, true}, {6, 50, 10, 20, true}, {6, 60, 20, 20, false}, {60, 60, 20, 50, true}} {
		m.entered = tt.mark
		if to, due := m.next(tt.accepted, time.Duration(tt.at)*time.Second); to != tt.want || due != tt.due {
			t.Errorf("after %d s: got %d, due %v; want %d, %v", tt.at, to, due, tt.want, tt.due)
		}
	}
}

func TestErrorsOfAStartSayWhatToDo(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil []string
		want  string
	}{
		"a newer schema":    {[]string{`INSERT INTO recapito_migrations (version_id, is_applied) VALUES (999, true)`}, "was written by a newer recapito (schema 999"},
		"another program's": {[]string{`DROP TABLE recapito_migrations`}, "give recapito a database of its own"},
		"not durable":       {[]string{`ALTER ROLE ALL SET synchronous_commit = off`}, "synchronous_commit=off"},
		"sealed with a key": {[]string{`INSERT INTO settings VALUES ('secret-key-check', '\x01ff')`}, "--secret-key"},
		"no permission":     {[]string{`CREATE ROLE guest LOGIN`, `REVOKE ALL ON ALL TABLES IN SCHEMA public FROM guest`}, "make it the owner of the database"},
	} {
		t.Run(name, func(t *testing.T) {
			url := pgtest.Database(t)
			if err := open(t, url).Close(); err != nil {
				t.Fatal(err)
			}
			execute(t, url, tt.spoil...)
			switch name {
			case "not durable":
				defer execute(t, url, `ALTER ROLE ALL RESET synchronous_commit`)
			case "no permission":
				defer execute(t, url, `DROP ROLE guest`)
				url = strings.Replace(url, "recapito@", "guest@", 1)
			}
			s, err := Open(t.Context(), Config{URL: url})
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "PostgreSQL at 127.0.0.1:") {
				t.Errorf("got %v, want one with the database and %q", err, tt.want)
			}
		})
	}
	url := pgtest.Database(t)
	for bad, want := range map[string]string{
		strings.Replace(url, "/test_", "/none_", 1):                           "there is no such database",
		strings.Replace(url, fmt.Sprint(":", pgtest.Shared(t).Port), ":1", 1): "cannot connect",
		"postgres://u:hunter2@h:port/db":                                      "use postgres://USER@HOST:PORT/DATABASE",
		strings.Replace(url, "recapito@", "nobody:hunter2@", 1):               "refuses the user",
	} {
		if _, err := Open(t.Context(), Config{URL: bad}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %q", bad, err, want)
		}
	}
}
