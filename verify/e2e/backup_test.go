package e2e

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // reads and damages the store's file
)

// manual runs the commands of docs/backup.md, with its directories in a
// temporary one.
type manual struct {
	t      *testing.T
	dir    string
	bin    string
	blocks []string
}

func newManual(t *testing.T) *manual {
	t.Helper()
	text, err := os.ReadFile("docs/backup.md")
	if err != nil {
		t.Fatal(err)
	}
	m := &manual{t: t, dir: t.TempDir(), bin: build(t, false)}
	for _, dir := range []string{"/var/lib/recapito", "/backup"} {
		if err := os.MkdirAll(m.dir+dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range strings.Split(string(text), "```sh\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		for _, dir := range []string{"/var/lib/recapito", "/backup"} {
			block = strings.ReplaceAll(block, " "+dir, " "+m.dir+dir)
			block = strings.ReplaceAll(block, "sqlite:"+dir, "sqlite:"+m.dir+dir)
			block = strings.ReplaceAll(block, "file://"+dir, "file://"+m.dir+dir)
		}
		m.blocks = append(m.blocks, block)
	}
	return m
}

func (m *manual) db() string { return m.dir + "/var/lib/recapito/recapito.db" }

// block is the one with a text.
func (m *manual) block(text string) string {
	m.t.Helper()
	for _, b := range m.blocks {
		if strings.Contains(b, text) {
			return b
		}
	}
	m.t.Fatalf("docs/backup.md has no command with %q", text)
	return ""
}

// command is one of the shell that finds the binary, and what is in path.
func (m *manual) command(script string, path ...string) *exec.Cmd {
	cmd := exec.Command("sh", "-e", "-c", script)
	cmd.Env = append(os.Environ(), "PATH="+strings.Join(append(append([]string{filepath.Dir(m.bin)}, path...), os.Getenv("PATH")), ":"))
	return cmd
}

func (m *manual) run(script string, path ...string) string {
	m.t.Helper()
	out, err := m.command(script, path...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// refused starts the service, which must not start, and returns what it says.
func (m *manual) refused() string {
	m.t.Helper()
	out, err := exec.Command(m.bin, "serve", "--listen", freeAddr(m.t), "--ops-listen", freeAddr(m.t), "--store", "sqlite:"+m.db(), "--platform-key", platformKey).CombinedOutput()
	if err == nil {
		m.t.Errorf("the service started")
	}
	return string(out)
}

func TestBackupAndRestoreAsInTheManual(t *testing.T) {
	m, ca := newManual(t), newAuthority(t)
	to := newSink(t, ca)
	svc := serve(t, m.bin, m.db(), "--callback-ca", ca.file)
	svc.register(to, "acc", svc.account("acc"))
	feed(t, svc, 1, [][]string{{event("acc", "e1", "m1", "SENT"), event("acc", "e2", "m2", "SENT")}})
	eventually(t, "both outcomes to be recorded", func() bool { return metric(t, svc, `recapito_deliveries{state="DELIVERED"}`) == 2 })

	backup, restore := m.block("recapito backup"), m.block("recapito restore")
	if out := m.run(backup); !strings.Contains(out, "it holds 2 deliveries, 0 of them PENDING") {
		t.Errorf("recapito backup says %q, want what the copy holds", out)
	}
	if at := metric(t, svc, "recapito_last_backup_timestamp_seconds"); at < float64(time.Now().Add(-time.Hour).Unix()) {
		t.Errorf("the last backup was at %v, want now", at)
	}
	info, err := os.Stat(m.dir + "/backup/recapito.db")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup: %v %v, want 0600", info.Mode(), err)
	}
	if out, err := m.command(backup).CombinedOutput(); err == nil || !strings.Contains(string(out), "exists already, and is not overwritten") {
		t.Errorf("a second backup to the same file: %v, %s", err, out)
	}
	if out, err := m.command(restore).CombinedOutput(); err == nil || !strings.Contains(string(out), "is in use by another recapito process") {
		t.Errorf("a restore beside the server: %v, %s", err, out)
	}
	for i := range 30 { // lost with the restore
		feed(t, svc, 1, [][]string{{event("acc", fmt.Sprint("later", i), fmt.Sprint("later", i), "SENT")}})
	}
	svc.kill()

	// As people do it.
	m.run(fmt.Sprintf("mv '%s' '%[1]s.aside' && cp '%[2]s/backup/recapito.db' '%[1]s'", m.db(), m.dir))
	if out := m.refused(); !strings.Contains(out, "of another database file") || strings.Count(out, "\n") != 1 {
		t.Errorf("a backup beside the old log: %q, want one line that says whose log it is", out)
	}
	m.run(fmt.Sprintf("mv '%s.aside' '%[1]s'", m.db()))

	out := m.run(restore)
	for _, want := range []string{"it holds 2 deliveries", "feed it again", "what was there is kept"} {
		if !strings.Contains(out, want) {
			t.Errorf("recapito restore says %q, want %q", out, want)
		}
	}
	svc = serve(t, m.bin, m.db(), "--callback-ca", ca.file)
	if got := metric(t, svc, `recapito_deliveries{state="DELIVERED"}`); got != 2 {
		t.Errorf("%v deliveries are in the restored store, want 2", got)
	}
	feed(t, svc, 1, [][]string{{event("acc", "later1", "later1", "SENT")}})
	eventually(t, "the event that was fed again", func() bool { return metric(t, svc, `recapito_deliveries{state="DELIVERED"}`) == 3 })

	// What was there is a whole store still.
	kept, err := filepath.Glob(m.db() + ".before-*Z")
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept: %q %v, want one database file", kept, err)
	}
	if out := m.run(fmt.Sprintf("recapito backup '%s/backup/kept.db' --store 'sqlite:%s'", m.dir, kept[0])); !strings.Contains(out, "it holds 32 deliveries") {
		t.Errorf("what was kept: %s, want 32 deliveries", out)
	}
}

// What the disk has changed is not signed and sent.
func TestPayloadChangedOnDiskIsNotSent(t *testing.T) {
	ca := newAuthority(t)
	to := newSink(t, ca)
	to.answer = func(_ string, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	bin, db := build(t, false), filepath.Join(t.TempDir(), "recapito.db")
	flags := []string{"--callback-ca", ca.file, "--retry-schedule", "1s,1s,1s,1h"}
	svc := serve(t, bin, db, flags...)
	key := svc.account("acc")
	svc.register(to, "acc", key)
	feed(t, svc, 1, [][]string{{event("acc", "e1", "m1", "SENT")}})
	eventually(t, "the attempts", func() bool { return to.count("acc") == 4 })
	eventually(t, "the outcomes to be recorded", func() bool { return metric(t, svc, "recapito_unrecorded_outcomes") == 0 })
	svc.kill()
	store, err := sql.Open("sqlite", db)
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Exec(`UPDATE deliveries SET payload = CAST(replace(CAST(payload AS TEXT), 'SENT', 'sENT') AS BLOB); UPDATE waiting SET due_at = 1`)
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	to.answer = nil
	svc = serveUnready(t, bin, db, append([]string{"--platform-key", platformKey}, flags...)...) // never ready: the damage may be met before anyone asks
	eventually(t, "the delivery to be FAILED", func() bool { return metric(t, svc, `recapito_deliveries{state="FAILED"}`) == 1 })
	if n := to.count("acc"); n != 4 {
		t.Errorf("%d callbacks, want the 4 before the damage", n)
	}
	if code, text := get(t, svc.ops+"/readyz"); code != 503 || !strings.Contains(text, "damaged") {
		t.Errorf("/readyz: %d %s, want 503 that says that the store is damaged", code, text)
	}
	if n := metric(t, svc, "recapito_damaged_rows"); n != 1 {
		t.Errorf("recapito_damaged_rows is %v, want 1", n)
	}
	status, text := svc.api("GET", "/webhooks/delivery-status/deliveries/e1", key, "")
	if body := string(text); status != 200 || !strings.Contains(body, `"error":"PAYLOAD_DAMAGED"`) || strings.Contains(body, `"payload"`) {
		t.Errorf("GET the delivery: %d %s, want PAYLOAD_DAMAGED and no payload", status, body)
	}
}
