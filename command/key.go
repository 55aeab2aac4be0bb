package command

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/open"
)

type keyCmd struct {
	Create keyCreateCmd `cmd:"" help:"Make an API key and print it once: KEY=$(recapito key create ACCOUNT)."`
	List   keyListCmd   `cmd:"" help:"List the API keys of an account, without the keys themselves."`
	Revoke keyRevokeCmd `cmd:"" help:"End an API key."`
}

type keyCreateCmd struct {
	Account accountArg `arg:"" help:"The account."`
	SHA256  digest     `name:"sha256" placeholder:"HEX" help:"Import a key that was issued already, by its SHA-256: printf %s \"$KEY\" | sha256sum."`
	storeFlags
}

// digest is a SHA-256 in hexadecimal.
type digest []byte

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *digest) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(store.KeyHash{}) {
		return errors.New("must be 64 hexadecimal digits")
	}
	*d = b
	return nil
}

// hintSize is how many of a key's last characters are kept to tell keys apart.
const hintSize = 4

// Run prints nothing but the key on standard output, and nothing at all there
// when a key is imported.
func (c *keyCreateCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, true, func(st provisioning) error {
		if c.SHA256 == nil {
			return makeAPIKey(ctx, st, string(c.Account), std)
		}
		k := newAPIKey(string(c.Account))
		k.Hash = store.KeyHash(c.SHA256)
		if err := addAPIKey(ctx, st, k); err != nil {
			return err
		}
		_, err := fmt.Fprintf(std.Err, "imported as %s\n", k.ID)
		return err
	})
}

// makeAPIKey makes a key and prints nothing else on standard output.
func makeAPIKey(ctx context.Context, st store.APIKeys, account string, std Streams) error {
	k, key := newAPIKey(account), store.NewKey()
	k.Hash, k.Hint = store.HashKey(key), key[len(key)-hintSize:]
	if err := addAPIKey(ctx, st, k); err != nil {
		return err
	}
	_, err := fmt.Fprintf(std.Err, "made %s; the key is shown only now\n", k.ID)
	_, printErr := fmt.Fprintln(std.Out, key)
	return errors.Join(err, printErr)
}

func newAPIKey(account string) store.APIKey {
	return store.APIKey{AccountID: account, ID: store.NewID("key_"), CreatedAt: time.Now()}
}

func addAPIKey(ctx context.Context, st store.APIKeys, k store.APIKey) error {
	err := st.AddAPIKey(ctx, k)
	if errors.Is(err, store.ErrConflict) {
		return errors.New("a key with this digest exists already")
	}
	return noSuch("account "+k.AccountID, err)
}

type keyListCmd struct {
	Account accountArg `arg:"" help:"The account."`
	storeFlags
}

// Run lists the oldest key first.
func (c *keyListCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, true, func(st provisioning) error {
		keys, err := st.APIKeys(ctx, string(c.Account))
		if err != nil {
			return noSuch("account "+string(c.Account), err)
		}
		t := tabwriter.NewWriter(std.Out, 0, 0, 2, ' ', 0)
		_, err = fmt.Fprintln(t, "ID\tENDS IN\tCREATED")
		for _, k := range keys {
			hint := k.Hint
			if hint == "" {
				hint = "(imported)"
			}
			_, rowErr := fmt.Fprintf(t, "%s\t%s\t%s\n", k.ID, hint, k.CreatedAt.Local().Format(time.DateTime))
			err = errors.Join(err, rowErr)
		}
		return errors.Join(err, t.Flush())
	})
}

type keyRevokeCmd struct {
	Account accountArg `arg:"" help:"The account."`
	KeyID   string     `arg:"" help:"The key's ID, key_…, as key list shows it."`
	storeFlags
}

// Run says how soon a running server refuses the key.
func (c *keyRevokeCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, true, func(st provisioning) error {
		if err := st.RevokeAPIKey(ctx, string(c.Account), c.KeyID); err != nil {
			return noSuch(fmt.Sprintf("key %s of account %s", c.KeyID, c.Account), err)
		}
		_, err := fmt.Fprintf(std.Out, "key %s: revoked; a server that runs on this store refuses it within %v\n", c.KeyID, open.ServerGap)
		return err
	})
}
