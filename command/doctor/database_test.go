//go:build unix

package doctor

import (
	"context"
	"errors"
	"testing"
)

func TestAStoreOnAServer(t *testing.T) {
	well := Database{Found: "PostgreSQL 15.7 at db:5432", Schema: 2, Known: 2, Free: 90, Needed: 7}
	for name, tt := range map[string]struct {
		spoil               func(*Database)
		err                 error
		check, state, words string
	}{
		"well":               {nil, nil, "store", OK, "PostgreSQL 15.7 at db:5432; no other server has a copy"},
		"with a standby":     {func(d *Database) { d.Standby = true }, nil, "store", OK, "PostgreSQL 15.7 at db:5432"},
		"its schema":         {nil, nil, "schema", OK, "of schema 2"},
		"empty":              {func(d *Database) { d.Schema = 0 }, nil, "schema", OK, "the first start makes them"},
		"of before":          {func(d *Database) { d.Schema = 1 }, nil, "schema", OK, "from schema 1 to 2"},
		"of a newer one":     {func(d *Database) { d.Schema = 3 }, nil, "schema", Error, "schema 3; this one knows 2"},
		"its connections":    {nil, nil, "connections", OK, "90 left"},
		"all are in use":     {func(d *Database) { d.Free = -1 }, nil, "connections", Warning, "0 connections left, and recapito takes up to 7"},
		"it does not answer": {nil, errors.New("PostgreSQL at db:5432: cannot connect"), "store", Error, "cannot connect"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, d := healthy(t), well
			if tt.spoil != nil {
				tt.spoil(&d)
			}
			cfg.Database, cfg.Integrity = "", nil
			cfg.Server = func(context.Context) (Database, error) { return d, tt.err }
			want(t, All(t.Context(), cfg, now), tt.check, tt.state, tt.words)
		})
	}
}
