// Package doctor looks at what a service stands on: its files, the limit of open files,
// the clock, the disk, the authorities, the names, the way out and the store. Of what
// it finds it says what to do. It promises to change nothing, but for a file that it
// makes beside the store, syncs and removes. It leaves out the configuration itself,
// which its caller has read.
package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/recapito/recapito/command/service"
)

// Config says what to look at.
type Config struct {
	// Database is the store's file. Default: the store is none.
	Database string
	// Integrity reads the whole store and returns what it holds, in words, or what is
	// wrong with it.
	Integrity func(context.Context) (string, error)
	// Server asks the store's server; nil: the store is none.
	Server func(context.Context) (Database, error)
	// Secrets are files that hold keys.
	Secrets []string
	// Certificate is the API's; nil: plain HTTP.
	Certificate *tls.Certificate
	// Authorities are trusted for callbacks, of which Added stand in a file.
	Authorities *x509.CertPool
	Added       []*x509.Certificate
	// MaxInFlight attempts are to run at a time.
	MaxInFlight int
	// Ops is the address of a service that may run.
	Ops string
	// Name is looked up.
	Name string
}

// The states of what was found.
const (
	OK      = "OK"
	Warning = "WARNING" // it works, but not as it should, or not for long
	Error   = "ERROR"   // something does not work
)

// Finding is what one look has found.
type Finding struct {
	Check string `json:"check"` // what was looked at: one of a closed list
	State string `json:"state"`
	Found string `json:"found"`
	Do    string `json:"do,omitempty"` // unless it is OK
}

// Start looks at what takes no time: a start does. Times are those of now.
func Start(cfg Config, now time.Time) []Finding {
	return together(permissions(cfg), []Finding{openFiles(cfg, service.OpenFiles()), date(now), disk(cfg)}, authorities(cfg, now))
}

// All looks at everything. The store's integrity takes as long as reading it.
func All(ctx context.Context, cfg Config, now time.Time) []Finding {
	state, limit := running(ctx, cfg.Ops)
	return together(state, permissions(cfg), []Finding{openFiles(cfg, limit), date(now), clock(), disk(cfg), fsync(cfg)},
		authorities(cfg, now), searchList(), []Finding{lookUp(ctx, cfg.Name), way(), integrity(ctx, cfg)}, database(ctx, cfg))
}

// together leaves out what was not looked at.
func together(groups ...[]Finding) (all []Finding) {
	for _, group := range groups {
		for _, f := range group {
			if f.Check != "" {
				all = append(all, f)
			}
		}
	}
	return all
}

func ok(check, found string) Finding { return Finding{Check: check, State: OK, Found: found} }

func warning(check, found, do string) Finding { return Finding{check, Warning, found, do} }

func failure(check, found, do string) Finding { return Finding{check, Error, found, do} }
