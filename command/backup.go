package command

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/recapito/recapito/store/sqlite"
)

type backupCmd struct {
	File string `arg:"" help:"The new file."`
	storeFlag
}

// Run needs no key: what is encrypted in the store is encrypted in the copy.
func (c *backupCmd) Run(ctx context.Context, std Streams) error {
	from, err := c.file()
	if err != nil {
		return err
	}
	began := time.Now()
	copied, err := sqlite.Backup(ctx, from, c.File)
	if err != nil {
		return err
	}
	if err := sqlite.NoteBackup(from, began); err != nil {
		_, _ = fmt.Fprintf(std.Err, "the backup is whole, but a server does not learn of it: %v\n", err)
	}
	err = report(std.Out, fmt.Sprintf("%s: backed up to %s, and checked", from, c.File), holds(copied))
	if err == nil && copied.Damaged > 0 {
		err = fmt.Errorf("%s: the payloads of %d deliveries are damaged, in the copy as in the store: they cannot be sent", from, copied.Damaged)
	}
	return err
}

type restoreCmd struct {
	File string `arg:"" type:"existingfile" help:"The backup; any whole database file of Recapito."`
	storeFlag
}

// Run says what the service will do differently for it.
func (c *restoreCmd) Run(ctx context.Context, std Streams) error {
	to, err := c.file()
	if err != nil {
		return err
	}
	copied, kept, err := sqlite.Restore(ctx, c.File, to)
	if err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("%s: restored from %s, and checked", to, c.File), holds(copied)}
	if copied.WithoutLog {
		lines = append(lines, c.File+" was copied without its log: events that had been accepted shortly before are not in it")
	}
	if copied.Damaged > 0 {
		lines = append(lines, fmt.Sprintf("the payloads of %d deliveries are damaged: they cannot be sent", copied.Damaged))
	}
	if copied.Pending > 0 {
		lines = append(lines, "what is PENDING is sent when the service starts, even what has been delivered since the backup: with the same webhook-id")
	}
	lines = append(lines, "what was accepted after the backup is not in it: feed it again; events that are in it count as duplicates",
		"accounts, keys and webhooks are as they were then")
	if kept != "" {
		lines = append(lines, "what was there is kept: "+kept)
	}
	return report(std.Out, lines...)
}

func holds(c sqlite.Copied) string {
	if c.Newest.IsZero() {
		return "it holds no deliveries"
	}
	return fmt.Sprintf("it holds %d deliveries, %d of them PENDING, the newest accepted at %s", c.Deliveries, c.Pending, c.Newest.Format(time.RFC3339))
}

func report(w io.Writer, lines ...string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
