package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A store moves from a file to PostgreSQL, with a copy that is killed, and back: what
// waits arrives, the history is the same, keys, secrets and cursors go on.
func TestAStoreMoves(t *testing.T) {
	to, bin, url, flags := onPostgres(t)
	flags = []string{flags[0], flags[1], "--retry-schedule", "1s", "--platform-key", platformKey}
	healthy := to.answer
	to.answer = func(account string, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(map[string]int{"good": 204, "bad": 500, "gone": 410}[account])
	}
	file := filepath.Join(t.TempDir(), "recapito.db")
	svc := launch(t, bin, file, flags...)
	keys := map[string]string{}
	for _, account := range []string{"good", "bad", "gone"} {
		keys[account] = svc.account(account)
		svc.register(to, account, keys[account])
		for i := range 5 {
			id := fmt.Sprint("e", i)
			feed(t, svc, 1, [][]string{{event(account, id, id, "SENT")}})
		}
	}
	counted := func(delivered, failed, pending float64) {
		t.Helper()
		eventually(t, "the outcomes", func() bool {
			return metric(t, svc, `recapito_deliveries{state="DELIVERED"}`) == delivered && metric(t, svc, `recapito_deliveries{state="FAILED"}`) == failed &&
				metric(t, svc, `recapito_deliveries{state="PENDING"}`) == pending
		})
	}
	counted(5, 5, 5)
	history := func() (all string) {
		t.Helper()
		for _, account := range []string{"good", "bad"} {
			for _, path := range []string{"/deliveries", "/deliveries/e1", "/attempts", "/events?limit=3", "/health/changes"} {
				code, answer := svc.api("GET", hook+path, keys[account], "")
				if code != http.StatusOK {
					t.Fatalf("GET %s: %d %s", path, code, answer)
				}
				all += string(answer) + "\n"
			}
		}
		return regexp.MustCompile(`"nextCursor":"[^"]*"`).ReplaceAllString(all, "") // each time another one
	}
	before := history()
	_, answer := svc.api("GET", hook+"/events?limit=5", keys["good"], "")
	var page struct{ NextCursor string }
	if err := json.Unmarshal(answer, &page); err != nil || page.NextCursor == "" {
		t.Fatalf("the feed: %v %s", err, answer)
	}
	refuses := func(want string, args ...string) {
		t.Helper()
		out, err := exec.Command(bin, args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%q: got %v, %s\nwant %q", args, err, out, want)
		}
	}
	move := []string{"copy", "--from", "sqlite:" + file, "--to", url}
	refuses("is in use by another recapito process: end it before you copy", move...)
	svc.kill() // its log is there
	digest := digestOf(t, file)

	killBeforeItEnds(t, url, exec.Command(bin, move...))
	refuses("a copy into it has not ended", "serve", "--store", url)
	out, err := exec.Command(bin, move...).CombinedOutput()
	if want := "it holds 3 accounts and 15 deliveries, 5 of them PENDING"; err != nil || !strings.Contains(string(out), want) {
		t.Fatalf("the copy: got %v, %s\nwant %q", err, out, want)
	}
	if digestOf(t, file) != digest {
		t.Error("the copy has changed what it copied")
	}
	refuses("holds something already", move...)

	svc = launch(t, bin, url, flags...)
	same := func(where string) {
		t.Helper()
		if after := history(); after != before {
			t.Errorf("the history %s:\n%s\nwant:\n%s", where, after, before)
		}
	}
	same("on PostgreSQL")
	counted(5, 5, 5)
	to.answer = healthy
	if code, answer := svc.api("PUT", hook, keys["gone"], callback(to.url("gone"))); code != http.StatusOK {
		t.Fatalf("PUT: %d %s", code, answer)
	}
	counted(10, 5, 0)
	feed(t, svc, 1, [][]string{{event("good", "later", "later", "SENT")}})
	counted(11, 5, 0)
	_, answer = svc.api("GET", hook+"/events?after="+page.NextCursor, keys["good"], "")
	if text := string(answer); strings.Count(text, `"acceptedAt"`) != 1 || !strings.Contains(text, `"later"`) {
		t.Errorf("the feed after the cursor: %s, want the later event alone", text)
	}
	before = history()
	svc.terminate()

	back := filepath.Join(t.TempDir(), "back.db")
	if out, err := exec.Command(bin, "copy", "--from", url, "--to", "sqlite:"+back).CombinedOutput(); err != nil {
		t.Fatalf("the copy back: %v\n%s", err, out)
	}
	svc = launch(t, bin, back, flags...)
	same("on SQLite")
	feed(t, svc, 1, [][]string{{event("gone", "last", "last", "SENT")}})
	counted(12, 5, 0)
	for account := range keys {
		for _, a := range to.of(account) {
			if a.Verified != nil {
				t.Errorf("%s %s: %v", account, a.ID, a.Verified)
			}
		}
	}
}

// digestOf is of a database file and its log.
func digestOf(t *testing.T, file string) (sum [sha256.Size]byte) {
	t.Helper()
	var all []byte
	for _, name := range []string{file, file + "-wal"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return sha256.Sum256(all)
}

// holdOutcomes lets whoever adds the first outcomes to a database wait for a lock.
const holdOutcomes = `CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
	CREATE FUNCTION made() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
		IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'public.outcomes') THEN
			CREATE TRIGGER hold BEFORE INSERT ON outcomes FOR EACH STATEMENT EXECUTE FUNCTION hold();
		END IF; END $$;
	CREATE EVENT TRIGGER made ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION made();
	SELECT pg_advisory_lock(7)`

// killBeforeItEnds starts a copy to a database, and kills it when it comes to the
// outcomes.
func killBeforeItEnds(t *testing.T, url string, cmd *exec.Cmd) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }() // which ends the waiting
	if _, err := conn.Exec(ctx, holdOutcomes, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the copy to come to the outcomes", func() (waits bool) {
		err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)`).Scan(&waits)
		return waits || err != nil
	})
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); err == nil || out.String() != "" {
		t.Fatalf("the copy ended with %v before it was killed, and said %q", err, out)
	}
}
