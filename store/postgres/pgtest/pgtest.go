// Package pgtest starts a PostgreSQL of the tests' own and gives each test a fresh
// database in it.
//
// It promises that commits are as durable as in production (fsync is on), that the
// server listens on the loopback interface and on a socket in a folder of its own,
// and that it ends with the tests, even if they are killed. It runs as an
// unprivileged user where the tests run as root: PostgreSQL refuses root. It leaves
// out the installation: `make tools` has it.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a PostgreSQL server.
type Server struct {
	Port int
	bin  string // the folder of its programs
	dir  string // everything of it
	cmd  *exec.Cmd
	over chan struct{} // closed when it has ended
	made int           // databases
	mu   sync.Mutex
}

// superuser owns the databases.
const superuser = "recapito"

// startLimit is how long a start may take: with a cold disk, beside other tests.
const startLimit = 2 * time.Minute

// Main runs the tests of a package and ends the server of [Database], if there is
// one. A package calls it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if s, err := shared(); used.Load() && err == nil {
		s.Stop()
	}
	os.Exit(code)
}

// Start starts a server.
func Start() (*Server, error) { return StartIn("") }

// StartIn starts a server whose files are beneath a folder, which its user must be able
// to enter. Empty: that of temporary files.
func StartIn(parent string) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	return start(parent, bin, (*Server).initialize, func() error { return nil })
}

// start starts a server whose files something makes, and then does what is left to do.
func start(parent, bin string, fill func(*Server) error, then func() error) (_ *Server, err error) {
	dir, err := os.MkdirTemp(parent, "recapito-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, over: make(chan struct{})}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if owner := unprivileged(); owner != nil {
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, err
		}
	}
	if err := fill(s); err != nil {
		return nil, err
	}
	if s.Port, err = freePort(); err != nil {
		return nil, err
	}
	if err := s.launch(); err != nil {
		return nil, err
	}
	return s, then()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// initialize makes the server's files. They need no sync: a power cut ends the tests.
func (s *Server) initialize() error {
	cmd := s.command("initdb", "--pgdata", s.data(), "--username", superuser, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) launch() error {
	s.cmd = s.command("postgres", "-D", s.data(), "-k", s.dir, "-p", strconv.Itoa(s.Port), "-c", "listen_addresses=127.0.0.1",
		"-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "full_page_writes=on", "-c", "shared_buffers=64MB", "-c", "max_connections=200")
	log, err := os.Create(s.log())
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the server has its own
	s.cmd.Stdout, s.cmd.Stderr = log, log
	started := make(chan error)
	go func() {
		// The server ends with the thread that started it.
		runtime.LockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // how it ended is in its log
		}
		close(s.over)
	}()
	if err := <-started; err != nil {
		return err
	}
	return s.await()
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// await returns when the server answers.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.over:
			out, _ := os.ReadFile(s.log())
			return fmt.Errorf("PostgreSQL has ended at its start:\n%s", out)
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server at once and removes its files.
func (s *Server) Stop() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT) // it may have ended
		<-s.over
	}
	_ = os.RemoveAll(s.dir) // in the folder of temporary files
}

// PID is the number of the server's first process, which starts all others.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Restart ends the server as a crash does, and starts it again with the same files
// and at the same address.
func (s *Server) Restart() error {
	_ = s.cmd.Process.Signal(syscall.SIGQUIT) // an immediate shutdown
	<-s.over
	s.over = make(chan struct{})
	return s.launch()
}

// URL is that of a database of the server.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", superuser, s.Port, database)
}

// Database makes an empty database, which is dropped at the end of the test, and
// returns its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	s.made++
	name := fmt.Sprint("test_", s.made)
	s.mu.Unlock()
	s.do(t, "CREATE DATABASE "+name)
	t.Cleanup(func() { s.do(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	return s.URL(name)
}

func (s *Server) do(t testing.TB, statement string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err == nil {
		_, err = conn.Exec(ctx, statement)
		err = errors.Join(err, conn.Close(ctx))
	}
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// command runs one of the server's programs, as a user that PostgreSQL accepts. It
// ends with this process.
func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: unprivileged()}
	endWithUs(cmd)
	return cmd
}

// programs finds the folder of the server's programs: the one that PGTEST_BIN names, else
// that of the newest server that the machine has.
func programs() (string, error) {
	if folder := os.Getenv("PGTEST_BIN"); folder != "" {
		return folder, nil
	}
	folders, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	version := func(folder string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
		return n
	}
	slices.SortFunc(folders, func(a, b string) int { return version(b) - version(a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		folders = append(folders, filepath.Dir(path))
	}
	for _, folder := range folders {
		if _, err := os.Stat(filepath.Join(folder, "initdb")); err == nil {
			return folder, nil
		}
	}
	return "", errors.New("the machine has no PostgreSQL server (initdb): install it with make tools")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
