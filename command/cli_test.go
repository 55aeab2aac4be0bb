package command

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/recapito/recapito/verify/rig"
)

// TestMain makes the test binary answer to the name recapito, so that scripts
// run the real program in processes of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"recapito": program})
}

// program is main of the repository's root.
func program() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	spec, err := os.ReadFile(os.Getenv("CONTRACT"))
	if err != nil {
		panic(err)
	}
	os.Exit(Run(ctx, spec, os.Args[1:], Streams{os.Stdin, os.Stdout, os.Stderr}))
}

// TestCommandLine runs testdata/*.txtar. Beside testscript's own commands they
// have the following.
func TestCommandLine(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			// The race detector keeps each process for a second after its end.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Setenv("EVENTS", filepath.Join(sourceDir(t), "demo", "events.ndjson"))
			env.Setenv("CONTRACT", filepath.Join(sourceDir(t), "..", "openapi.yaml"))
			env.Setenv("RECEIVING", filepath.Join(sourceDir(t), "..", "docs", "receiving.md"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"address":    scriptAddress,
			"await":      scriptAwait,
			"eventually": scriptEventually,
			"exits":      scriptExits,
			"hangup":     scriptHangUp,
			"http":       scriptHTTP,
			"keep":       scriptKeep,
			"program":    scriptProgram,
			"refused":    scriptRefused,
			"sqlite":     scriptSQLite,
		},
	})
}

func sourceDir(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// scriptAddress: address NAME...: sets each variable to a free address.
func scriptAddress(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		addr, err := rig.FreeAddr()
		ts.Check(err)
		ts.Setenv(name, addr)
	}
}

// scriptAwait: await PLACE [TEXT]: waits for the text in a file (a glob) or in
// the 200 of a URL, or for somebody who listens at an address.
func scriptAwait(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.Join(args[1:], " ")
	poll(ts, args, func() bool {
		switch {
		case strings.HasPrefix(args[0], "http"):
			status, body, err := request("GET", args[0], nil, "")
			return err == nil && status == "200" && strings.Contains(body, text)
		case strings.Contains(args[0], "/"):
			files, err := filepath.Glob(args[0])
			ts.Check(err)
			return slices.ContainsFunc(files, func(f string) bool {
				body, err := os.ReadFile(f)
				return err == nil && strings.Contains(string(body), text)
			})
		}
		conn, err := net.Dial("tcp", args[0])
		return err == nil && conn.Close() == nil
	})
}

// poll returns when there is what a command waits for.
func poll(ts *testscript.TestScript, args []string, there func() bool) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); !there(); <-tick.C {
		if time.Now().After(end) {
			ts.Fatalf("%q: waited two minutes in vain", args)
		}
	}
}

// scriptHangUp: hangup: sends SIGHUP to what runs in the background.
func scriptHangUp(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGHUP))
	}
}

// scriptHTTP: http STATUS METHOD URL [HEADER]... [BODY]: sends the request,
// wants the status, and writes the answer's body to the file answer. A body
// begins with {.
func scriptHTTP(ts *testscript.TestScript, _ bool, args []string) {
	got, answer, err := requestOf(args)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("answer"), []byte(answer), 0o600))
	if want := args[0]; got != want {
		ts.Fatalf("%s %s: got %s, want %s: %s", args[1], args[2], got, want, answer)
	}
}

// scriptEventually is http, again and again until the status is the wanted one.
func scriptEventually(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, args, func() bool {
		got, _, err := requestOf(args)
		return err == nil && got == args[0]
	})
}

func requestOf(args []string) (status, answer string, err error) {
	if len(args) < 3 {
		return "", "", errors.New("usage: STATUS METHOD URL [HEADER]... [BODY]")
	}
	headers, body := args[3:], ""
	if n := len(headers); n > 0 && strings.HasPrefix(headers[n-1], "{") {
		headers, body = headers[:n-1], headers[n-1]
	}
	return request(args[1], args[2], headers, body)
}

func request(method, url string, headers []string, body string) (status, answer string, err error) {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return "", "", err
	}
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return strconv.Itoa(resp.StatusCode), string(text), err
}

// scriptSQLite: sqlite FILE SQL: runs a statement on a database of anybody's.
func scriptSQLite(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = db.Exec(args[1])
	ts.Check(errors.Join(err, db.Close()))
}

// scriptKeep: keep NAME [PREFIX]: sets the variable to what the last command
// wrote to standard output, which must be one line, or to the word in it that
// has the prefix.
func scriptKeep(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.TrimSuffix(ts.ReadFile("stdout"), "\n")
	if len(args) == 1 {
		if strings.ContainsAny(text, "\n ") || text == "" {
			ts.Fatalf("standard output: got %q, want one word", text)
		}
		ts.Setenv(args[0], text)
		return
	}
	for word := range strings.FieldsSeq(text) {
		if strings.HasPrefix(word, args[1]) {
			ts.Setenv(args[0], word)
			return
		}
	}
	ts.Fatalf("standard output: got %q, want a word that begins with %s", text, args[1])
}

// scriptProgram: program NAME DIR: runs an HTTP server until the script ends, sets the
// variable to its URL, and writes each callback to DIR/ID.http. It answers 204.
func scriptProgram(ts *testscript.TestScript, _ bool, args []string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := httputil.DumpRequest(r, true)
		if err == nil {
			err = os.WriteFile(filepath.Join(args[1], filepath.Base(r.Header.Get("webhook-id"))+".http"), text, 0o600)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}

// scriptExits: exits CODE COMMAND...: runs it and wants that exit code.
func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitOf(ts, args[1:]); got != want {
		ts.Fatalf("%q: got exit code %d, want %d", args[1:], got, want)
	}
}

// scriptRefused: refused COMMAND...: runs it and wants that it fails, or that its
// command line is wrong, and one clear line on standard error. What the line says
// is for stderr to check.
func scriptRefused(ts *testscript.TestScript, _ bool, args []string) {
	if got := exitOf(ts, args); got != exitFailed && got != exitUsage {
		ts.Fatalf("%q: got exit code %d, want %d or %d", args, got, exitFailed, exitUsage)
	}
	if err := oneClearLine(ts.ReadFile("stderr")); err != nil {
		ts.Fatalf("%q: standard error: %v", args, err)
	}
}

// exitOf runs a command to its end.
func exitOf(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

func oneClearLine(text string) error {
	if n := strings.Count(text, "\n"); n != 1 || !strings.HasPrefix(text, "recapito: ") || len(text) > 300 {
		return fmt.Errorf("got %q, want one line of at most 300 characters that begins with recapito:", text)
	}
	return nil
}
