package command

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/store"
)

type accountCmd struct {
	List   accountListCmd   `cmd:"" help:"List the accounts of a running server, the worst first."`
	Create accountCreateCmd `cmd:"" help:"Make an account if it does not exist. Works beside a running server."`
	Show   accountShowCmd   `cmd:"" help:"Show an account, its webhook and the number of its keys. Works beside a running server."`
	Delete accountDeleteCmd `cmd:"" help:"Erase an account with all its data. Not beside a running server: use DELETE /accounts/{id} there."`
}

// accountArg names an account.
type accountArg string

// accountPattern is that of AccountId in the API's document.
var accountPattern = regexp.MustCompile(`^\.*[A-Za-z0-9_~:@-][A-Za-z0-9._~:@-]*$`)

// Validate is called by the parser.
func (a accountArg) Validate() error {
	if !accountPattern.MatchString(string(a)) || len(a) > 64 {
		return fmt.Errorf("account %q: 1 to 64 of A–Z a–z 0–9 . _ ~ : @ - are allowed, and not dots alone", string(a))
	}
	return nil
}

// noSuch says what was not found.
func noSuch(what string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no %s", what)
	}
	return err
}

type accountCreateCmd struct {
	ID      accountArg `arg:"" help:"Chosen by the platform."`
	WithKey bool       `help:"Also make an API key, and print it alone on standard output."`
	storeFlags
}

// Run is idempotent, but for the key.
func (c *accountCreateCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, true, func(st provisioning) error {
		a, created, err := st.PutAccount(ctx, string(c.ID), time.Now())
		if err != nil {
			return err
		}
		done := "created"
		if !created {
			done = "exists since " + a.CreatedAt.Local().Format(time.DateTime)
		}
		if !c.WithKey {
			_, err = fmt.Fprintf(std.Out, "account %s: %s\n", a.ID, done)
			return err
		}
		if _, err = fmt.Fprintf(std.Err, "account %s: %s\n", a.ID, done); err != nil {
			return err
		}
		return makeAPIKey(ctx, st, a.ID, std)
	})
}

type accountShowCmd struct {
	ID accountArg `arg:"" help:"The account."`
	storeFlags
}

// Run shows no secret.
func (c *accountShowCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, true, func(st provisioning) error {
		a, err := st.Account(ctx, string(c.ID))
		if err != nil {
			return noSuch("account "+string(c.ID), err)
		}
		keys, err := st.APIKeys(ctx, a.ID)
		if err != nil {
			return err
		}
		fields := [][2]string{
			{"account", a.ID}, {"created", a.CreatedAt.Local().Format(time.DateTime)}, {"API keys", strconv.Itoa(len(keys))},
		}
		w, err := st.Webhook(ctx, a.ID)
		switch {
		case errors.Is(err, store.ErrNotFound):
			fields = append(fields, [2]string{"webhook", "none"})
		case err != nil:
			return err
		default:
			fields = append(fields, [2]string{"webhook", w.ID}, [2]string{"status", string(w.Status)}, [2]string{"callback URL", w.CallbackURL})
		}
		return terminal.Fields(std.Out, fields)
	})
}

type accountDeleteCmd struct {
	ID accountArg `arg:"" help:"The account."`
	storeFlags
}

// Run needs the store for itself: a running server would go on with what it
// holds of the account in memory.
func (c *accountDeleteCmd) Run(ctx context.Context, std Streams) error {
	opened := false
	err := c.with(ctx, std, false, func(st provisioning) error {
		opened = true
		if err := st.DeleteAccount(ctx, string(c.ID)); err != nil {
			return noSuch("account "+string(c.ID), err)
		}
		_, err := fmt.Fprintf(std.Out, "account %s: deleted with all its data\n", c.ID)
		return err
	})
	if err != nil && !opened {
		return fmt.Errorf("%w (beside a running server use its API: DELETE /accounts/%s)", err, c.ID)
	}
	return err
}
