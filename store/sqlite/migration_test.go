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

// Of endpoints from before their health was recorded it is known whether retries wait.
func TestOldWebhooksHaveAHealthAfterTheMigration(t *testing.T) {
	webhook := func(account, status string) string {
		return `INSERT INTO webhooks VALUES ('` + account + `', 'wh_` + account + `', x'0068', '` + status + `', x'0073', 3, 1, 1000000, 2000000)`
	}
	s := open(t, older(t, 12,
		`INSERT INTO accounts VALUES ('a', 1), ('b', 1), ('c', 1)`,
		webhook("a", "ACTIVE"), webhook("b", "ACTIVE"), webhook("c", "SUSPENDED"),
		`INSERT INTO deliveries VALUES (1, 'b', 'e1', 'm', 'SMS', 0, 1, x'7b7d', 1000000, NULL)`,
		`INSERT INTO waiting (account_id, due_at, seq) VALUES ('b', 9000000, 1)`,
		`UPDATE totals SET last_seq = 1, listed = 1, pending = 1`,
	))
	for account, want := range map[string]store.HealthState{"a": store.HealthHealthy, "b": store.HealthSlowed, "c": store.HealthSuspended} {
		w, err := s.Webhook(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(store.Health{State: want, Since: time.UnixMicro(2000000).UTC()}, w.Health); diff != "" {
			t.Errorf("%s (-want +got):\n%s", account, diff)
		}
	}
}

// What waited before bytes were counted counts, wherever it waits.
func TestOldBacklogCountsAfterTheMigration(t *testing.T) {
	path := older(t, 15,
		`INSERT INTO accounts VALUES ('a', 1), ('b', 1)`,
		`INSERT INTO deliveries VALUES (1, 'a', 'e1', 'm', 'SMS', 0, 1, x'7b7d', 1000000, NULL), (2, 'a', 'e2', 'm', 'SMS', 0, 2, zeroblob(16000), 1000000, NULL)`,
		`INSERT INTO deliveries VALUES (3, 'a', 'e3', 'n', 'SMS', 0, 1, x'7b2020207d', 1000000, NULL), (4, 'b', 'e4', 'n', 'SMS', 0, 1, x'7b207d', 1000000, NULL)`,
		`INSERT INTO waiting (account_id, due_at, seq) VALUES ('a', 9000000, 1)`,
		`INSERT INTO outcomes (seq, number, at, duration, status_code, error, probe, failures, state, ended_at) VALUES (2, 1, 1000000, 1, 204, '', 0, 0, 1, 1000001)`,
		`UPDATE totals SET last_seq = 4, listed = 1, pending = 3, delivered = 1`,
		`INSERT INTO tallies VALUES ('a', 5, x'0100020000'), ('b', 7, x'0100020000')`,
		`INSERT INTO tally_log VALUES (1, 8, CAST(x'0161' || x'0100020000' AS BLOB))`,
	)
	for _, when := range []string{"at first", "after another start"} {
		s := open(t, path)
		for account, want := range map[string]backlog{"a": {2, 7}, "b": {1, 3}} {
			var got backlog
			err := s.w.do(t.Context(), func(tx *txn) (err error) {
				got, err = tx.backlogOf(account)
				return err
			})
			if err != nil || got != want {
				t.Errorf("%s, %s: %+v (%v) wait, want %+v", account, when, got, err, want)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
