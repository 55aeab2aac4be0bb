package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { Main(m) }

func TestEachTestHasADatabaseOfItsOwnWhoseCommitsAreSynced(t *testing.T) {
	for range 2 {
		conn, err := pgx.Connect(t.Context(), Database(t))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		var fsync string
		if err := conn.QueryRow(t.Context(), `SHOW fsync`).Scan(&fsync); err != nil || fsync != "on" {
			t.Errorf("fsync is %q (%v), want on", fsync, err)
		}
		if _, err := conn.Exec(t.Context(), `CREATE TABLE alone ()`); err != nil {
			t.Error(err)
		}
	}
}

func TestARestartKeepsWhatWasCommitted(t *testing.T) {
	url := Database(t)
	do := func(statement string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), url)
		if err == nil {
			defer func() { _ = conn.Close(t.Context()) }()
			_, err = conn.Exec(t.Context(), statement)
		}
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	do(`CREATE TABLE kept ()`)
	if err := Shared(t).Restart(); err != nil {
		t.Fatal(err)
	}
	do(`TABLE kept`)
}

func TestAPromotedStandbyHasWhatWasCommitted(t *testing.T) {
	primary, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	defer primary.Stop()
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	defer standby.Stop()
	do := func(s *Server, statement string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
		if err == nil {
			defer func() { _ = conn.Close(t.Context()) }()
			_, err = conn.Exec(t.Context(), statement)
		}
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	do(primary, `CREATE TABLE kept ()`)
	primary.Kill()
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	do(standby, `INSERT INTO kept DEFAULT VALUES`)
}
