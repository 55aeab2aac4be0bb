package command

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/open"
)

// storeFlags name the store; serve, account and key have them.
type storeFlags struct {
	storeFlag
	SecretKey     string `placeholder:"KEY" help:"Encrypts the signing secrets and the callback URLs in the store: 32 bytes in hexadecimal or base64 (make one with: openssl rand -hex 32). Keep it: without it they cannot be read. While it is changed two, the new one first, with a space between. Other users of the machine can see the command line: use the variable, or --secret-key-file."`
	SecretKeyFile string `type:"path" placeholder:"FILE" help:"File of the secret key: one line, or two while it is changed, the new one first (see recapito rekey). Default: secret-key in $$CREDENTIALS_DIRECTORY, if it is there."`
}

// storeFlag is for what does not read secrets, too.
type storeFlag struct {
	Store storeURL `default:"sqlite:recapito.db" placeholder:"URL" help:"Where everything is kept: sqlite:FILE, postgres://USER@HOST:PORT/DATABASE, or memory: (lost at the end). Default: ${default}."`
}

// storeURL names a store.
type storeURL string

// Validate is called by the parser.
func (u storeURL) Validate() error { return open.Check(string(u)) }

// file is the database file of the store.
func (f *storeFlag) file() (string, error) {
	file, err := open.File(string(f.Store))
	if err != nil {
		return "", fmt.Errorf("--store %w", err)
	}
	return file, nil
}

// keyFile is where a platform key is kept that serve makes: beside the store, or in the
// folder of the process; "": the key ends with the process.
func (f *storeFlag) keyFile() string {
	switch file, err := f.file(); {
	case err == nil:
		return file + ".platform-key"
	case open.Lasts(string(f.Store)):
		return "recapito.platform-key"
	}
	return ""
}

// secretKeys are the given ones, the present one first; empty: none.
func (f *storeFlags) secretKeys() (keys [][]byte, err error) {
	texts, err := secrets("secret-key", f.SecretKey, f.SecretKeyFile)
	for _, text := range texts {
		key := secretKey(text)
		if key == nil {
			return nil, errors.New("--secret-key: must be 32 bytes in hexadecimal (64 digits) or base64 (44 characters)")
		}
		keys = append(keys, key)
	}
	return keys, err
}

const secretKeySize = 32

// secretKey is nil for what is the text of no key.
func secretKey(text string) []byte {
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		if key, err := decode(text); err == nil && len(key) == secretKeySize {
			return key
		}
	}
	return nil
}

// provisioning is the part of the store that the commands account and key use.
type provisioning interface {
	store.Accounts
	store.APIKeys
	store.Webhooks
}

// with calls do with the store open, which must exist; shared: beside a running
// server.
func (f *storeFlags) with(ctx context.Context, std Streams, shared bool, do func(provisioning) error) (err error) {
	log := slog.New(slog.NewTextHandler(std.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	keys, err := f.secretKeys()
	if err != nil {
		return err
	}
	st, err := open.Store(ctx, string(f.Store), open.Config{SecretKeys: keys, Shared: shared, Alone: !shared, MustExist: true, Logger: log})
	if errors.Is(err, open.ErrInProcess) {
		return fmt.Errorf("--store %w; use the server's /accounts API", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return do(st)
}
