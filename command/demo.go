package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/recapito/recapito/command/demo"
)

type demoCmd struct {
	// Its variable is not that of the other commands, so that the demo does not
	// run on the store of a service by mistake.
	Store string `env:"RECAPITO_DEMO_STORE" placeholder:"URL" help:"sqlite:FILE or memory:. Default: a temporary SQLite file."`
	Keep  bool   `env:"RECAPITO_DEMO_KEEP" help:"Stay until Ctrl-C, for a look at the console."`
}

// Help is shown by demo --help.
func (demoCmd) Help() string {
	return `Starts "recapito serve" on SQLite and an HTTPS receiver, provisions an account, registers
its callback URL through the API, hands in the status events of command/demo/events.ndjson
and prints each callback as it arrives. Then the same with an endpoint that fails and
recovers. Ends with a summary, and exit code 1 if a callback was missing or unverified.
With --keep it shows the address of the console and the keys for it, and stays.`
}

// Validate is called by the parser.
func (c *demoCmd) Validate() error {
	if c.Store != "" && c.Store != "memory:" && !strings.HasPrefix(c.Store, "sqlite:") {
		return fmt.Errorf("--store %q: use memory: or sqlite:FILE", c.Store)
	}
	return nil
}

// Run shows it.
func (c *demoCmd) Run(ctx context.Context, std Streams) error {
	return demo.Run(ctx, c.Store, c.Keep, std.Out, std.Err)
}
