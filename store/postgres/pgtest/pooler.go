package pgtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// poolerConfig shares few connections among all that are asked for: each transaction may
// get another one.
const poolerConfig = `[databases]
* = host=127.0.0.1 port=%d user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 1000
logfile = %s
`

// Pooler is a PgBouncer in transaction mode before the server, until the test ends. It
// returns what makes the URL of a database one by it.
func (s *Server) Pooler(t testing.TB) (by func(url string) string) {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer" // which not every user's PATH has
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal("the machine has no pgbouncer: install it with make tools")
	}
	file, log := filepath.Join(s.dir, "pooler.ini"), filepath.Join(s.dir, "pooler.log")
	if err := os.WriteFile(file, fmt.Appendf(nil, poolerConfig, s.Port, superuser, port, log), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := s.command(path, file)
	cmd.Path, cmd.Args[0] = path, path
	over, started := make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread() // it ends with the thread that started it
		defer close(over)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-over
	})
	by = func(url string) string {
		return strings.Replace(url, fmt.Sprint(":", s.Port, "/"), fmt.Sprint(":", port, "/"), 1)
	}
	s.awaitPooler(t, by(s.URL("postgres")), over, log)
	return by
}

func (s *Server) awaitPooler(t testing.TB, url string, over <-chan struct{}, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			_ = conn.Close(ctx) // it answers
			return
		}
		select {
		case <-over:
			out, _ := os.ReadFile(log)
			t.Fatalf("pgbouncer has ended at its start:\n%s", out)
		case <-ctx.Done():
			t.Fatalf("pgbouncer does not answer: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
