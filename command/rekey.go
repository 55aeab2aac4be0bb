package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/recapito/recapito/store"
)

type rekeyCmd struct {
	storeFlags
}

// Help is shown by rekey --help.
func (rekeyCmd) Help() string {
	return `The secret key is changed in four steps, while the server serves:

  1. Put the new key before the old one, into the file of --secret-key-file.
  2. Reload the server (SIGHUP). It encrypts with the new key from now on.
  3. Run recapito rekey, which encrypts the rest with it.
  4. When it says so, take the old key out of the file, and reload the server.

It can be interrupted and run again. Without a key before, it encrypts what is in
clear. A backup needs the key that was in use when it was made.`
}

// Run says when the old key may go.
func (c *rekeyCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, true, func(st provisioning) error {
		encrypting, ok := st.(store.Encrypting)
		if !ok {
			return errors.New("the store encrypts nothing")
		}
		var so store.Rekeyed
		told := time.Now()
		err := encrypting.Rekey(ctx, func(now store.Rekeyed) {
			if so = now; time.Since(told) >= tellGap {
				told = time.Now()
				note(std, "%d of %d webhooks", so.Looked, so.Webhooks)
			}
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(std.Out, "%d webhooks, %d of them encrypted anew: the old key may go, but for backups that were made until now\n", so.Looked, so.Changed)
		return err
	})
}

// tellGap is how often rekey tells how far it is.
const tellGap = time.Second
