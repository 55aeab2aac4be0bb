package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/store/open"
	"github.com/recapito/recapito/store/transfer"
)

type copyCmd struct {
	From storeURL `required:"" env:"RECAPITO_COPY_FROM" placeholder:"URL" help:"The store that is copied: sqlite:FILE or postgres://USER@HOST:PORT/DATABASE. It is only read."`
	To   storeURL `required:"" env:"RECAPITO_COPY_TO" placeholder:"URL" help:"The store that is made: a new file, or an empty database."`
}

// Help is shown by copy --help.
func (copyCmd) Help() string {
	return `Copies everything: accounts, API keys, webhooks and their secrets as they are kept,
deliveries with every attempt, what waits, replays, health and counts. Then it reads
both stores and compares them, account by account. No secret key is needed.

End the servers of both stores first. If the copy is interrupted, run the same command
again: it goes on. Until it has ended, no server opens the new store.`
}

// Validate is called by the parser.
func (c *copyCmd) Validate() error {
	if c.From == c.To {
		return errors.New("--from and --to name the same store")
	}
	return nil
}

// Run says at its end what the copy holds.
func (c *copyCmd) Run(ctx context.Context, std Streams) (err error) {
	from, err := open.Source(ctx, string(c.From))
	if err != nil {
		return fmt.Errorf("--from %w", err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := open.Target(ctx, string(c.To))
	if err != nil {
		return fmt.Errorf("--to %w", err)
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	progress := copyProgress{std: std, told: time.Now()}
	sums, err := transfer.Copy(ctx, from, to, progress.tell)
	progress.clear()
	if err != nil {
		return err
	}
	return report(std.Out, fmt.Sprintf("copied from %s to %s, and compared", open.Name(string(c.From)), open.Name(string(c.To))),
		fmt.Sprintf("it holds %d accounts and %d deliveries, %d of them PENDING, with %d outcomes", sums.Rows["accounts"], sums.Rows["deliveries"], sums.Rows["waiting"], sums.Rows["outcomes"]))
}

// copyProgress shows a bar on a terminal, and a line now and then elsewhere.
type copyProgress struct {
	std   Streams
	doing string
	bar   *progressbar.ProgressBar
	told  time.Time
}

func (p *copyProgress) tell(doing string, done, total int64) {
	if doing != p.doing {
		p.clear()
		p.doing, p.bar = doing, terminal.Count(p.std.Err, doing, total)
	}
	_ = p.bar.Set64(min(done, max(1, total))) // it is only shown
	if !terminal.Is(p.std.Err) && time.Since(p.told) >= tellGap {
		p.told = time.Now()
		note(p.std, "%s: %d of %d rows", doing, done, total)
	}
}

func (p *copyProgress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
