package postgres

import (
	"os"
	"testing"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/postgres/pgtest"
	"github.com/recapito/recapito/store/storetest"
)

// Behind a pooler each transaction may have another session of the server. The suite as a
// whole takes twice the time with it: POOLER=all runs it.
func TestLifeByAPooler(t *testing.T) {
	by := pgtest.Shared(t).Pooler(t)
	if os.Getenv("POOLER") == "all" {
		storetest.Run(t, func(t *testing.T) store.Store { return open(t, by(pgtest.Database(t))) })
	}
	fewChecks(t, "2")
	storetest.RunModel(t, func(t *testing.T, q store.Quota) store.Store { return newPair(t, by(pgtest.Database(t)), q) })
}
