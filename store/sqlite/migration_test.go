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

// A secret that signed beside another before there could be several goes on.
func TestOldSecretOutlivesTheMigration(t *testing.T) {
	path := file(t)
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
	if _, err := provider.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`PRAGMA application_id = 0x52435054`,
		`INSERT INTO accounts VALUES ('a', 1), ('b', 1)`,
		`INSERT INTO webhooks VALUES ('a', 'wh_1', CAST('' || x'00' || 'https://a.example/' AS BLOB), 'ACTIVE', x'006e6577', x'006f6c64', 2000000, 3, 1, 1, 1)`,
		`INSERT INTO webhooks VALUES ('b', 'wh_2', CAST('' || x'00' || 'https://b.example/' AS BLOB), 'ACTIVE', x'006e6577', NULL, 0, 1, 1, 1, 1)`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
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
