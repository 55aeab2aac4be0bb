package sqlite

import (
	"flag"
	"testing"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/storetest"
)

// Each run makes a database file, so there are fewer than rapid's 100 unless
// -rapid.checks asks for more.
func TestModel(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("20"); err != nil {
			t.Fatal(err)
		}
	}
	storetest.RunModel(t, func(t *testing.T) store.Store { return open(t, file(t)) })
}
