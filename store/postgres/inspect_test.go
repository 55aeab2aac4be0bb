package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store/postgres/pgtest"
)

// An inspection makes no tables, tells the schema of those that are there, and refuses
// what a start refuses.
func TestInspect(t *testing.T) {
	url := pgtest.Database(t)
	before, err := Inspect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if before.Schema != 0 || before.Known < 2 || before.Durable != "on" || before.Version == "" || before.Free < before.Needed || before.Needed != 7 {
		t.Errorf("of an empty database: %+v, want no schema, and connections for 7", before)
	}
	do := func(statement string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	do(`SELECT 1 / count(*) FROM pg_namespace`) // there is no table to ask for
	s, err := Open(t.Context(), Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	served, err := Inspect(t.Context(), url)
	if err != nil || served.Schema != served.Known || served.Known != before.Known {
		t.Errorf("of one that is served: %+v, %v, want schema %d", served, err, before.Known)
	}
	do(`INSERT INTO recapito_migrations (version_id, is_applied) VALUES (1000, true)`)
	if newer, err := Inspect(t.Context(), url); err != nil || newer.Schema != 1000 {
		t.Errorf("of a newer one: %+v, %v, want schema 1000", newer, err)
	}

	do(fmt.Sprintf(`ALTER DATABASE %s SET synchronous_commit = off`, pgDatabase(url)))
	if _, err := Inspect(t.Context(), url); err == nil || !strings.Contains(err.Error(), "synchronous_commit=off") {
		t.Errorf("of one that may lose commits: %v, want it refused", err)
	}
	if _, err := Inspect(t.Context(), "postgres://u:hunter2@127.0.0.1:1/x"); err == nil || !strings.Contains(err.Error(), "cannot connect") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("of none: %v, want that it cannot connect, without the password", err)
	}
}

// pgDatabase is the name of the database of a URL.
func pgDatabase(url string) string {
	name := url[strings.LastIndex(url, "/")+1:]
	return name[:strings.Index(name, "?")]
}
