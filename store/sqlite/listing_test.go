package sqlite

import (
	"testing"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/storetest"
)

// A listing looks at a bounded part, wherever that is.
func TestListingLooksAtABoundedPart(t *testing.T) {
	for name, tail := range map[string]int{"in the tail": 2400, "in the table": 10, "in both": 900} {
		t.Run(name, func(t *testing.T) {
			storetest.RunScan(t, func(t *testing.T, rows int) store.Store {
				return open(t, file(t), func(c *Config) { c.scanRows, c.tailSize = rows, tail })
			})
		})
	}
}
