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
	SecretKey secretKey `placeholder:"KEY" help:"Encrypts the signing secrets and the callback URLs in the store: 32 bytes in hexadecimal or base64 (make one with: openssl rand -hex 32). Keep it: without it they cannot be read."`
}

// storeFlag is for what does not read secrets, too.
type storeFlag struct {
	Store storeURL `default:"sqlite:recapito.db" placeholder:"URL" help:"Where everything is kept: sqlite:FILE, or memory: (lost at the end). Default: ${default}."`
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

// secretKey is a 32-byte key, given as text.
type secretKey []byte

// UnmarshalText implements [encoding.TextUnmarshaler]. It never repeats the
// text in an error.
func (k *secretKey) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil // an empty environment variable
	}
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		if b, err := decode(string(text)); err == nil && len(b) == 32 {
			*k = b
			return nil
		}
	}
	return errors.New("must be 32 bytes in hexadecimal (64 digits) or base64 (44 characters)")
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
	st, err := open.Store(ctx, string(f.Store), open.Config{SecretKey: f.SecretKey, Shared: shared, MustExist: true, Logger: log})
	if errors.Is(err, open.ErrInProcess) {
		return fmt.Errorf("--store %w; use the server's /accounts API", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return do(st)
}
