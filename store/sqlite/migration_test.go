package sqlite

import (
	"database/sql"
	"io/fs"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/recapito/recapito/store"
)

// older makes a database as it was at a migration, with rows in it.
func older(t *testing.T, version int64, statements ...string) (path string) {
	t.Helper()
	path = file(t)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	for _, statement := range append([]string{`PRAGMA application_id = 0x52435054`}, statements...) {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// An attempt from before there were details has none.
func TestOldAttemptsOutliveTheMigration(t *testing.T) {
	s := open(t, older(t, 2,
		`INSERT INTO accounts VALUES ('a', 1)`,
		`INSERT INTO deliveries VALUES (1, 'a', 'e1', 'm', 'SMS', 0, 1, x'7b7d', 1000000)`,
		`INSERT INTO outcomes VALUES (1, 1, 1000000, 1000, 0, 'TIMEOUT', NULL, 0, 1, 2, 1001000)`,
		`UPDATE totals SET last_seq = 1, failed = 1`,
	))
	_, attempts, err := s.Delivery(t.Context(), "a", "e1")
	if err != nil {
		t.Fatal(err)
	}
	want := []store.Attempt{{Number: 1, At: time.UnixMicro(1000000).UTC(), Duration: time.Millisecond, Error: store.Timeout}}
	if diff := cmp.Diff(want, attempts); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

// What failed before attempts had an index is found by it.
func TestOldFailuresOutliveTheMigration(t *testing.T) {
	s := open(t, older(t, 7,
		`INSERT INTO accounts VALUES ('a', 1)`,
		`INSERT INTO deliveries VALUES (1, 'a', 'e1', 'm', 'SMS', 0, 1, x'7b7d', 1000000, NULL), (2, 'a', 'e2', 'm', 'SMS', 0, 2, x'7b7d', 1000000, NULL)`,
		`INSERT INTO outcomes VALUES (1, 1, 1000000, 1000, 0, 'TIMEOUT', NULL, 0, 1, 0, 0, '', ''), (1, 2, 3000000, 1000, 204, '', NULL, 0, 1, 1, 3001000, '', '')`,
		`INSERT INTO outcomes VALUES (2, 1, 2000000, 1000, 204, '', NULL, 0, 0, 1, 2001000, '', '')`,
		`UPDATE totals SET last_seq = 2, delivered = 2`,
	))
	page, err := s.Deliveries(t.Context(), store.DeliveryQuery{AccountID: "a", FailedSince: time.UnixMicro(1000000), Limit: 10})
	if err != nil || len(page.Deliveries) != 1 || page.Deliveries[0].EventID != "e1" {
		t.Errorf("failed since: got %+v (%v), want e1", page.Deliveries, err)
	}
	var first int
	if err := s.read.QueryRowContext(t.Context(), `SELECT seq FROM outcomes WHERE account_id IS NULL`).Scan(&first); err != nil || first != 2 {
		t.Errorf("acknowledged at first: got %d (%v), want 2 alone", first, err)
	}
}

// A secret that signed beside another before there could be several goes on.
func TestOldSecretOutlivesTheMigration(t *testing.T) {
	s := open(t, older(t, 1,
		`INSERT INTO accounts VALUES ('a', 1), ('b', 1)`,
		`INSERT INTO webhooks VALUES ('a', 'wh_1', CAST('' || x'00' || 'https://a.example/' AS BLOB), 'ACTIVE', x'006e6577', x'006f6c64', 2000000, 3, 1, 1, 1)`,
		`INSERT INTO webhooks VALUES ('b', 'wh_2', CAST('' || x'00' || 'https://b.example/' AS BLOB), 'ACTIVE', x'006e6577', NULL, 0, 1, 1, 1, 1)`,
	))
	for account, want := range map[string][]store.OldSecret{
		"a": {{Secret: []byte("old"), Until: time.UnixMicro(2000000).UTC()}}, "b": nil,
	} {
		w, err := s.Webhook(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, w.OldSecrets); diff != "" || string(w.Secret) != "new" {
			t.Errorf("%s: secret %q, want new; old ones (-want +got):\n%s", account, w.Secret, diff)
		}
	}
}
