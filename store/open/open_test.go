package open

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

func TestAURLNamesOneStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a:b.db")
	tests := []struct{ url, err, file string }{
		{"memory:", "<nil>", ""},
		{"sqlite:" + file, "<nil>", file},
		{"memory:x", `"memory:x": use memory: or sqlite:FILE`, ""},
		{"sqlite:", `"sqlite:": use memory: or sqlite:FILE`, ""},
		{"sqlite", `"sqlite": use memory: or sqlite:FILE`, ""},
		{"mysql:db", `"mysql:db": use memory: or sqlite:FILE`, ""},
		{"", `"": use memory: or sqlite:FILE`, ""},
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
