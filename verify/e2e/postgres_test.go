package e2e

import (
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store/postgres/pgtest"
)

// onPostgres is what services on one database need: an endpoint that acknowledges, the
// binary, the database, and flags.
func onPostgres(t *testing.T) (to *sink, bin, url string, flags []string) {
	t.Helper()
	server, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	ca := newAuthority(t)
	to = newSink(t, ca)
	to.answer = func(_ string, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	return to, build(t, false), server.Database(t), []string{"--callback-ca", ca.file, againSoon}
}

// A service on PostgreSQL is killed under load, again and again: the next one takes its
// accounts when the lease of the killed one has run out, and delivers all that was
// accepted.
func TestPostgresKillLosesNothing(t *testing.T) {
	const rounds, accounts = 4, 10
	to, bin, url, flags := onPostgres(t)
	svc := serve(t, bin, url, flags...)
	set := func(lease string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), url)
		if err == nil {
			_, err = conn.Exec(t.Context(), `UPDATE cluster SET ttl_ms = `+lease)
			err = errors.Join(err, conn.Close(t.Context()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	set("600000")
	out, err := exec.Command(bin, "account", "delete", "nobody", "--store", url).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "is served by another recapito") {
		t.Errorf("a command that needs the database alone: got %v, want that it is refused; it said:\n%s", err, out)
	}
	set("2000")
	provision(t, svc, to, accounts)
	if out, err := exec.Command(bin, "account", "create", "beside", "--store", url).CombinedOutput(); err != nil {
		t.Errorf("an account made beside the service: %v\n%s", err, out)
	}
	accepted := map[string]bool{}
	for round := range rounds {
		feedUntilKilled(t, svc, round, accounts, accepted)
		svc = serve(t, bin, url, flags...)
	}
	eventuallyCounts(t, "accepted events", len(accepted), func() int { return len(accepted) - missing(to, accounts, accepted) })
	eventually(t, "the backlog to be empty", func() bool { return metric(t, svc, "recapito_backlog") == 0 })
	svc.terminate()
	serve(t, bin, url, flags...).terminate() // at once: the row was given back
	t.Logf("%d events accepted over %d kills", len(accepted), rounds)
}

// The doctor asks the server beside a service, and without one; config check opens
// nothing.
func TestDoctorOfPostgres(t *testing.T) {
	server, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	bin, url := build(t, false), server.URL("postgres") // it ends with the server
	doctor := func(when string, fails bool, wants ...string) {
		t.Helper()
		out, err := exec.Command(bin, "doctor", "--store", url, "--ops-listen", freeAddr(t), "--lookup", "127.0.0.1", "--json").Output()
		if (err != nil) != fails {
			t.Errorf("%s: the doctor ended with %v, want an error: %t", when, err, fails)
		}
		for _, want := range wants {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: the doctor said:\n%s\nwant %s", when, out, want)
			}
		}
	}
	doctor("before", false, `"check":"schema","state":"OK","found":"there are no tables yet`, `"check":"connections","state":"OK"`)
	svc := serve(t, bin, url)
	doctor("beside the service", false, `fsync is on, synchronous_commit is on`, `"check":"schema","state":"OK","found":"the tables are of schema`)
	svc.terminate()
	server.Stop()
	doctor("without the server", true, `"check":"store","state":"ERROR","found":"PostgreSQL at 127.0.0.1:`, "cannot connect")
	if out, err := exec.Command(bin, "config", "check", "--store", url).CombinedOutput(); err != nil || string(out) != "the configuration is good\n" {
		t.Errorf("config check: %v, %s, want that it is good", err, out)
	}
}
