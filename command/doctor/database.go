package doctor

import (
	"context"
	"fmt"
)

// Database is what a store on a server says of itself.
type Database struct {
	Found   string // what it is, and where, in words
	Standby bool   // a commit waits for another server, too
	Schema  int64  // of its tables; 0: none yet
	Known   int64  // that of this recapito
	Free    int    // connections that we may have, with those that we have
	Needed  int    // connections that we take at most
}

// database asks the store's server.
func database(ctx context.Context, cfg Config) (found []Finding) {
	const see = "see \"PostgreSQL\" in docs/scaling.md"
	if cfg.Server == nil {
		return nil
	}
	d, err := cfg.Server(ctx)
	if err != nil {
		return []Finding{failure("store", err.Error(), see)}
	}
	standby := ""
	if !d.Standby {
		standby = "; no other server has a copy that is as new (synchronous_standby_names)"
	}
	found = append(found, ok("store", d.Found+standby))
	switch {
	case d.Schema == 0:
		found = append(found, ok("schema", "there are no tables yet: the first start makes them"))
	case d.Schema > d.Known:
		found = append(found, failure("schema", fmt.Sprintf("the tables are of a newer recapito (schema %d; this one knows %d)", d.Schema, d.Known), "run the newer one"))
	case d.Schema < d.Known:
		found = append(found, ok("schema", fmt.Sprintf("the next start brings the tables from schema %d to %d", d.Schema, d.Known)))
	default:
		found = append(found, ok("schema", fmt.Sprintf("the tables are of schema %d, as they should", d.Schema)))
	}
	if d.Free < d.Needed {
		return append(found, warning("connections", fmt.Sprintf("the server has %d connections left, and recapito takes up to %d", max(d.Free, 0), d.Needed),
			"raise max_connections, or end what else uses them"))
	}
	return append(found, ok("connections", fmt.Sprintf("the server has %d left, and recapito takes up to %d", d.Free, d.Needed)))
}
