package open

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

// use is what the error of another text says.
const use = ": use memory:, sqlite:FILE or postgres://USER@HOST:PORT/DATABASE"

func TestAURLNamesOneStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a:b.db")
	tests := []struct{ url, err, file string }{
		{"memory:", "<nil>", ""},
		{"sqlite:" + file, "<nil>", file},
		{"memory:x", `"memory:x"` + use, ""},
		{"sqlite:", `"sqlite:"` + use, ""},
		{"sqlite", `"sqlite"` + use, ""},
		{"mysql:db", `"mysql:db"` + use, ""},
		{"mysql://u:secret@h/db", `"…"` + use, ""},
		{"postgres://u:secret@h:port/db", "postgres: is not a URL of PostgreSQL: use postgres://USER@HOST:PORT/DATABASE", ""},
		{"", `""` + use, ""},
	}
	for _, test := range tests {
		if got := fmt.Sprint(Check(test.url)); got != test.err {
			t.Errorf("Check(%q): got %s, want %s", test.url, got, test.err)
		}
		st, err := Store(t.Context(), test.url, Config{})
		if fmt.Sprint(err) != test.err {
			t.Errorf("Store(%q): got %v, want %s", test.url, err, test.err)
		}
		if st != nil {
			if err := st.Close(); err != nil {
				t.Errorf("Store(%q): close: got %v, want no error", test.url, err)
			}
		}
		if got, err := File(test.url); got != test.file || (err == nil) != (test.file != "") {
			t.Errorf("File(%q): got %q, %v, want %q", test.url, got, err, test.file)
		}
	}
}

func TestNothingIsOpenedBesideAStoreInMemory(t *testing.T) {
	if _, err := Store(t.Context(), "memory:", Config{Shared: true}); !errors.Is(err, ErrInProcess) {
		t.Errorf("got %v, want %v", err, ErrInProcess)
	}
}

func TestThePasswordOfAStoreIsNotInItsName(t *testing.T) {
	for url, want := range map[string]string{
		"sqlite:a.db": "sqlite:a.db", "memory:": "memory:",
		"postgres://u:secret@db.example:5433/recapito":       "PostgreSQL at db.example:5433, database recapito",
		"postgresql://u@db.example/recapito?password=secret": "PostgreSQL at db.example:5432, database recapito",
	} {
		if err := Check(url); err != nil {
			t.Errorf("Check(%q): got %v, want no error", url, err)
		}
		if got := Name(url); got != want {
			t.Errorf("Name(%q): got %q, want %q", url, got, want)
		}
	}
}
